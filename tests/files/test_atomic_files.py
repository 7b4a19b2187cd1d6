"""Files that are complete or absent, with the permissions of the umask."""

import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file

from modeling_semanticmac.files.atomic_files import write_json, write_whole


def test_json_is_whole_or_not_there(tmp_path):
    write_json(tmp_path / "new" / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "x.json", {("a", "b"): 1})
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {"a": 1}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "x.json", 1)

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "x.json", fail)
    assert (tmp_path / "x.json").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_two_threads_may_write_the_same_file(tmp_path):
    """Each has a temporary file of its own until both are written."""
    barrier = threading.Barrier(2, timeout=10)

    def write(path):
        path.write_text("whole")
        barrier.wait()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(write_whole, tmp_path / "file", write) for _ in range(2)]:
            future.result()
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_who_may_read(tmp_path, umask, mode):
    """Whatever the library that writes the content thinks: safetensors makes its files 0600."""
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "x.safetensors", lambda path: save_file({"a": torch.zeros(1)}, path), durable=True)
        write_json(tmp_path / "x.json", 1)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("x.safetensors", "x.json")] == [mode, mode]


def test_json_has_no_nan(tmp_path):
    """What is undefined is null: a reader in another language refuses a bare NaN."""
    write_json(
        tmp_path / "x.json", {"pearson": float("nan"), "rows": [1.5, float("inf"), {"a": -float("inf")}], "n": 3}
    )
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"pearson": None, "rows": [1.5, None, {"a": None}], "n": 3}
