"""Settings and fixtures shared by every test: no network, an own Hugging Face home, one thread, the folder of real
files.
"""

import os
import signal
import tempfile

# Set before any Hugging Face library is imported: they read these once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="semanticmac-hf-home-")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: beside other tests its workers would wait

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

from tests.helpers.media_files import odd_media, write_media  # noqa: E402
from tests.helpers.project import PROJECT  # noqa: E402
from tests.helpers.ray_cluster import ray_cluster  # noqa: E402, F401  (a fixture)
from tests.helpers.runs import encoded, models, pipe, world  # noqa: E402, F401  (fixtures, made once a test run)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors are faster on one thread, and sums come out in one order."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_handler():
    """Fail a test that leaves another handler of SIGTERM; otherwise those fail that end a process by it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    after = signal.getsignal(signal.SIGTERM)
    if after is not before:
        signal.signal(signal.SIGTERM, before)
    assert after is before, f"SIGTERM has the handler {after} after the test"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the project with goldens, real clips and annotation files; a test that needs it is skipped
    where it is absent.
    """
    folder = PROJECT.parent / "shared"
    if not (folder / "goldens").is_dir():
        pytest.skip("needs the folder of goldens, media and annotation files beside the project, which is absent here")
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """4 s, 25 numbered frames a second, a tone of 440 Hz at 44.1 kHz."""
    return write_media(tmp_path_factory.mktemp("media") / "plain.mp4", seconds=4.0, sampling_rate=44100)


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> dict[str, Path]:
    """One file of every odd kind, by its name."""
    return odd_media(tmp_path_factory.mktemp("odd"))


def pytest_collection_modifyitems(items):
    """Mark the tests of `slow_tests.txt` as slow."""
    lines = (Path(__file__).parent / "slow_tests.txt").read_text(encoding="utf-8").splitlines()
    names = {line for line in lines if not line.startswith("#")}
    for item in items:
        if item.nodeid.partition("[")[0] in names:
            item.add_marker(pytest.mark.slow)
