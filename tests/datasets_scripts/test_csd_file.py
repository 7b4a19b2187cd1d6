"""Label files of the CMU-MultimodalSDK that cannot be read."""

import sys

import h5py
import pytest

from datasets_scripts.csd_file import read_csd
from tests.helpers.cmu_folder import write_mosei

NAME = "CMU_MOSEI_Labels.csd"


@pytest.fixture
def path(tmp_path):
    return write_mosei(tmp_path / "mosei", "csd") / NAME


def test_its_library_is_optional(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        ImportError, match="CMU_MOSEI_Labels.csd is HDF5, and h5py is not installed: pip install semanticmac.csd."
    ):
        read_csd(path)


@pytest.mark.parametrize("damage", ["half", "page"])
def test_a_download_that_stopped_or_is_another_file(path, damage):
    path.write_bytes(path.read_bytes()[:2000] if damage == "half" else b"<html>not found</html>")
    with pytest.raises(ValueError, match="CMU_MOSEI_Labels.csd is not a complete HDF5 file .*; download it again"):
        read_csd(path)


def test_videos_of_another_form(path):
    found = read_csd(path, width=7)
    video = next(iter(found))
    assert found[video].features.shape == (len(found[video].intervals), 7)
    with pytest.raises(ValueError, match=r"has features \(\d, 7\) and intervals \(\d, 2\); expected \(n, 1\)"):
        read_csd(path, width=1)
    with h5py.File(path, "a") as file:
        del file["All Labels/data"][video]["intervals"]
    with pytest.raises(ValueError, match=f"video {video} has features; expected features and intervals"):
        read_csd(path)
    with h5py.File(path, "a") as file:
        file.move("All Labels/data", "All Labels/date")
    with pytest.raises(ValueError, match="holds All Labels; expected one group with data"):
        read_csd(path)
