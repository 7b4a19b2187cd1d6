"""A Ray cluster on this machine, started once for the tests that need one."""

import os

import pytest

from tests.helpers.project import PROJECT


@pytest.fixture(scope="session")
def ray_cluster():
    """Two cores; without a dashboard."""
    import ray
    import ray.data

    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    variables = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20,
        runtime_env={"env_vars": variables},
    )  # fmt: skip
    yield ray
    ray.shutdown()
