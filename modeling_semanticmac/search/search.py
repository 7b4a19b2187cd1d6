"""Hyperparameter search: trials through `Trainer.hyperparameter_search`, each equal to a run of `semanticmac train`
with its arguments.
"""

import copy
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from filelock import FileLock
from tqdm.auto import tqdm
from transformers import set_seed
from transformers.integrations import is_ray_tune_available
from transformers.trainer_utils import SaveStrategy

from ..pretrained_affect import AffectPreTrainedModel
from ..runs.output_folder import OutputFolder
from ..runs.record import SEARCH, recorded_arguments, save_run_record
from ..training.affect_trainer import AffectTrainer
from ..training.argument_checks import SEMANTICMAC_ONLY
from ..training.dialogue_trainer import DialogueTrainer
from ..training.run_arguments import DataArguments, ModelArguments, SearchArguments, given_arguments, parse_arguments
from ..training.run_model import new_model_fields
from ..training.trainer import SemanticMACTrainer
from ..training.training_args import SemanticMACTrainingArguments
from .ray import search_with_ray
from .report import FINISHED, SearchSummary, TrialRecord, write_search_report
from .space import SearchSpace, load_space, suggest_values
from .trial_queue import DRAW, FAILURE, TRIAL_ERRORS, TrialQueue, UnqueuedTrial

SPACE = "paper"
# The same for all trials, whatever the arguments of a trial are.
KEPT = ("save_strategy", "load_best_model_at_end", "push_to_hub", "metric_for_best_model", "greater_is_better")
# Fields that the model of a trial takes from the first model: the towers, by reference.
TOWER_FIELDS = (
    "vision_encoder", "audio_encoder", "vision_features", "audio_features", "text_features", "vision_width",
    "audio_width", "num_crops", "max_frames",
)  # fmt: skip


def check_search(
    argv: Sequence[str],
    options: SearchArguments,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: SemanticMACTrainingArguments,
) -> None:
    """Refuse arguments that cannot be combined with a search.

    Args:
        argv: command line of the search.
        options: of the search.
        model_args, data_args, args: parsed from the command line.

    Raises:
        ValueError: the message says what to do instead.
        ImportError: the backend is not installed.
    """
    own = given_arguments([word for word in argv[:1] if word.startswith("-")] + list(argv[1:]))
    requested = [f"--{name}" for name in ("do_train", "do_eval", "do_predict") if own.get(name)]
    if requested:
        raise ValueError(
            f"{' '.join(requested)} with --do_search: a search does not train or test a final model. Run `semanticmac "
            "train OUTPUT_DIR/best.yaml --data_dir ...` after it."
        )
    if data_args.seeds:
        raise ValueError(
            "--seeds with --do_search: each trial runs with --seed. Run best.yaml with --seeds after the search."
        )
    if model_args.model_name_or_path is not None:
        raise ValueError(
            "--do_search builds a new model for each trial: give --language_model, not --model_name_or_path."
        )
    if args.eval_strategy == "no" or not args.load_best_model_at_end:
        raise ValueError(
            "--do_search scores a trial by its best validation figure: it needs an --eval_strategy and "
            "--load_best_model_at_end true."
        )
    if data_args.train_on_validation:
        raise ValueError(
            "--train_on_validation with --do_search: a search scores its trials on validation. Give it to the run of "
            "best.yaml after the search."
        )
    if args.world_size > 1:
        raise ValueError(
            "--do_search trains a trial in one process. To use several devices, start the same command once on each; "
            "the processes share the trials."
        )
    if options.search_backend == "ray" and (options.search_sampler, options.search_pruner) != ("random", "none"):
        raise ValueError("--search_backend ray supports only --search_sampler random and --search_pruner none.")
    if options.search_backend == "optuna":
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise ImportError("--do_search needs Optuna: pip install 'semanticmac[search]'.") from error
    elif not is_ray_tune_available():
        raise ImportError("--search_backend ray needs Ray Tune: pip install 'semanticmac[scale]'.")


def check_space(space: SearchSpace, model_args: ModelArguments) -> None:
    """Refuse a space with arguments of SemanticMAC for a comparison system.

    Raises:
        ValueError: names the arguments.
    """
    own = sorted(space.keys() & {*ModelArguments.config_names(), *SEMANTICMAC_ONLY})
    if own and not model_args.builds_semanticmac:
        raise ValueError(
            f"the search space has {', '.join(own)}, which {model_args.architecture} does not have; give "
            "--search_space FILE with learning rates, batch sizes and others that it has."
        )


