"""`--seeds`: the same run with several seeds, each in a folder of its own; the best on validation is pushed."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from ..hub.upload import push_run
from ..runs.output_folder import OutputFolder, OutputFolderError
from ..runs.record import recorded_arguments
from ..runs.seeds import SeedRun, summarize
from .affect_trainer import AffectTrainer
from .checkpoints import newest_whole_checkpoint
from .main import run_once
from .run_arguments import parse_arguments
from .run_features import load_run_corpus

logger = logging.getLogger("run_mac")


def run_seeds(argv: Sequence[str], model_args, data_args, training_args) -> None:
    """Do the run once for each seed, in folders `seed_<n>`; keep finished seeds and resume an interrupted one.

    Args:
        argv: arguments of the command line.
        model_args, data_args, training_args: what they say.

    Raises:
        ValueError: a folder holds a run with other arguments or on another corpus, or is in use.
    """
    folder = OutputFolder(training_args.output_dir)
    with folder.held() if training_args.process_index == 0 else nullcontext():
        if folder.state not in ("empty", "seeds") and not data_args.overwrite_output_dir:
            raise OutputFolderError(f"{folder.path} holds a run or a search; give --seeds another --output_dir.")
        arguments = (*recorded_arguments(model_args, data_args, training_args), *corpus_digests(data_args))
        runs = [SeedRun(seed, folder.path / f"seed_{seed}", arguments) for seed in data_args.seeds]
        finished = [] if data_args.overwrite_output_dir else [run for run in runs if run.is_finished()]
        if data_args.overwrite_output_dir and training_args.should_save:
            folder.clear()
        for run in runs:
            if run in finished:
                logger.info("seed %d is finished: %s", run.seed, run.folder)
            else:
                _run_seed(run, argv, data_args.embeddings_dir or str(folder.path / "embeddings"))
        if training_args.should_save:
            summary = summarize(runs, folder.path)
            print((folder.path / "seeds.md").read_text(encoding="utf-8"))
            if training_args.push_to_hub:
                push_best(folder.path, summary, training_args)


def corpus_digests(data_args) -> list[str]:
    """Return a line for each split of the corpus that changes with its clips, texts and labels."""
    if data_args.corpus is None or data_args.data_dir is None:
        return []
    digests = load_run_corpus(data_args).digests()
    return [f"clips of {split}={found}" for split, found in sorted(digests.items())]


def _run_seed(run: SeedRun, argv: Sequence[str], embeddings_dir: str) -> None:
    """Do the run of one seed, from its newest whole checkpoint where it has one."""
    own = ["--seed", str(run.seed), "--output_dir", str(run.folder), "--embeddings_dir", embeddings_dir]
    model_args, data_args, training_args = parse_arguments([*argv, *own])
    training_args.push_to_hub = False  # the best one, when all are finished
    if training_args.do_train and not data_args.overwrite_output_dir:
        if training_args.resume_from_checkpoint in (None, "last", "true", "True"):
            newest = newest_whole_checkpoint(run.folder)
            training_args.resume_from_checkpoint = str(newest) if newest else None

    def finish(trainer: AffectTrainer) -> None:
        args = trainer.args
        run.finish(str(args.metric_for_best_model), trainer.state.best_metric, bool(args.greater_is_better))

    run_once(model_args, data_args, training_args, finish)


def push_best(folder: Path, summary: dict, args) -> None:
    """Push the run of the seed that validation chose.

    Raises:
        ValueError: none was chosen, since nothing was evaluated on validation.
    """
    if summary["best_folder"] is None:
        raise ValueError(
            "no seed was chosen on validation, so there is none to push; train with --eval_strategy epoch."
        )
    name = args.hub_model_id or folder.resolve().name
    push_run(
        folder / summary["best_folder"],
        name,
        private=args.hub_private_repo,
        token=args.hub_token,
        revision=args.hub_revision,
    )


__all__ = ["corpus_digests", "push_best", "run_seeds"]
