"""Test the top of the package: its names, what an import loads, the version, and what a plain install can do."""

import configparser
import json
import os
import subprocess
import sys
import sysconfig
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import modeling_semanticmac
import semanticmac
from tests.helpers.imported_modules import imported_modules
from tests.helpers.media_files import write_media
from tests.helpers.project import PROJECT
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

ON_FIRST_USE = {
    "EmbeddingStore": "modeling_semanticmac.embedding_store.store",
    "SemanticMACCollator": "modeling_semanticmac.training.collator",
    "SemanticMACTrainer": "modeling_semanticmac.training.trainer",
    "SemanticMACTrainingArguments": "modeling_semanticmac.training.training_args",
    "load_corpus": "datasets_scripts.loading",
}
EXTRAS = ("matplotlib", "mpl_toolkits", "scipy", "sklearn", "gradio", "gradio_client", "optuna", "ray", "h5py", "faiss")


def run_python(*arguments: str, path: list[Path], cwd: Path) -> subprocess.CompletedProcess:
    """Run Python on exactly the given folders of modules."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def plain_install(tmp_path_factory) -> list[Path]:
    """Return the module folders of a plain install: the dependencies without those of the extras, and the project."""
    folder = tmp_path_factory.mktemp("site-packages")
    for source in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(source).iterdir():
            name = entry.name.split("-")[0].split(".")[0].lower()
            if name not in {*EXTRAS, "scikit_learn", "__pycache__", "semanticmac", "__editable__"}:
                (folder / entry.name).symlink_to(entry)
    return [folder, PROJECT]


def test_names_at_the_top_are_those_of_their_modules():
    for name, module in ON_FIRST_USE.items():
        assert getattr(modeling_semanticmac, name) is getattr(import_module(module), name)
        assert name in dir(modeling_semanticmac) and name in modeling_semanticmac.__all__
    with pytest.raises(AttributeError, match="has no attribute 'SemanticMACTrainr'"):
        modeling_semanticmac.SemanticMACTrainr  # noqa: B018


def imported_packages() -> set[str]:
    """Return the packages, without the standard library, that any file imports, at its top or on first use."""
    own, found = {"modeling_semanticmac", "datasets_scripts", "semanticmac"}, set()
    for path in [PROJECT / "semanticmac.py", *(p for name in own for p in (PROJECT / name).rglob("*.py"))]:
        parts = path.relative_to(PROJECT).with_suffix("").parts
        found |= {name[0] for name in imported_modules(parts, path)}
    return found - own - sys.stdlib_module_names


def test_every_package_that_is_imported_is_required():
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    extras = (setup["options.extras_require"][name] for name in setup["options.extras_require"] if name != "test")
    lines = [*setup["options"]["install_requires"].splitlines(), *"\n".join(extras).splitlines()]
    required = {canonicalize_name(Requirement(line).name) for line in lines if line}
    distributions = packages_distributions()
    missing = {name for name in imported_packages() if not required & set(map(canonicalize_name, distributions[name]))}
    assert not missing, f"setup.cfg does not name {missing}"


def test_an_import_loads_neither_training_nor_corpora():
    code = "import sys, modeling_semanticmac; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {".".join(name.split(".")[:2]) for name in found.stdout.split()}
    assert "modeling_semanticmac.affect_heads" in loaded
    entries = (PROJECT / "modeling_semanticmac").iterdir()
    folders = {path.name for path in entries if path.is_dir()} - {"baselines", "files"}
    rooms = {f"modeling_semanticmac.{name}" for name in folders}
    assert not loaded & {*rooms, "datasets_scripts", "datasets", "matplotlib", "sklearn"}


def test_the_version_has_one_place(capsys):
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: modeling_semanticmac.__version__"
    assert semanticmac.main(["--version"]) == 0
    assert capsys.readouterr().out == f"semanticmac {modeling_semanticmac.__version__}\n"


def test_help_loads_nothing_heavy(tmp_path):
    code = "import sys, semanticmac\ntry: semanticmac.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    found = run_python("-c", code, path=[PROJECT], cwd=tmp_path)  # no dependency of the package can be found
    assert found.returncode == 0 and not {"torch", "transformers", "modeling_semanticmac"} & set(found.stdout.split())
    for name, command in semanticmac.COMMANDS.items():
        assert f"  {name} " in found.stdout and command.help in found.stdout


@pytest.mark.slow
def test_a_plain_install_predicts_and_describes(plain_install, tmp_path):
    model = save_tiny_checkpoint(tmp_path / "model")
    clip = write_media(tmp_path / "clip.mp4", seconds=1.0)
    missing = run_python("-c", "import matplotlib", path=plain_install, cwd=tmp_path)
    assert "No module named 'matplotlib'" in missing.stderr
    command = ("-m", "modeling_semanticmac")
    options = ("--text", "good", "--model", str(model))
    found = run_python(*command, "predict", str(clip), *options, path=plain_install, cwd=tmp_path)
    assert found.returncode == 0 and "(text, audio, vision)" in found.stdout, found.stderr
    found = run_python(*command, "info", str(model), path=plain_install, cwd=tmp_path)
    assert found.returncode == 0 and "sentiment (regression from -3 to 3)" in found.stdout, found.stderr


# The command, and the extra that it needs.
NEED_AN_EXTRA = [
    (["report", "RUN"], "train"),
    (["card", "RUN", "org/name"], "train"),
    (["train", "synthetic_sentiment", "--output_dir", "out"], "train"),
    (["timeline", "clip.mp4", "--model", "m", "--window", "1", "--output_dir", "out"], "analysis"),
    (["predict", "clip.mp4", "--model", "m", "--window", "1", "--timeline", "out"], "analysis"),
]
# All in one process: a start takes seconds.
EACH = """
import json, sys, semanticmac
for arguments in json.loads(sys.argv[1]):
    print("answer", semanticmac.main(arguments), file=sys.stderr)
"""


@pytest.mark.slow
def test_a_plain_install_names_the_extra(plain_install, tmp_path):
    commands = json.dumps([arguments for arguments, _ in NEED_AN_EXTRA])
    found = run_python("-c", EACH, commands, path=plain_install, cwd=tmp_path)
    assert found.returncode == 0 and "Traceback" not in found.stderr, found.stderr
    lines = found.stderr.strip().splitlines()
    ends = [place for place, line in enumerate(lines) if line.startswith("answer ")]
    for (arguments, extra), end in zip(NEED_AN_EXTRA, ends, strict=True):
        assert lines[end] == "answer 1" and lines[end - 1].startswith(f"semanticmac {arguments[0]}: ")
        assert lines[end - 1].endswith(f"is not installed; run pip install 'semanticmac[{extra}]'.")
