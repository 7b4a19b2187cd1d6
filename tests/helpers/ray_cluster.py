"""A Ray cluster on this machine, started once for the tests that need one."""

import os

import pytest

from modeling_semanticmac.embedding_extraction.termination import kept_handler
from tests.helpers.project import PROJECT


@pytest.fixture(scope="session")
def ray_cluster():
    """Two cores; without a dashboard."""
    import ray
    import ray.data

    before = dict(os.environ)
    os.environ.update(PYTHONPATH=str(PROJECT), OMP_NUM_THREADS="1", RAY_CHDIR_TO_TRIAL_DIR="0")  # of all its processes
    with kept_handler():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    os.environ.clear()
    os.environ.update(before)
    yield ray
    ray.shutdown()
