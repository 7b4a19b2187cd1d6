"""The model card of a run: `README.md`, from the files of the run.

semanticmac card RUN org/name      write RUN/README.md, to read before pushing the run
"""

import argparse
import math
import shlex
import sys
from pathlib import Path

from huggingface_hub import EvalResult
from transformers import AutoConfig

from ..configuration_semanticmac import AffectConfig
from ..files.atomic_files import write_text
from ..files.local_paths import without_local_paths
from ..files.markdown_tables import format_number, markdown_table, mean_and_deviation
from ..metrics.definitions import definition
from ..runs.folder import RunFolder, split_results
from .card_trust import certainty_text, groups_text
from .model_card_text import (
    Part,
    citation,
    config_card,
    language_model_part,
    limits_section,
    load_section,
    metadata,
    model_kind,
    parts_section,
    starting_part,
    system_of,
    task_sentence,
    tower_parts,
)

SPLITS = {"test": "test_", "validation": "eval_"}
METRIC_TYPES = {
    "mae": "mae",
    "pearson": "pearsonr",
    "f1": "f1",
    "acc": "accuracy",
    "precision": "precision",
    "recall": "recall",
}
SETTINGS = (
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
    "language_model_learning_rate", "lr_scheduler_type", "warmup_epochs", "weight_decay", "regression_loss",
    "class_weight", "class_weights",
)  # fmt: skip
OBJECTIVE = (  # of SemanticMAC
    "pseudo_labels", "label_start_epoch", "num_neighbors", "intra_weight", "inter_weight", "intra_temperature",
    "inter_temperature",
)  # fmt: skip
SYNTHETIC = """\
> **Trained on drawn faces and computed voices**, the synthetic corpus of the package. The figures show that the code
> works. They say nothing about people, and the model knows nothing about them: do not use it on recordings.
"""
UNRELEASED = """\
> **The towers do not hold ImageBind's weights**: they have its architecture in another size, with random weights or
> the author's own. The figures are not comparable with those measured on ImageBind.
"""


def write_model_card(folder: str | Path, repo_id: str) -> Path:
    """Write `README.md` into the folder of a run or of a saved model, and return its path.

    Args:
        folder: with `config.json`, and where it is a run's with `run.json`, `all_results.json`, `splits.json`;
            `seeds.json` beside it is read too.
        repo_id: the repository's name on the Hub, which the card's examples load.

    Raises:
        FileNotFoundError: no `config.json`.
    """
    folder = Path(folder)
    path = folder / "README.md"
    write_text(path, model_card(folder, repo_id))
    return path


