"""Run every step once: render a corpus, embed each clip, train, evaluate, save, reload, predict one clip from its file.

    python examples/quickstart.py --output_dir quickstart

Models and corpus are tiny, the steps are the real ones: the towers have ImageBind's architecture, the clips are MP4
files, the model goes through `save_pretrained` and the Auto classes. The script trains on all modalities and on text
alone, over three seeds, and prints both.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the tiny models of this folder

from datasets_scripts import load_corpus  # noqa: E402
from examples.tiny_models import save_tiny_language_model, save_tiny_towers  # noqa: E402
from modeling_semanticmac.commands import train as train_command  # noqa: E402
from modeling_semanticmac.runs.record import read_predictions  # noqa: E402

SETTINGS = {"all modalities": ["text", "audio", "vision"], "text alone": ["text"]}


def train(folder: Path, corpus: Path, models: dict[str, Path], seed: int, modalities: list[str]) -> dict:
    """Train by the recipe as `semanticmac train` does, and return the run's `all_results.json`."""
    arguments = ["synthetic_sentiment", "--data_dir", str(corpus), "--output_dir", str(folder)]
    arguments += ["--embeddings_dir", str(corpus.parent / "embeddings"), "--seed", str(seed)]
    arguments += ["--modalities", *modalities]
    arguments += [f"--language_model={models['language_model']}"]
    if len(modalities) > 1:
        arguments += [f"--vision_encoder={models['vision']}", f"--audio_encoder={models['audio']}"]
    train_command.main([*arguments, "--overwrite_output_dir"])  # a second quickstart starts again
    return json.loads((folder / "all_results.json").read_text())


def reload_and_predict(folder: Path, clip: dict) -> None:
    """Load the saved model through the Auto classes and compare its prediction of one clip with that of the run."""
    model = AutoModelForVideoClassification.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    base = AutoModel.from_pretrained(folder).eval()
    inputs = processor(text=clip["text"], media=clip["media"])
    with torch.no_grad():
        output = model(**inputs)
        same = base(**inputs).multimodal_embeds
    rows = read_predictions(folder / "predictions_test.csv")
    expected = next(float(row["prediction"]) for row in rows if row["id"] == clip["id"])
    score = output.logits.item()
    print(
        f"\n{clip['id']}: {clip['text']!r}\n  from its file {score:+.3f}, from the store in the run {expected:+.3f}, "
        f"planted {clip['label']:+.3f}"
    )
    # The store holds half precision: the two predictions agree to that.
    if abs(score - expected) > 0.02 or not torch.allclose(same, output.multimodal_embeds, atol=1e-5):
        raise SystemExit("the reloaded model does not predict what the run predicted")


def print_table(results: dict[str, list[dict]], constant: float) -> float:
    """Print the mean absolute errors on the test split; return the mean error with all modalities."""
    print(
        f"\n{'test MAE':<24}"
        + "".join(f"seed {row['seed']:<7}" for row in results["all modalities"])
        + "mean    below constant"
    )
    print(f"{'constant predictor':<24}" + f"{constant:<12.3f}" * len(results["all modalities"]) + f"{constant:.3f}")
    for name, rows in results.items():
        errors = [row["test_mae"] for row in rows]
        print(
            f"{name:<24}"
            + "".join(f"{error:<12.3f}" for error in errors)
            + f"{np.mean(errors):.3f}   {1 - np.mean(errors) / constant:.0%}"
        )
    return float(np.mean([row["test_mae"] for row in results["all modalities"]]))


def main() -> None:
    """Run the quickstart and print the time of each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("quickstart"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    torch.set_num_threads(1)  # one thread is faster for tiny tensors
    start = time.perf_counter()
    corpus = args.output_dir / "corpus"
    clips = load_corpus("synthetic", corpus, "sentiment")
    rendered = time.perf_counter()
    vision, audio = save_tiny_towers(args.output_dir / "towers")
    language_model = save_tiny_language_model(args.output_dir / "language_model", clips["train"]["text"])
    models = {"vision": vision, "audio": audio, "language_model": language_model}
    results = {}
    for name, modalities in SETTINGS.items():
        for seed in args.seeds:
            folder = args.output_dir / f"{name.replace(' ', '_')}_{seed}"
            results.setdefault(name, []).append({"seed": seed, **train(folder, corpus, models, seed, modalities)})
    trained = time.perf_counter()
    # The best constant for the mean absolute error is the training set's median.
    labels = np.array(clips["test"]["label"])
    constant = float(np.abs(labels - np.median(clips["train"]["label"])).mean())
    print_table(results, constant)
    reload_and_predict(args.output_dir / f"all_modalities_{args.seeds[0]}", clips["test"][0])
    done = time.perf_counter()
    print(
        f"\ncorpus {rendered - start:.0f} s, embedding and training {trained - rendered:.0f} s, prediction "
        f"{done - trained:.0f} s"
    )


if __name__ == "__main__":
    main()