def search(make_run, argv: Sequence[str], options: SearchArguments, *arguments) -> str:
    """Run trials until `options.search_trials` are finished, those of earlier commands included, and report in the
    output folder.

    Args:
        make_run: creates a `Run` from the arguments; its test split stays sealed.
        argv: arguments of the command line.
        options: of the search.
        arguments: model, data and training arguments, parsed from `argv`.

    Returns:
        The table of all trials, as in `search.md`.

    Raises:
        ValueError: the arguments cannot be combined with a search, the space is malformed, the storage holds a search
            with other arguments, or more trials failed than were requested.
        ImportError: the backend is not installed.
    """
    check_search(argv, options, *arguments)
    model_args, data_args, args = arguments
    space_file = options.search_space or SPACE
    space = load_space(space_file)
    check_space(space, model_args)
    signature = [*recorded_arguments(*arguments), f"seed={args.seed}", f"search_space={space}"]
    signature += [f"search_sampler={options.search_sampler}", f"search_pruner={options.search_pruner}"]
    folder = Path(args.output_dir)
    OutputFolder(folder).refuse_unless_search()
    set_seed(args.seed)
    run = make_run(*arguments)
    with FileLock(folder / ".encoding.lock"):  # the first of several processes encodes
        train = run.split("train", data_args.max_train_samples)
        validation = run.split("validation", data_args.max_eval_samples)
    towers = {name: getattr(run.model.config, name) for name in TOWER_FIELDS if hasattr(run.model.config, name)}
    new_model = partial(run.new_model, **towers)
    kind = SEARCH_TRAINERS[run.trainer_class]
    trainer = run.trainer(train, validation, partial(kind, argv=argv, space=space, new_model=new_model))

    def write_report(trials: Sequence[TrialRecord], importance: dict[str, float]) -> str:
        """Write the report of the trials, and return its text."""
        summary = SearchSummary(
            space_file=str(space_file),
            space={name: str(entry) for name, entry in space.items()},
            sampler=options.search_sampler,
            pruner=options.search_pruner,
            backend=options.search_backend,
            seed=args.seed,
            metric=str(trainer.args.metric_for_best_model),
            greater_is_better=bool(trainer.args.greater_is_better),
            test_opened=run.corpus.opened,
            trials=trials,
            importance=importance,
        )
        return write_search_report(summary, argv, folder, run.embeddings_dir)

    queue = TrialQueue(options, folder, trainer.args, signature) if options.search_backend == "optuna" else None
    save_run_record(folder, *arguments, run.task, state=SEARCH)
    run.begin()
    if queue is None:
        return write_report(search_with_ray(trainer, options), {})
    return _run_queue(trainer, queue, write_report)


class TrialTrainer(AffectTrainer):
    """Trainer of one trial after another, each equal to a plain run with the arguments of the trial.

    It saves no checkpoints; the best trial is trained again afterwards.

    Args:
        argv: arguments of the command line, to which those of a trial are added.
        space: the values that a trial may draw.
        new_model: creates a model from the configuration fields of a trial.
    """

    def __init__(self, model, args, *rest, argv: Sequence[str], space: SearchSpace, new_model, **kwargs):
        args = copy.copy(args)
        args.save_strategy, args.load_best_model_at_end, args.push_to_hub = SaveStrategy.NO, False, False
        super().__init__(model, args, *rest, **kwargs)
        self.argv, self.space, self.new_model = list(argv), space, new_model
        self.model_init = self._trial_model

    def _trial_model(self, trial) -> AffectPreTrainedModel:
        """Set the arguments of a trial and build its model."""
        values = (
            {name: trial[name] for name in self.space} if isinstance(trial, dict) else suggest_values(self.space, trial)
        )
        arguments = [f"--{name}={value}" for name, value in values.items()]
        model_args, data_args, training_args = parse_arguments([*self.argv, *arguments])
        # All at once, unlike the library: what one argument implies for another must not outlast the trial.
        vars(self.args).update(vars(training_args) | {name: getattr(self.args, name) for name in KEPT})
        set_seed(self.args.seed)
        model = self.new_model(**new_model_fields(model_args, data_args.modalities))
        set_seed(self.args.seed)  # the random state that the library leaves before the first step of a plain run
        return model

    def train(self, *args, trial=None, **kwargs):
        """Train as the library does; an error that the values of the trial caused is stored with the trial."""
        if not isinstance(trial, dict) and DRAW not in trial.user_attrs:
            raise UnqueuedTrial
        try:
            result = super().train(*args, trial=trial, **kwargs)
            if self.state.best_metric is None:
                raise ValueError("the training ended before its first evaluation; lower --eval_delay")
            return result
        except TRIAL_ERRORS as error:
            if not isinstance(trial, dict):
                trial.set_user_attr(FAILURE, str(error))
            raise

    def score(self, metrics: dict[str, float]) -> float:
        """Return the best validation figure of a trial so far, by which a plain run selects its checkpoint.

        Raises:
            ValueError: the figure is NaN or infinite.
        """
        name = f"eval_{self.args.metric_for_best_model.removeprefix('eval_')}"
        value, best = metrics[name], self.state.best_metric
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: the training has diverged")
        if best is None:
            return value
        return max(value, best) if self.args.greater_is_better else min(value, best)


class SearchTrainer(TrialTrainer, SemanticMACTrainer):
    """Trainer of the trials of SemanticMAC."""

    def _reset_training_state(self) -> None:
        super()._reset_training_state()
        self.label_history = None


class SystemSearchTrainer(TrialTrainer):
    """Trainer of the trials of a comparison system."""


class DialogueSearchTrainer(TrialTrainer, DialogueTrainer):
    """Trainer of the trials of a system that reads dialogues."""


SEARCH_TRAINERS: dict[type[AffectTrainer], type[TrialTrainer]] = {
    SemanticMACTrainer: SearchTrainer,
    AffectTrainer: SystemSearchTrainer,
    DialogueTrainer: DialogueSearchTrainer,
}


def _run_queue(trainer: TrialTrainer, queue: TrialQueue, write_report) -> str:
    """Run trials until enough are finished, here or in another process; write the report after each and return its
    text.
    """
    with tqdm(total=queue.wanted, desc="search", unit="trial", disable=trainer.args.disable_tqdm) as bar:
        while True:
            trials = queue.fill()
            finished = sum(trial.state in FINISHED for trial in trials)
            bar.update(finished - bar.n)
            done = finished >= queue.wanted
            text = write_report(trials, queue.importance() if done else {})
            if done:
                return text
            if any(trial.state == "waiting" for trial in trials):
                queue.run_one(trainer)
            else:
                bar.set_postfix_str("waiting for trials of other processes")
                time.sleep(min(queue.heartbeat, 5))


__all__ = ["SearchTrainer", "check_search", "search"]
