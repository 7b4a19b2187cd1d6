"""Test the wheel in a fresh environment: every module imports, and the command trains from another folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import modeling_semanticmac
from modeling_semanticmac.training.run_arguments import recipe_names
from tests.helpers.project import PROJECT

PACKAGES = ("modeling_semanticmac", "datasets_scripts")
BUILT_FROM = (*PACKAGES, "semanticmac.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
IMPORT_ALL = """
import importlib, pkgutil, sys, modeling_semanticmac, datasets_scripts, semanticmac
packages = (modeling_semanticmac, datasets_scripts)
names = [m.name for p in packages for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
names = [name for name in names if not name.endswith(("__main__", "make_manifests"))]
for name in names: importlib.import_module(name)
print(len(names), *{sys.modules[name].__file__ for name in [*names, "semanticmac"]}, sep="\\n")
"""

# What `python -m MODULE` prints, and its exit code, for each former spelling of a command. All in one process: a start
# takes seconds.
FORMER_SPELLINGS = """
import contextlib, io, json, runpy, sys
answers = {}
for module, *words in (
    ["modeling_semanticmac.report", "run"], ["modeling_semanticmac.embedding_extraction", "--help"],
    ["modeling_semanticmac.hub_upload", "--help"], ["modeling_semanticmac.convert_imagebind", "--help"],
    ["datasets_scripts", "--help"],
):
    sys.argv = [module, *words]
    code = None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    answers[module] = [out.getvalue(), code or 0]
print(json.dumps(answers))
"""


def run(*command, cwd: Path) -> str:
    """Run a command without the checkout on the path; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    found = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return the programs of a fresh environment with the wheel, and with the dependencies of this environment."""
    folder = tmp_path_factory.mktemp("installation")
    for name in BUILT_FROM:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / "source" / name)
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    build = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation")
    run(*build, *options, "-w", folder, folder / "source", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(programs / "python", "-c", where, cwd=folder).strip())
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text(
        "\n".join(places)
    )  # their own .pth files, a checkout's among them, do not count
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install")
    run(*pip, *options, "--ignore-installed", wheel, cwd=folder)
    shutil.rmtree(folder / "source")
    return programs


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_its_data(installed, tmp_path):
    number, *files = run(installed / "python", "-c", IMPORT_ALL, cwd=tmp_path).split("\n")
    checkout = [path for name in PACKAGES for path in (PROJECT / name).rglob("*.py")]
    expected = {path for path in checkout if path.stem not in ("__main__", "make_manifests")}
    tops = {PROJECT / name / "__init__.py" for name in PACKAGES}
    assert int(number) == len(expected - tops)
    assert all(Path(file).is_relative_to(installed.parent) for file in filter(None, files))
    listed = run(installed / "semanticmac", "recipes", cwd=tmp_path)
    assert {line.split()[0] for line in listed.splitlines() if line} >= set(recipe_names())
    assert "search spaces: paper, synthetic" in listed
    code = "import importlib.metadata as m; print(m.version('semanticmac'))"
    version = run(installed / "python", "-c", code, cwd=tmp_path)
    assert version.strip() == modeling_semanticmac.__version__


@pytest.mark.slow
def test_the_installed_command_trains_by_the_name_of_a_recipe(installed, world, tmp_path):
    arguments = [*world["common"], *world["models"], "--output_dir", "run", "--max_steps", "1"]
    arguments += ["--eval_strategy", "no", "--load_best_model_at_end", "false"]
    run(installed / "semanticmac", "train", "synthetic_sentiment", *arguments, cwd=tmp_path)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["command"][:3] == ["semanticmac", "train", "synthetic_sentiment"]
    assert record["versions"]["semanticmac"] == modeling_semanticmac.__version__
    assert json.loads((tmp_path / "run" / "trainer_state.json").read_text())["global_step"] == 1
    clip = world["clips"]["test"][0]
    predict = (installed / "semanticmac", "predict", "--model", "run", "--json", "-")
    answer = run(*predict, clip["media"]["path"], "--text", clip["text"], cwd=tmp_path)
    (result,) = json.loads(answer)
    assert result["modalities"] == ["text", "audio", "vision"]
    assert "# synthetic, sentiment" in run(installed / "semanticmac", "report", "run", cwd=tmp_path)
    answers = json.loads(run(installed / "python", "-c", FORMER_SPELLINGS, cwd=tmp_path).splitlines()[-1])
    assert [code for _, code in answers.values()] == [0] * 5
    assert "# synthetic, sentiment" in answers["modeling_semanticmac.report"][0]
    for module, command in (
        ("embedding_extraction", "embed"),
        ("hub_upload", "push"),
        ("convert_imagebind", "convert"),
    ):
        assert answers[f"modeling_semanticmac.{module}"][0].startswith(f"usage: semanticmac {command} ")
    assert "semanticmac corpus" in answers["datasets_scripts"][0]
