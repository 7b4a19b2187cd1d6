"""The notebooks of the tutorials: the same as their pages, and they run from the first cell to the last."""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.project import PROJECT

jupytext = pytest.importorskip("jupytext", reason="needs the extra [docs]")
nbclient = pytest.importorskip("nbclient", reason="needs the extra [docs]")

TUTORIALS = PROJECT / "docs/tutorials"
NOTEBOOKS = sorted(path.stem for path in TUTORIALS.glob("*.ipynb"))


def cells(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.fixture
def environment(monkeypatch, world):
    """The small models of the tests in place of those that the tutorials name, and the console script on the path."""
    options = dict(zip(world["models"][::2], world["models"][1::2]))
    clip = world["clips"]["test"][0]
    values = {
        "LANGUAGE_MODEL": options["--language_model"],
        "VISION_ENCODER": options["--vision_encoder"],
        "AUDIO_ENCODER": options["--audio_encoder"],
        "SEMANTICMAC_RUN": str(world["run"]),
        "SEMANTICMAC_CLIP": clip["media"]["path"],
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONWARNINGS": "ignore",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_two_tutorials_have_a_notebook():
    assert NOTEBOOKS == ["first_prediction", "own_clips"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_is_its_page(name):
    """`make notebooks` writes them again after a change of the page."""
    page, notebook = (jupytext.read(TUTORIALS / f"{name}.{kind}") for kind in ("md", "ipynb"))
    assert cells(notebook) == cells(page)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_runs(name, environment, tmp_path):
    notebook = jupytext.read(TUTORIALS / f"{name}.ipynb")
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
    printed = "".join(
        str(output.get("text", output.get("data", ""))) for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert "Traceback" not in printed  # of a command: `!` raises nothing
    expected = {
        "first_prediction": ["torch.Size([1, 1])", "torch.Size([1, 4, 1])"],
        "own_clips": ["test_mae", "time per stage"],
    }
    assert all(words in printed for words in expected[name])
