"""docs/baselines.md: its table has every system, and the example of a new one is trained as it stands there."""

import re
import sys
import tomllib

import pytest

from modeling_semanticmac import FusionForAffect
from modeling_semanticmac.baselines import SYSTEMS, System, load_system
from modeling_semanticmac.baselines.registry import installed_systems
from modeling_semanticmac.commands import train
from tests.helpers.project import PROJECT

PAGE = (PROJECT / "docs/baselines.md").read_text(encoding="utf-8")


def test_the_table_has_every_system_with_its_use_of_the_language_model():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|(?:[^|\\]|\\.)*\| (frozen|tuned) \|", PAGE, re.MULTILINE)
    found = {name: (reference.strip(), use) for name, reference, use in rows}
    own = {name: system for name, system in SYSTEMS.items() if "." not in system.place}  # not those installed beside
    for name, system in own.items():
        reference, use = found.pop(name)
        assert use == load_system(name).language_model, name
        assert reference == system.reference or name == "mean_pooling", name


def test_the_example_of_an_installed_system_is_found(tmp_path, monkeypatch, caplog):
    """By the entry point of the page, in the metadata that an installation writes."""
    (section,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    ((group, offered),) = tomllib.loads(section)["project"]["entry-points"].items()
    metadata = tmp_path / "my_systems-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-systems\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in offered.items()]
    lines += ["talk = my_systems.talk:Talk [dialogue]", "mult = my_systems.mult:Mine"]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_systems() == {
        "gated_fusion": System("my_systems.gated_fusion:GatedFusion", "the package my-systems"),
        "talk": System("my_systems.talk:Talk", "the package my-systems", level="dialogue"),
    }
    assert "offers a system 'mult', but there is one of that name" in caplog.text


def test_the_example_of_a_new_system_trains(world, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code.splitlines()) <= 60
    (tmp_path / "example").mkdir()
    (tmp_path / "example/__init__.py").touch()
    (tmp_path / "example/gated_fusion.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SYSTEMS, "gated_fusion", System("example.gated_fusion:GatedFusion", "an example"))
    arguments = ["--task", "sentiment", "--do_train", "--num_train_epochs", "1", "--use_context", "false"]
    arguments += ["--architecture", "gated_fusion", "--architecture_options", '{"width": 32}']
    train.main([*arguments, *world["common"], *world["models"], "--output_dir", str(tmp_path / "run")])
    model = FusionForAffect.from_pretrained(tmp_path / "run")
    assert type(model.fusion).__name__ == "GatedFusion" and model.config.options == {"width": 32, "dropout": 0.1}
    arguments[-1] = '{"widht": 3}'
    with pytest.raises(ValueError, match="have no 'widht'. Did you mean 'width'"):
        train.main([*arguments, *world["common"], *world["models"], "--output_dir", str(tmp_path / "other")])
    sys.modules.pop("example.gated_fusion")
