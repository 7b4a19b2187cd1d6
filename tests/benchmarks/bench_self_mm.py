"""Training of Self-MM: this package against MMSA, the toolkit of its authors (github.com/thuiar/MMSA).

    python -m pytest tests/benchmarks/bench_self_mm.py -o python_files='bench_*.py'

Two minutes on one core; times are those of the processor. MMSA is installed into an environment of its own in a
temporary folder, which shares the libraries of this one: both sides run on the same torch and transformers, and no CUDA
build is fetched. It needs the network; without it the benchmark is skipped.

Same encoder (the size of MiniLM, random weights), tuned; same words, frames, labels, batches of 16 of which four make a
step, rates and single precision; text lengths are those of CMU-MOSI. MMSA reads token ids from a file, padded to 50;
here texts are tokenised in each batch and padded to its longest.
"""

import json
import pickle
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer, TrainerCallback

from modeling_semanticmac.baselines import FusionForAffect
from modeling_semanticmac.training.affect_trainer import AffectTrainer
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.tiny import SENTIMENT
from tests.helpers.trainers import arguments

PACKAGES = ("MMSA==2.2.1", "easydict==1.13", "nvidia-ml-py3==7.352.0")  # the last: imported, not used
CLIPS, ROUNDS, EPOCHS = 96, 2, 1  # epochs that are timed; one more before them
WIDTHS = {"text": 384, "audio": 5, "vision": 20}  # MMSA's features of CMU-MOSI
FRAMES_PER_WORD = {"audio": 10, "vision": 8}
LONGEST = {"text": 50, "audio": 500, "vision": 375}
# Words of the clips of CMU-MOSI at these shares of them.
WORD_QUANTILES = ([0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99], [1, 5, 7, 10, 16, 23, 45])
VOCABULARY = [f"w{number}" for number in range(2000)]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory) -> Path:
    """The Python of an environment that has MMSA beside the libraries of this one."""
    folder = tmp_path_factory.mktemp("mmsa")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    command = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    packages = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"])
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages, *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"MMSA cannot be installed here: {done.stderr.strip()[-300:]}")
    return python


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    """A BERT of MiniLM's size with its tokenizer."""
    folder = tmp_path_factory.mktemp("language_model")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY]))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY) + 5, hidden_size=WIDTHS["text"], num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=4 * WIDTHS["text"],
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clips() -> list[dict]:
    """Clips with words, frames and a score."""
    generator = np.random.default_rng(0)
    lengths = np.interp(generator.random(CLIPS), *WORD_QUANTILES).round().astype(int)
    rows = []
    for number, words in enumerate(lengths):
        row = {"id": f"clip_{number}", "words": generator.choice(VOCABULARY, words).tolist()}
        for name, rate in FRAMES_PER_WORD.items():
            size = min(int(words) * rate, LONGEST[name])
            row[name] = generator.standard_normal((size, WIDTHS[name])).astype(np.float32)
        rows.append(row | {"label": float(generator.uniform(-3, 3))})
    return rows


def mmsa_features(clips: list[dict], tokenizer) -> dict:
    """Return clips as MMSA reads them: padded arrays of ids, masks and frames, with their lengths."""
    encoded = tokenizer(
        [" ".join(clip["words"]) for clip in clips], padding="max_length", truncation=True, max_length=LONGEST["text"],
        return_tensors="np",
    )  # fmt: skip
    names = ("input_ids", "attention_mask", "token_type_ids")
    split = {
        "text_bert": np.stack([encoded.get(name, 0 * encoded["input_ids"]) for name in names], axis=1),
        "raw_text": [" ".join(clip["words"]) for clip in clips],
        "id": [clip["id"] for clip in clips],
        "regression_labels": np.array([clip["label"] for clip in clips], dtype=np.float32),
    }
    for name in FRAMES_PER_WORD:
        padded = np.zeros((len(clips), LONGEST[name], WIDTHS[name]), dtype=np.float32)
        for row, clip in enumerate(clips):
            padded[row, : len(clip[name])] = clip[name]
        split |= {name: padded, f"{name}_lengths": [len(clip[name]) for clip in clips]}
    return {part: split for part in ("train", "valid", "test")}


class Processor:
    """What the collator needs of a processor: it tokenises."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def encode_text(self, texts, contexts=None, max_length=None) -> dict[str, torch.Tensor]:
        return dict(
            self.tokenizer(texts, padding=True, truncation=True, max_length=LONGEST["text"], return_tensors="pt")
        )


class EpochTimes(TrainerCallback):
    """The seconds of each epoch."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.start = time.process_time()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.seconds.append(time.process_time() - self.start)


def own_seconds(clips: list[dict], language_model: Path, tokenizer, folder: Path) -> list[float]:
    """Return the seconds of each epoch but the first of this package."""
    media = {"path": "", "start": None, "end": None, "crop": None}
    rows = [
        {"id": clip["id"], "video_id": clip["id"], "speaker": "", "media": media, "text": " ".join(clip["words"]),
         "context": [], "label": clip["label"]}
        for clip in clips
    ]  # fmt: skip
    store = {clip["id"]: (torch.from_numpy(clip["audio"]), torch.from_numpy(clip["vision"])) for clip in clips}
    torch.manual_seed(0)
    model = FusionForAffect.from_language_model(
        str(language_model), architecture="self_mm", audio_width=WIDTHS["audio"], vision_width=WIDTHS["vision"],
        **SENTIMENT.config_fields(),
    )  # fmt: skip
    options = {
        "num_train_epochs": EPOCHS + 1, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 4,
        "learning_rate": 1e-3, "language_model_learning_rate": 5e-5, "max_grad_norm": 0.0,
        "rate_multiplier": json.dumps({"recurrences": 5, "reductions": 5}),
    }  # fmt: skip
    times = EpochTimes()
    AffectTrainer(
        model, arguments(folder, **options), datasets.Dataset.from_list(rows),
        data_collator=SemanticMACCollator(Processor(tokenizer), SENTIMENT, store), callbacks=[times],
    ).train()  # fmt: skip
    return times.seconds[1:]


def test_self_mm_against_mmsa(record, interpreter, language_model, clips, tmp_path):
    """At least as many samples a second of the processor, in turns."""
    tokenizer = BertTokenizer.from_pretrained(language_model)
    features = tmp_path / "features.pkl"
    features.write_bytes(pickle.dumps(mmsa_features(clips, tokenizer)))
    script = Path(__file__).with_name("mmsa_self_mm.py")
    command = [interpreter, script, features, language_model, str(WIDTHS["text"]), str(EPOCHS + 1)]
    rates: dict[str, list[float]] = {"MMSA": [], "this package": []}
    for number in range(ROUNDS):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        seconds = [
            json.loads(done.stdout.splitlines()[-1]),
            own_seconds(clips, language_model, tokenizer, tmp_path / f"{number}"),
        ]
        for name, times in zip(rates, seconds):
            rates[name].append(CLIPS * len(times) / sum(times))
    ratios = {
        name: statistics.median(own / other for own, other in zip(found, rates["MMSA"]))
        for name, found in rates.items()
    }
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in medians.items():
        record.row("self_mm", system=name, samples_a_CPU_second=f"{rate:.1f}", ratio=f"{ratios[name]:.2f}")
    own, other = (f"{medians[name]:.1f}/s" for name in ("this package", "MMSA"))
    record.ratio("training of Self-MM against MMSA", own, other, ratios["this package"])
    assert ratios["this package"] >= 1.0
