"""Folders that Hugging Face runs: a Space with the page of a model, and the repository of an Inference Endpoint.

Both are written whole or not at all, without secrets and without the folders of this machine.
"""

import configparser
import contextlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from transformers import AutoConfig

from ..configuration_semanticmac import MEDIA_MODALITIES, SEMANTICMAC, AffectConfig
from ..hub.model_card import model_card
from ..hub.responsible_use import NOTICE, stated_use
from ..hub.upload import files_to_upload, public_text, require_parts, run_paths

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = ("modeling_semanticmac", "datasets_scripts", "semanticmac.py")  # what runs the page
DISTRIBUTION = "semanticmac"
MODEL = "model"  # folder of the checkpoint in a Space
SPACE_APP = '''"""The page of the Space, written by `semanticmac space`. Its variable MODEL names another model."""

import os
from pathlib import Path

from semanticmac import main

MODEL = {model}

if __name__ == "__main__":
    raise SystemExit(main(["app", os.environ.get("MODEL") or str(MODEL)]))
'''


def write_space(model: str, output: str | Path) -> Path:
    """Write a Gradio Space: `app.py`, `requirements.txt`, `README.md`, the code of the package and, where the model is
    a folder, its checkpoint in `model/`.

    Args:
        model: folder of a run or of a saved model, or a name on the Hub, which the Space loads when it starts.
        output: a folder that is new or empty.

    Raises:
        ValueError: there is no such model, a part of it lies elsewhere on this machine, or the folder is not empty.
    """
    local = os.path.isdir(model)
    config = _model_config(model)
    with new_folder(output) as folder:
        if local:
            _write_checkpoint(Path(model), folder / MODEL, Path(output).resolve().name)
        where = f'Path(__file__).resolve().with_name("{MODEL}")' if local else json.dumps(model)
        (folder / "app.py").write_text(SPACE_APP.format(model=where), encoding="utf-8")
        _write_requirements(folder, ("app", *_extras(config, model if local else None)))
        (folder / "README.md").write_text(_space_readme(config, None if local else model), encoding="utf-8")
        _copy_package(folder)
    return Path(output)


def write_endpoint(run: str | Path, output: str | Path, repo_id: str | None = None) -> Path:
    """Write what `semanticmac push` would upload of a run, with the `handler.py` and `requirements.txt` of an Inference
    Endpoint.

    The checkpoint's own code runs the model. Comparison systems have none: for them the package lies beside it.

    Args:
        run: folder of a run or of a saved model.
        output: a folder that is new or empty.
        repo_id: org/name of the repository, for its card; None: the name of the folder.

    Raises:
        ValueError: there is no such folder, a part of the model lies elsewhere, or the output is not empty.
    """
    if not os.path.isdir(run):
        raise ValueError(f"{run} is not a folder; download a model of the Hub first (hf download), or name a run.")
    config = _model_config(str(run))
    with new_folder(output) as folder:
        _write_checkpoint(Path(run), folder, repo_id or Path(output).resolve().name)
        shutil.copyfile(Path(__file__).with_name("endpoint_handler.py"), folder / "handler.py")
        _write_requirements(folder, _extras(config, run))
        if config.model_type != SEMANTICMAC:
            _copy_package(folder)
    return Path(output)


@contextlib.contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """Give a folder beside the output to write into, which takes its place at the end; a failure leaves nothing.

    Raises:
        ValueError: the output is a file, or a folder that is not empty.
    """
    path = Path(output)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is there already and is not replaced; name a new folder.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if path.is_dir():
            path.rmdir()
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _model_config(model: str) -> AffectConfig:
    """Return the configuration of a SemanticMAC model or a comparison system.

    Raises:
        ValueError: there is no such model.
    """
    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{model}: no model can be read there; name the folder of a run, or one on the Hub."
        ) from error
    if not isinstance(config, AffectConfig):
        raise ValueError(f"{model}: this is a model of type {config.model_type}; expected a SemanticMAC model.")
    return config


def _write_checkpoint(run: Path, folder: Path, repo_id: str) -> None:
    """Write what of a run others can use, with its card, after checking that no part of the model lies elsewhere."""
    require_parts(run)
    card = public_text(model_card(run, repo_id), run_paths(run))
    files = {**files_to_upload(run), "README.md": card.encode()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)


def _copy_package(folder: Path) -> None:
    """Copy the source of the package."""
    for name in SOURCES:
        source = PACKAGE.parent / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)


def _extras(config: AffectConfig, folder: str | Path | None) -> list[str]:
    """Return the extras of the package that a model needs: for adapters, stored bits, and crops of faces."""
    reference = config.language_model_reference or {}
    adapted = any((getattr(config, f"{name}_encoder") or {}).get("adapter") for name in MEDIA_MODALITIES)
    extras = ["lora"] if reference or adapted else []
    extras += ["quantization"] if reference.get("quantization") else []
    processor = Path(folder) / "processor_config.json" if folder is not None else None
    if processor is not None and processor.is_file():
        crop = json.loads(processor.read_text(encoding="utf-8")).get("vision_crop", "none")
        extras += ["faces"] if crop != "none" else []
    return extras


def _write_requirements(folder: Path, extras) -> None:
    """Write the dependencies of the package with some of its extras, one a line."""
    (folder / "requirements.txt").write_text("\n".join(requirements(extras)) + "\n", encoding="utf-8")


def requirements(extras=()) -> list[str]:
    """Return the dependencies of the package and of some of its extras, as pip reads them.

    They come from `setup.cfg` in a checkout, where what is installed may be older, and otherwise from the installed
    package.
    """
    setup = configparser.ConfigParser()
    if setup.read(PACKAGE.parent / "setup.cfg", encoding="utf-8"):
        wanted = [setup["options"]["install_requires"], *(setup["options.extras_require"][name] for name in extras)]
        found = [line for text in wanted for line in text.strip().splitlines()]
    else:
        every = map(Requirement, importlib.metadata.requires(DISTRIBUTION) or ())
        names = ("", *extras)
        kept = [one for one in every if not one.marker or any(one.marker.evaluate({"extra": e}) for e in names)]
        found = [str(one).partition(";")[0].strip() for one in kept]
    return list(dict.fromkeys(line for line in found if Requirement(line).name != DISTRIBUTION))


def _space_readme(config: AffectConfig, repo_id: str | None) -> str:
    """Return the `README.md` of a Space with its settings for the Hub."""
    settings = {
        "title": f"SemanticMAC {config.task_name}", "emoji": "🎬", "colorFrom": "blue", "colorTo": "red",
        "sdk": "gradio", "sdk_version": importlib.metadata.version("gradio"), "python_version": "3.11",
        "app_file": "app.py", "pinned": False, **({"models": [repo_id]} if repo_id else {}),
    }  # fmt: skip
    head = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    said = "\n\n".join(filter(None, (stated_use(config), NOTICE)))
    model = f"`{repo_id}`" if repo_id else f"the checkpoint in `{MODEL}/`, whose card has its licences and its limits"
    return (
        f"---\n{head}---\n\n# What does this clip express?\n\nThe page predicts {config.task_name} of a clip of a "
        f"person speaking, with {model}.\n\n{said}\n\nUpload this folder with `hf upload --repo-type space "
        "ORG/NAME .`; uploads of visitors are not kept.\n"
    )


__all__ = ["new_folder", "requirements", "write_endpoint", "write_space"]
