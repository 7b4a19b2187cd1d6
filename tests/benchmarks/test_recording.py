"""The page on speed as the benchmarks write it."""

import ast

from tests.benchmarks import recording
from tests.benchmarks.recording import PAGE, Recorder, stamp
from tests.helpers.project import PROJECT

TEXT = """Before.
<!-- figures: machine -->
<!-- end of machine -->
<!-- figures: one -->
old
<!-- end of one -->
<!-- figures: two -->
kept
<!-- end of two -->
After."""


def test_measured_tables_are_replaced_and_stamped(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(recording, "draw", lambda curve, path: drawn.append(path.name))
    page, found = tmp_path / "page.md", Recorder()
    page.write_text(TEXT)
    found.row("one", a_second=3, x="y")
    found.curve("one", "a title", "x", "y", {"line": {1: 2}})
    found.write(page, tmp_path)
    text = page.read_text()
    assert "| a second | x |\n| --- | --- |\n| 3 | y |\n\n![a title](pictures/one.png)\n\n*Measured on " in text
    assert stamp() in text and "old" not in text and "kept\n<!-- end of two -->\nAfter." in text
    assert drawn == ["one.png"]
    found.write(page, tmp_path)
    assert page.read_text() == text  # a second run replaces what the first wrote


def test_every_table_has_its_place_on_the_page():
    """Names of tables and curves in the benchmarks, and whether the page has all of them."""
    text, names = PAGE.read_text(encoding="utf-8"), set()
    for path in (PROJECT / "tests/benchmarks").glob("bench_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("row", "curve") and node.args and isinstance(node.args[0], ast.Constant):
                    names.add(node.args[0].value)
    assert len(names) > 10
    assert [name for name in sorted(names) if f"<!-- figures: {name} -->" not in text] == []
