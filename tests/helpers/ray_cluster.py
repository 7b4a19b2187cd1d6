"""A Ray cluster on this machine, started once for the tests that need one. Use it in a process of its own."""

import os

import pytest

from tests.helpers.project import PROJECT


@pytest.fixture(scope="session")
def ray_cluster():
    """Two cores; without a dashboard."""
    import ray
    import ray.data

    # Of all its processes.
    os.environ.update(PYTHONPATH=str(PROJECT), OMP_NUM_THREADS="1", RAY_CHDIR_TO_TRIAL_DIR="0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    yield ray
    ray.shutdown()
