"""Push to the Hub what a user pushes, in a process of its own: `python -m tests.helpers.hub_writer FOLDER`.

The address of the Hub is in the environment. The script prints one line of JSON: the outputs of the pushed models, and
what else the readers are compared with.
"""

import contextlib
import csv
import json
import shutil
import sys
from pathlib import Path

import torch
from huggingface_hub import create_repo, upload_file, upload_folder
from transformers import AutoModelForVideoClassification, AutoProcessor

from datasets_scripts.__main__ import main as corpora
from examples import extract_representations, fine_tune_own_clips
from examples.tiny_models import save_tiny_language_model, save_tiny_towers
from modeling_semanticmac.commands import train
from modeling_semanticmac.hub.upload import push_run
from tests.helpers.media_files import tone, write_media
from tests.helpers.project import PROJECT

TEXT = "good day"
PEOPLE = {"anna": 2.5, "ben": 0.5, "cem": -0.5, "dana": -2.5, "eve": 1.5}
QUIET = ["--use_cpu", "--disable_tqdm", "true", "--extraction_workers", "0"]


def push_parts(root: Path) -> None:
    """Push a language model with a licence, and two towers."""
    folders = dict(zip(("vision", "audio"), save_tiny_towers(root / "towers")))
    folders["words"] = save_tiny_language_model(root / "words", [TEXT], hidden_size=32)
    for name, folder in folders.items():
        create_repo(f"org/{name}")
        upload_folder(repo_id=f"org/{name}", folder_path=folder)
    card = b"---\nlicense: apache-2.0\n---\n"
    upload_file(repo_id="org/words", path_in_repo="README.md", path_or_fileobj=card)


def write_own_clips(folder: Path) -> Path:
    """Write five clips and their table, as in docs/corpora.md, into a folder with a blank in its name."""
    folder.mkdir()
    with open(folder / "clips.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text", "label", "speaker"])
        for number, (name, label) in enumerate(PEOPLE.items()):
            write_media(folder / f"{name}.mp4", 0.6, sound=tone(200.0 + 40 * number))
            rows.writerow([f"{name}.mp4", TEXT, label, name])
    return folder


@torch.no_grad()
def answers(name: str | Path, clip: Path) -> dict:
    """Return logits and representation of a clip from its file."""
    model = AutoModelForVideoClassification.from_pretrained(name)
    output = model(**AutoProcessor.from_pretrained(name)(text=TEXT, media=str(clip)))
    return {"logits": output.logits.flatten().tolist(), "multimodal": output.multimodal_embeds.flatten().tolist()}


def push_models(root: Path, clips: Path) -> None:
    """Push a run, then the same model alone and with its towers, by `push_to_hub`."""
    recipe = str(PROJECT / "modeling_semanticmac/training/recipes/synthetic_sentiment.yaml")
    data = ["--corpus", "video_folder", "--data_dir", str(clips), "--output_dir", str(root / "run")]
    parts = ["--language_model", "org/words", "--vision_encoder", "org/vision", "--audio_encoder", "org/audio"]
    hub = ["--push_to_hub", "--hub_model_id", "org/first"]
    train.main([recipe, *data, *parts, *QUIET, "--num_train_epochs", "1", *hub])
    model = AutoModelForVideoClassification.from_pretrained("org/first")
    processor = AutoProcessor.from_pretrained("org/first")
    model.push_to_hub("org/alone")
    model.push_to_hub("org/complete", include_encoders=True)
    processor.push_to_hub("org/complete")


def push_twice(root: Path) -> list[list[str]]:
    """Push a folder with its towers, then the same by reference; return the files after each."""
    from huggingface_hub import list_repo_files

    model, found = AutoModelForVideoClassification.from_pretrained("org/first"), []
    for include in (True, False):
        shutil.rmtree(root / "saved", ignore_errors=True)
        model.save_pretrained(root / "saved", include_encoders=include)
        push_run(root / "saved", "org/twice")
        push_run(root / "saved", "org/twice", revision="trial")
        found.append(list_repo_files("org/twice"))
    return found


def main(root: Path) -> dict:
    root.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    push_parts(root)
    clips = write_own_clips(root / "my clips")
    push_models(root, clips)
    before = answers("org/first", clips / "anna.mp4")
    twice = push_twice(root)
    words = [
        str(clips),
        "--model",
        "org/first",
        "--output_dir",
        str(root / "tuned"),
        "--epochs",
        "3",
        "--learning_rate",
        "0.01",
    ]
    fine_tune_own_clips.main([*words, "--load_best_model_at_end", "false", "--push_to_hub", "org/first", *QUIET])
    corpora(
        [
            "prepare",
            "video_folder",
            str(clips),
            str(root / "prepared"),
            "--task",
            "sentiment",
            "--push_to_hub",
            "org/clips",
        ]
    )
    (clips / "anna.txt").write_text(TEXT)
    extract_representations.main(
        [str(clips), "--model", "org/first", "--output", str(root / "representations.parquet")]
    )
    return {"before": before, "after": answers(root / "tuned", clips / "anna.mp4"), "twice": twice}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(Path(sys.argv[1]))
    print(json.dumps(found))
