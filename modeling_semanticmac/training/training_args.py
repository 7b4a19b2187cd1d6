"""Arguments of a training run: transformers' own, with the method's fields and the field's defaults."""

import json
from dataclasses import dataclass, field
from typing import cast

from transformers import TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import HubStrategy

from ..affect_heads import REGRESSION_LOSSES
from ..metrics import LOWER_IS_BETTER

LABEL_BANKS = ("float32", "float16")  # bfloat16 changes eight times as many neighbours as float16


@dataclass
class SemanticMACTrainingArguments(TrainingArguments):
    """`TrainingArguments` with two learning rates, warm-up counted in epochs, and the options of the objective.

    Defaults follow Table II of the paper where it gives values (AdamW, warm-up of all rates over the first epoch, a
    constant or cosine rate) and docs/method.md elsewhere. Without `metric_for_best_model` the Trainer selects the model
    by the figure of the task: the lowest validation loss (scores) or the highest validation weighted F1 (classes).
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "Learning rate of everything but the language model."})
    language_model_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the language model (default: 4e-5; of an adapter 2e-4)."}
    )
    encoder_learning_rate: float = field(
        default=1e-4, metadata={"help": "Learning rate of the adapters of towers (--trainable_encoders)."}
    )
    rate_multiplier: str | None = field(
        default=None,
        metadata={
            "help": 'Factors of the learning rates as JSON, by the beginning of parameter names, e.g. {"audio": 5}; in '
            "a YAML file a mapping."
        },
    )
    warmup_epochs: float = field(
        default=1.0,
        metadata={"help": "Linear warm-up of both rates over this many epochs. 0 leaves it to warmup_steps."},
    )
    regression_loss: str = field(
        default="l1", metadata={"help": f"Task loss of scores: {' or '.join(REGRESSION_LOSSES)}."}
    )
    pseudo_labels: str = field(
        default="generated",
        metadata={"help": "Labels of S, T, A, V: generated, ground_truth, or off (only sub-task M learns)."},
    )
    num_neighbors: int = field(default=10, metadata={"help": "Neighbours K of label generation."})
    label_start_epoch: int = field(default=2, metadata={"help": "Last epoch n_0 trained on the ground truth alone."})
    label_momentum: bool = field(default=True, metadata={"help": "Mix new pseudo labels with their history."})
    label_memory: int = field(default=128, metadata={"help": "Bound of the neighbour search in MiB."})
    label_bank: str = field(
        default="float32",
        metadata={
            "help": "Number format of the bank for label generation: float32, or float16, which halves its memory and "
            "changes few neighbours (docs/performance.md)."
        },
    )
    label_pool: int = field(
        default=0,
        metadata={"help": "Clips, drawn by the seed, among which neighbours are sought; for very large sets. 0: all."},
    )
    intra_weight: float = field(default=0.1, metadata={"help": "Weight alpha of the contrastive loss within samples."})
    inter_weight: float = field(default=0.1, metadata={"help": "Weight beta of the contrastive loss between samples."})
    intra_temperature: float = field(default=0.5, metadata={"help": "Temperature tau_1 within samples."})
    inter_temperature: float = field(default=0.1, metadata={"help": "Temperature tau_2 between samples."})
    sentiment_threshold: float = field(
        default=0.0,
        metadata={
            "help": "Scores up to this far from the middle of their scale are neutral for the loss between samples."
        },
    )
    keep_bank: bool = field(
        default=False,
        metadata={
            "help": "Keep ids, labels and representations of the training clips with the model, so that predictions "
            "can name the nearest ones."
        },
    )
    modality_dropout: float = field(
        default=0.0,
        metadata={"help": "Probability that a modality of a training clip is dropped in a step; never all of them."},
    )
    class_weight: str = field(default="none", metadata={"help": "none, or balanced by the training set's frequencies."})
    class_weights: list[str] | None = field(
        default=None,
        metadata={
            "help": "Weights of your own, NAME=WEIGHT for each class to change, e.g. fear=4 disgust=4; others: 1."
        },
    )

    lr_scheduler_type: str = field(default="constant_with_warmup", metadata={"help": "constant_with_warmup or cosine."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate on validation: no, steps, epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint: no, steps, epoch, best."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the checkpoint best on validation."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints to keep: the best and the newest."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Keep False: the collator needs all columns of a clip."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=None,
        metadata={
            "help": "With several processes: look in every step for parameters without a gradient (default: where a "
            "step can leave one without)."
        },
    )
    hub_strategy: str = field(
        default="end", metadata={"help": "When to push to the Hub: end; the model card is made from the finished run."}
    )
    report_to: None | str | list[str] = field(default="none", metadata={"help": "Trackers, e.g. tensorboard or wandb."})

    def rate_factors(self) -> dict[str, float]:
        """Return the factors of `rate_multiplier`, by the beginning of parameter names.

        Raises:
            ValueError: it is not a JSON mapping of names to positive numbers.
        """
        try:
            found = json.loads(self.rate_multiplier) if self.rate_multiplier else {}
            factors = {str(name): float(factor) for name, factor in found.items()}
        except (AttributeError, TypeError, ValueError):
            factors = {"": -1.0}
        if not all(factor > 0 for factor in factors.values()):
            raise ValueError(
                f"rate_multiplier is {self.rate_multiplier!r}; expected a JSON mapping of the beginnings of parameter "
                'names to positive numbers, such as {"audio": 5}.'
            )
        return factors

    def __post_init__(self):
        # The library sets do_eval wherever there is an evaluation strategy; here the strategy has a default, and
        # do_eval is the user's.
        # It also sets an absent metric to the loss; here an absent metric stays absent, and the Trainer takes that of
        # the task.
        given = {name: getattr(self, name) for name in ("do_eval", "metric_for_best_model", "greater_is_better")}
        super().__post_init__()
        for name, value in given.items():
            setattr(self, name, value)
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            # The library takes every metric whose name does not end in "loss" for better when it is higher.
            self.greater_is_better = not self.metric_for_best_model.endswith(LOWER_IS_BETTER)
        if self.push_to_hub and self.hub_strategy != HubStrategy.END:
            raise ValueError(
                f"hub_strategy is {str(self.hub_strategy)!r}; expected end: the model card is made from the finished "
                "run."
            )
        self._check_method()
        self._check_loading()

    def _check_method(self) -> None:
        """Raise ValueError for an option of the method that has no meaning."""
        if self.regression_loss not in REGRESSION_LOSSES:
            raise ValueError(f"regression_loss is {self.regression_loss!r}; expected {' or '.join(REGRESSION_LOSSES)}.")
        if self.class_weight not in ("none", "balanced"):
            raise ValueError(f"class_weight is {self.class_weight!r}; expected none or balanced.")
        if self.class_weights and self.class_weight != "none":
            raise ValueError("class_weight 'balanced' and class_weights both weigh the classes; give one of them.")
        if self.pseudo_labels not in ("generated", "ground_truth", "off"):
            raise ValueError(f"pseudo_labels is {self.pseudo_labels!r}; expected generated, ground_truth or off.")
        if self.label_bank not in LABEL_BANKS:
            raise ValueError(f"label_bank is {self.label_bank!r}; expected {' or '.join(LABEL_BANKS)}.")
        for name in ("num_neighbors", "label_start_epoch", "label_memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        for name in ("intra_temperature", "inter_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0.")
        for name in ("intra_weight", "inter_weight", "sentiment_threshold", "label_pool"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        self.rate_factors()  # refuses wrong ones
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout is {self.modality_dropout}; expected a probability in [0, 1).")
        if self.warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; expected 0 or more.")

    def _check_loading(self) -> None:
        """Raise ValueError for an order or a division of the clips with which no run resumes exactly."""
        # Every process sees whole batches of the same size, in an order that follows from the seed and the epoch.
        loading = cast(AcceleratorConfig, self.accelerator_config)  # the library has converted it
        for name, expected in {"split_batches": False, "even_batches": True, "use_seedable_sampler": True}.items():
            if getattr(loading, name) != expected:
                raise ValueError(
                    f"accelerator_config has {name}={not expected}; expected {expected}: the loss between samples "
                    "gathers equal batches from all "
                    "processes, and a resumed run repeats the order of the clips."
                )
        if loading.dispatch_batches:
            raise ValueError(
                "accelerator_config has dispatch_batches=True; expected False or None: every process makes its own "
                "batches."
            )
        if self.train_sampling_strategy == "batch_rebalance":
            raise ValueError(
                "train_sampling_strategy is 'batch_rebalance'; expected random, sequential or group_by_length: the "
                "loss between samples gathers equal batches from all processes."
            )
        if self.remove_unused_columns:
            raise ValueError(
                "remove_unused_columns must be False: the collator needs the columns of a clip that the model does not "
                "take."
            )