def model_card(folder: Path, repo_id: str) -> str:
    """Return the card of `write_model_card`; arguments and errors are the same."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no config.json in {folder}: it holds no model; give the output folder of a run.")
    config = AutoConfig.from_pretrained(folder)
    if (folder / "run.json").is_file():
        return RunCard(folder, config, repo_id).text()
    return config_card(config, repo_id, str(folder))


class RunCard:
    """The model card of one run.

    Args:
        folder: of the run.
        config: of its model.
        repo_id: name of its repository.
    """

    def __init__(self, folder: Path, config: AffectConfig, repo_id: str):
        self.config, self.repo_id = config, repo_id
        run = RunFolder(folder)
        self.record, self.results, self.modality_text = run.record, run.results, run.modality_text
        self.clips = {split: len(ids) for split, ids in run.json("splits.json").items()}
        self.report = run.json("report.json")
        self.seeds = run.json("../seeds.json")
        if folder.name != self.seeds.get("best_folder"):
            self.seeds = {}
        self.corpus = {"name": self.record["data"]["corpus"], **(self.record.get("corpus") or {})}
        self.title = self.corpus.get("title") or self.corpus["name"]
        revision = self.record.get("language_model_commit")
        start = starting_part(self.record["model"]["model_name_or_path"])
        self.parts: list[Part] = [*start, language_model_part(config, revision), *tower_parts(config, str(folder))]

    def text(self) -> str:
        """Return the text of the card."""
        language, results = self.corpus.get("language"), self._eval_results() or None
        head = metadata(self.config, self.parts, self.repo_id, language=language, eval_results=results)
        trust = certainty_text(self.report.get("certainty")) + groups_text(self.report.get("groups"))
        sections = {
            "Results": self._result_section(),
            **({"How sure, and for whom": trust} if trust else {}),
            "How to load it": load_section(self.config, self.repo_id),
            "What it is for, and what not": limits_section(self.config, bool(self.report.get("groups"))),
            "Data": self._data_section(),
            "Training": self._training_section(),
            "Parts and licences": parts_section(self.parts),
            "Citation": self._citation(),
        }
        body = "\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
        return f"---\n{head.to_yaml()}\n---\n\n{self._introduction()}\n{body}"

    def _introduction(self) -> str:
        text = f"# {self.repo_id.rpartition('/')[2]}\n\nA {model_kind(self.config)} trained on "
        text += f"**{self.title}** with {self.modality_text}. {task_sentence(self.config)}\n"
        if self.corpus["name"] == "synthetic":
            text += f"\n{SYNTHETIC}"
        if any(part.is_other_imagebind for part in self.parts):
            text += f"\n{UNRELEASED}"
        return text

    def _scores(self, split: str) -> dict[str, float]:
        """Return metric -> value on a split; empty where it was not measured."""
        found = split_results(self.results, SPLITS[split].removesuffix("_"))
        return {name: value for name, value in found.items() if name != "loss" and not name.startswith("threshold_")}

    def _eval_results(self) -> list[EvalResult]:
        """Return the defined metrics of the test split, or else of validation, in the format of the Hub."""
        split = "test" if self._scores("test") else "validation"
        common = {
            "task_type": "video-classification",
            "task_name": f"Multimodal {self.config.task.name}",
            "dataset_type": self.corpus["name"],
            "dataset_name": self.title,
            "dataset_config": self.config.task.name,
            "dataset_split": split,
        }
        return [
            EvalResult(
                **common,
                metric_type=metric_type(name),
                metric_name=f"{name}: {definition(name)}",
                metric_value=round(value, 6),
            )
            for name, value in self._scores(split).items()
            if math.isfinite(value)
        ]

    def _result_section(self) -> str:
        splits = [split for split in SPLITS if self._scores(split)]
        if not splits:
            return "Nothing was measured.\n"
        header = ["metric", *(f"{split} ({self.clips.get(split, '?')} clips)" for split in splits), "definition"]
        spread = self.seeds.get("results", {})
        if spread:
            header.insert(2, f"{splits[0]}, {len(self.seeds['seeds'])} seeds")
        rows = []
        for name in self._scores(splits[0]):
            row = [name, *(format_number(self._scores(split).get(name)) for split in splits), definition(name)]
            if spread:
                values = spread.get(SPLITS[splits[0]] + name, {}).get("values") or []
                defined = [math.nan if value is None else value for value in values]  # JSON has null for NaN
                row.insert(2, mean_and_deviation(defined, 4) if defined else "")
            rows.append(row)
        opened = self.results.get("test_opened")
        text = f"Seed {self.record['seed']}."
        text += f" The test split was opened after the choice: {opened}.\n\n" if opened else "\n\n"
        if self.seeds:
            seeds = ", ".join(map(str, self.seeds["seeds"]))
            text += (
                f"Of the seeds {seeds} this one was chosen by {self.seeds['chosen_by']}; mean +- standard deviation "
            )
            text += "are over all of them.\n\n"
        return text + markdown_table(header, rows)

    def _data_section(self) -> str:
        rows = [[split, self.clips[split]] for split in ("train", "validation", "test") if split in self.clips]
        people = self.corpus.get("people") or "not written down."
        terms = self.corpus.get("terms") or "not written down."
        text = f"{self.title[0].upper()}{self.title[1:]}, task {self.config.task.name}. "
        text += f"Who is in it: {people} Terms: {_sentence(terms)}\n"
        return text + ("\n" + markdown_table(["split", "clips used"], rows) if rows else "")

    def _training_section(self) -> str:
        settings = self.record["training"]
        system = system_of(self.config)
        names = (*SETTINGS, *OBJECTIVE) if system is None else SETTINGS
        rows = [[name, settings[name]] for name in names if name in settings]
        if system is not None:
            options = {"architecture": system, **(getattr(self.config, "options", None) or {})}
            rows += [[name, value] for name, value in options.items()]
        command = without_local_paths(self.record["command"])
        shell = f"{'python ' if command[0].endswith('.py') else ''}{shlex.join(map(str, command))}"
        versions = ", ".join(f"{name} {version}" for name, version in self.record["versions"].items())
        return (
            f"```bash\n{shell}\n```\n\n{markdown_table(['setting', 'value'], rows)}\n"
            f"Code revision {self.record['git_revision'] or 'unknown'}; {versions}. `run.json` holds every argument.\n"
        )

    def _citation(self) -> str:
        corpus = (self.corpus.get("citation") or "").strip()
        return citation(self.config) + (f"\nThe corpus:\n\n```bibtex\n{corpus}\n```\n" if corpus else "")


def metric_type(name: str) -> str:
    """Return the identifier of a metric on the Hub, or our own name where the Hub has none."""
    for ending, kind in METRIC_TYPES.items():
        if ending in name:
            return kind
    return name


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def main(argv: list[str] | None = None) -> int:
    """Write the card of a run."""
    parser = argparse.ArgumentParser(
        prog="semanticmac card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the output folder of a run")
    parser.add_argument("repo_id", help="org/name on the Hub")
    args = parser.parse_args(argv)
    try:
        print(write_model_card(args.run, args.repo_id))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
