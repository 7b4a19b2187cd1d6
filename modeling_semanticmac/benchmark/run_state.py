"""What each run of a benchmark was made for, and whether its folder holds it: finished, begun, changed or absent."""

import json
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path

from ..embedding_store.fingerprint import FINGERPRINT, fingerprint_digest
from ..feature_files.reading import content_digest
from ..feature_files.sources import named_stream
from ..files.atomic_files import write_json
from ..runs.folder import RunFolder
from ..runs.output_folder import OutputFolder
from ..runs.record import FINISHED, recorded_arguments
from ..runs.settings import WITHOUT_EFFECT
from ..training.checkpoints import list_checkpoints
from ..training.run_arguments import ModelArguments, given_arguments, parse_arguments
from ..training.seed_runs import corpus_digests
from ..training.training_args import SemanticMACTrainingArguments
from .plan import PlannedRun

PURPOSE = "benchmark.json"  # in the folder of each run
# Of the arguments that change no number by themselves, those whose effect is compared here by their value alone.
COMPARED = {
    "on_error", "max_seconds", "max_train_samples", "max_eval_samples", "max_predict_samples", "model_name_or_path",
    "language_model", "language_model_revision", "vision_encoder", "vision_encoder_revision", "audio_encoder",
    "audio_encoder_revision", "features", "do_train", "do_eval", "do_predict", "train_on_validation",
}  # fmt: skip
ABSENT, BEGUN, CHANGED, DONE = "absent", "begun", "changed", "finished"


@dataclass
class Purpose:
    """What a run was made for.

    Args:
        arguments: name -> value of every resolved argument, of the simple system and digests of the clips, as text.
        given: names of the arguments that the plan or the recipe gives.
        store: digest of the embedding store when the run ended; None: not known.
        seconds: that the run has taken, all attempts together.
        processes: runs that ran at the same time (`--jobs`).
    """

    arguments: dict[str, str]
    given: list[str]
    store: str | None = None
    seconds: float = 0.0
    processes: int = 1
    embeddings_dir: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, planned: PlannedRun) -> "Purpose":
        """Return the purpose of a planned run; reads the corpus.

        Raises:
            ValueError, FileNotFoundError: arguments that are wrong, or a corpus that cannot be read.
        """
        parsed = parse_arguments(planned.argv)
        lines = [*recorded_arguments(*parsed), *_digests(parsed[1])]
        arguments = dict(line.partition("=")[::2] for line in lines)
        arguments = {name: arguments[name] for name in arguments if name not in WITHOUT_EFFECT or name in COMPARED}
        if planned.row.simple:
            arguments = {name: value for name, value in arguments.items() if name not in trained_only()}
            arguments["simple system"] = json.dumps([planned.row.simple, dict(planned.row.options)], sort_keys=True)
        given = [*given_arguments(planned.argv), "simple system", *(name for name in arguments if " of " in name)]
        uses_store = set(parsed[1].modalities) != {"text"}
        return cls(arguments, sorted(given), embeddings_dir=parsed[1].embeddings_dir if uses_store else None)

    @classmethod
    def read(cls, folder: Path) -> "Purpose | None":
        """Return what the run in a folder was made for; None where that is not known."""
        path = folder / PURPOSE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def write(self, folder: Path) -> None:
        """Write the purpose into the folder of the run."""
        write_json(folder / PURPOSE, asdict(self))

    def differences(self, earlier: "Purpose") -> list[str]:
        """Return what differs from an earlier run, as `name was x, is y`.

        An argument that the earlier version of the package did not have counts where it is given.
        """
        found = []
        ignored = trained_only() if "simple system" in self.arguments else set()
        for name in sorted((self.arguments.keys() | earlier.arguments.keys()) - ignored):
            before, now = earlier.arguments.get(name), self.arguments.get(name)
            if (
                before != now
                and (before is not None or name in self.given)
                and (now is not None or name in earlier.given)
            ):
                found.append(f"{name} was {before}, is {now}")
        store = store_digest(self.embeddings_dir)
        if None not in (store, earlier.store) and store != earlier.store:
            found.append("the embedding store is another one")
        return found


def trained_only() -> set[str]:
    """Return the arguments that a simple system does not have: of the training, and of the model on the embeddings.

    What changes the embeddings themselves is seen in the digest of their store.
    """
    training = {entry.name for entry in fields(SemanticMACTrainingArguments)} - {"do_predict"}
    return training | ModelArguments.config_names() | {"architecture", "architecture_options"}


_DIGESTS: dict[tuple, list[str]] = {}


def _digests(data_args) -> list[str]:
    """Return the digests of the clips of a run and of its feature files, made once for all runs on them."""
    features = data_args.features or []
    options = json.dumps(data_args.options, sort_keys=True)
    key = (data_args.corpus, data_args.data_dir, data_args.task, options, *features)
    if key not in _DIGESTS:
        _DIGESTS[key] = [*corpus_digests(data_args), *(_content(named_stream(argument)[1]) for argument in features)]
    return _DIGESTS[key]


@cache
def _content(path: Path) -> str:
    """Return a line with the digest of a feature file, made once for all runs on it."""
    return f"content of {path.name}={content_digest(path)[:16]}"


def store_digest(folder: str | None) -> str | None:
    """Return the digest of the fingerprint of a store; None where there is none."""
    path = Path(folder, FINGERPRINT) if folder else None
    if path is None or not path.is_file():
        return None
    return fingerprint_digest(json.loads(path.read_text(encoding="utf-8")))


def run_state(planned: PlannedRun, purpose: Purpose) -> tuple[str, str]:
    """Return the state of a planned run's folder and a sentence on it.

    Returns:
        `finished`; `begun`: it has checkpoints, from which it continues; `changed`: what it holds was made with other
        settings, which the sentence names; `absent`: nothing to keep.
    """
    folder = planned.folder
    holds_run = OutputFolder(folder).state == FINISHED
    if not holds_run and not list_checkpoints(folder):
        return ABSENT, ""
    earlier = Purpose.read(folder)
    if earlier is None:
        return CHANGED, f"{folder} holds a run that this benchmark did not make; remove it or give another --output_dir"
    if differences := purpose.differences(earlier):
        return CHANGED, f"it was made with other settings: {'; '.join(differences)}; --replace_changed runs it again"
    return (DONE, "") if holds_run else (BEGUN, "")


def finished_run(planned: PlannedRun) -> RunFolder | None:
    """Return the finished run in the folder of a planned run; None where there is none."""
    return RunFolder(planned.folder) if OutputFolder(planned.folder).state == FINISHED else None


__all__ = ["ABSENT", "BEGUN", "CHANGED", "DONE", "PURPOSE", "Purpose", "finished_run", "run_state", "store_digest"]
