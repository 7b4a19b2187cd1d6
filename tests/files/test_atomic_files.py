import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

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
