import json

import pytest

from modeling_semanticmac.atomic_files import write_json, write_whole


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
