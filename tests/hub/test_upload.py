"""Which files of a folder are uploaded, and what is refused; tests/reliability/test_hub.py tests the transfer."""

import json

import pytest

from modeling_semanticmac.commands import train
from modeling_semanticmac.hub import upload as hub_upload
from modeling_semanticmac.hub.upload import checkpoint_code, files_to_upload, main, push_run
from modeling_semanticmac.training import seed_runs
from modeling_semanticmac.training.training_args import SemanticMACTrainingArguments
from tests.helpers.tiny import tiny_config
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

GOES_UP = [
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "README.md",
    "run.json",
    "all_results.json",
    "report.md",
    "report.json",
    "report/training.png",
    "report/training.svg",
    "modeling_semanticmac.py",
    "sibling.py",
    "vision_encoder/config.json",
    "vision_encoder/model.safetensors",
]
STAYS = [
    "optimizer.pt",
    "training_args.bin",
    "training_args.json",
    "trainer_state.json",
    "splits.json",
    "predictions_test.csv",
    "predictions_validation.csv",
    "clips_test.csv",
    "label_state.safetensors",
    "representations.safetensors",
    "checkpoint-3/model.safetensors",
    "checkpoint-3/config.json",
    "checkpoint-3/modeling_semanticmac.py",
    "report/scores.csv",
    "embeddings/shards/a.safetensors",
    "embeddings/index/a.parquet",
    "before/all_results.json",
    ".env",
    "notes.txt",
    "my_secrets.py",
    "conftest.py",
]


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}" if name.endswith(".json") else b"# content")
    (folder / "config.json").write_text(
        json.dumps({"auto_map": {"AutoModel": "modeling_semanticmac.SemanticMACModel"}})
    )
    (folder / "modeling_semanticmac.py").write_text("from .sibling import something\n")


def test_what_goes_up_and_what_stays(tmp_path):
    fill(tmp_path, GOES_UP + STAYS)
    assert sorted(files_to_upload(tmp_path)) == sorted(GOES_UP)


def test_symbolic_links_are_refused_and_others_ignored(tmp_path):
    """A link may lead to any file of this machine: a private key under an innocent name, or a folder of media."""
    run, secret = tmp_path / "run", tmp_path / "id_rsa"
    fill(run, [*GOES_UP, "keys/id_rsa", "keys/config.json"])
    secret.write_text("PRIVATE KEY")
    (run / "notes.txt").symlink_to(secret)
    (run / "embeddings").symlink_to(run / "keys")
    assert sorted(files_to_upload(run)) == sorted(GOES_UP)  # what is not on the list may be a link
    (tmp_path / "linked").symlink_to(run)
    assert sorted(files_to_upload(tmp_path / "linked")) == sorted(GOES_UP)  # and so may the run's own folder
    for name in ("README.md", "tokenizer.model", "modeling_semanticmac.py", "report/more.png"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(secret)
        with pytest.raises(ValueError, match=f"{name} in .*: symbolic links are not uploaded.*nothing was uploaded"):
            files_to_upload(run)
        (run / name).unlink()
        fill(run, GOES_UP)
    (run / "audio_encoder").symlink_to(run / "keys")
    with pytest.raises(ValueError, match="audio_encoder in .*: symbolic links are not uploaded"):
        files_to_upload(run)


def test_the_code_of_a_checkpoint_is_what_it_names(tmp_path):
    """The code of a saved model is the modules of `auto_map` with their siblings, and that of the pipeline."""
    folder = save_tiny_checkpoint(tmp_path)
    (folder / "my_secrets.py").write_text("TOKEN = 'x'")
    assert checkpoint_code(folder) == {path.name for path in folder.glob("*.py")} - {"my_secrets.py"}


def test_texts_go_up_without_folders_and_stay_as_they_are_here(tmp_path):
    fill(tmp_path, GOES_UP)
    folder = "/home/anna b/corpora"
    (tmp_path / "run.json").write_text(json.dumps({"data": {"data_dir": folder}, "seed": 1}))
    (tmp_path / "report.md").write_text(f"clips of {folder}/x.mp4")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"name_or_path": folder, "eos_token": "</s>"}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    files = files_to_upload(tmp_path)
    assert json.loads(files["run.json"]) == {"data": {"data_dir": "corpora"}, "seed": 1}
    assert files["report.md"] == b"clips of corpora/x.mp4" and json.loads(files["tokenizer_config.json"]) == {
        "eos_token": "</s>"
    }
    assert files["model.safetensors"] == str(tmp_path / "model.safetensors")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_tower_that_nobody_else_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_upload, "HfApi", lambda **_: pytest.fail("the Hub was asked"))
    tiny_config(vision_encoder={"name_or_path": str(tmp_path / "towers")}).save_pretrained(tmp_path / "run")
    with pytest.raises(
        ValueError, match="vision encoder.*where nobody else can load it; nothing was uploaded.*include_encoders"
    ):
        push_run(tmp_path / "run", "org/name")


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path), "org/name"]) == 1
    assert "holds no model" in capsys.readouterr().err
    tiny_config().save_pretrained(tmp_path)
    assert main([str(tmp_path), "org/name"]) == 1  # the tests are offline
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_is_pushed_at_its_end_only(tmp_path):
    with pytest.raises(ValueError, match="hub_strategy.*expected end"):
        SemanticMACTrainingArguments(
            output_dir=str(tmp_path), push_to_hub=True, hub_strategy="every_save", use_cpu=True
        )
    assert SemanticMACTrainingArguments(output_dir=str(tmp_path), push_to_hub=True, use_cpu=True).hub_strategy == "end"


def test_of_several_seeds_the_best_is_pushed(tmp_path, monkeypatch):
    """The best seed is pushed also when every seed was finished before."""
    pushed = []
    monkeypatch.setattr(seed_runs, "push_run", lambda folder, name, **options: pushed.append((folder, name, options)))
    monkeypatch.setattr(seed_runs.SeedRun, "is_finished", lambda run: True)
    words = [
        "--output_dir",
        str(tmp_path),
        "--seeds",
        "1",
        "2",
        "--use_cpu",
        "--push_to_hub",
        "--hub_model_id",
        "org/best",
    ]
    for best in ("seed_2", None):
        (tmp_path / "seeds.md").write_text("")
        monkeypatch.setattr(seed_runs, "summarize", lambda runs, folder: {"best_folder": best})  # noqa: B023
        if best:
            train.main(words)
        else:
            with pytest.raises(ValueError, match="no seed was chosen on validation"):
                train.main(words)
    options = {"private": None, "token": None, "revision": None}
    assert pushed == [(tmp_path / "seed_2", "org/best", options)]
