"""Configuration of SemanticMAC; the names of modalities, sub-tasks and views."""

import difflib
from dataclasses import fields
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import logging

from .input_scaling import INPUT_SCALINGS
from .task_specification import (
    TaskSpecification,
    metric_family,
    score_polarity,
)
from .text_vectors import TEXT_VECTORS

logger = logging.get_logger(__name__)

# The streams of a clip, in the order of every (B, 3, ...) tensor; the towers embed those with media.
MODALITIES = ("text", "audio", "vision")
MEDIA_MODALITIES = ("audio", "vision")
SEMANTICMAC = "semanticmac"  # the architecture that is not a comparison system
LONGEST_USE = 1000  # characters of `intended_use`
DTYPES = ("float32", "bfloat16", "float16")  # number formats in which models and towers compute
# The sub-tasks beside the multimodal one, M: semantic-shared, then the semantic-specific of text, audio and vision.
SUBTASK_NAMES = {"S": "shared", "T": "text", "A": "audio", "V": "vision"}
SUBTASKS = tuple(SUBTASK_NAMES)
HEAD_NAMES = {"M": "multimodal", **SUBTASK_NAMES}  # of all five predictors
# Names of the multimodal prediction and of the sub-tasks for readers, in the order in which they are shown.
VIEWS = {
    "multimodal": "all together",
    "shared": "what all share",
    "text": "words alone",
    "audio": "voice alone",
    "vision": "picture alone",
}
SPOKEN = {"text": "words", "audio": "voice", "vision": "picture"}  # of a modality within a sentence

# The fields that state the task together: a new task replaces what contradicts it.
_TASK_FIELDS = (
    "task_name", "problem_type", "num_labels", "id2label", "label2id", "label_range", "metrics",
    "scale_scores", "label_thresholds", "calibration",
)  # fmt: skip
# Written into a config.json by transformers itself, or passed by its loaders. Any other unknown name is a typing error.
_LIBRARY_KEYS = {
    "name_or_path", "_name_or_path", "_commit_hash", "auto_map", "custom_pipelines", "model_type", "num_labels",
    "torch_dtype", "output_attentions", "attn_implementation", "_attn_implementation",
    "_attn_implementation_internal", "experts_implementation",
    "_experts_implementation_internal", "quantization_config", "per_layer_config", "trust_remote_code", "use_cache",
}  # fmt: skip


@strict
class AffectConfig(PreTrainedConfig):
    r"""Base of the configurations of models that read text, audio and vision: language model, towers and task.

    Args:
        text_config: configuration of the language model: any text encoder of transformers (a config, or a dict with
            `model_type`; default BERT); `text_vectors` for a model that reads vectors of text in its place.
        text_dtype: dtype of the language model's weights where it differs from the others, e.g. "bfloat16"; written by
            `save_pretrained`.
        language_model_reference: the frozen base of a language model with an adapter: `name_or_path` (None: beside the
            model), `revision`, `subfolder`, `dtype`, `quantization`, `weights_hash`; None: the language model is part
            of the weights.
        text_tokens: "all" tokens of the language model are read further, or only those of the "utterance" itself, which
            has then seen its context through attention; with "utterance" a batch needs `utterance_mask`.
        vision_encoder, audio_encoder: the frozen towers *by reference*, a dict with `name_or_path` (None: the
            checkpoint's own repository), `revision`, `subfolder`, `weights_hash`. They are loaded when raw media first
            comes in.
        vision_features, audio_features, text_features: where the model was trained on a file of precomputed features
            in place of a tower or of the language model, a dict with the `file`, its `sha256` and `form`, and how it
            was normalised (docs/how_to/feature_files.md).
        trained_modalities: those of text, audio and vision that the model was trained with (`--modalities`); None: all.
            What it would say of the others comes from weights that nothing has trained.
        vision_width, audio_width: width of the towers' embeddings, D_v and D_a (ImageBind: 1024).
        num_crops: vision tokens of one time step (spatial crops); they share one frame embedding.
        task_name, problem_type, id2label, label_range, metrics, scale_scores: the task, see [`TaskSpecification`].
        label_thresholds: for tasks of several labels, the probability above which each label counts as present, in the
            order of the labels; None: 0.5.
        calibration: how sure predictions are, found on validation: a dict with the `level` (share of clips whose truth
            the interval or set contains), `clips` (how many it was found on), and the `radius` of intervals of scores,
            or the `threshold` of sets of classes and the `temperature` of their probabilities; None: unknown.
        intended_use: what the model is meant for, in its author's words, e.g. "research on dialogues of actors"; shown
            on the model card, by the server and by `semanticmac info`. A new task drops it. None: not stated.

    Raises:
        ValueError: an unknown field (with the nearest known name), or values that do not fit together.
    """

    # Fields that came later, with the values that describe a checkpoint whose config.json lacks them.
    fields_before = {}  # type: ignore[var-annotated]  # an annotation would make it a field
    sub_configs_defaults = {"text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}

    text_config: PreTrainedConfig | dict | None = None
    text_dtype: str | None = None
    language_model_reference: dict | None = None
    text_tokens: str = "all"
    vision_encoder: dict | None = None
    audio_encoder: dict | None = None
    vision_features: dict | None = None
    audio_features: dict | None = None
    text_features: dict | None = None
    trained_modalities: list | tuple | None = None
    vision_width: int = 1024
    audio_width: int = 1024
    num_crops: int = 1

    task_name: str = "sentiment"
    label_range: list | tuple | None = None
    metrics: str | None = None
    scale_scores: bool | None = None
    label_thresholds: list | tuple | None = None
    calibration: dict | None = None
    intended_use: str | None = None

    def __post_init__(self, **kwargs):
        if __package__ == "modeling_semanticmac":
            # transformers asks to trust a checkpoint that names a pipeline, even where the package registers it.
            kwargs.pop("custom_pipelines", None)
        known = {field.name for field in fields(self)} | _LIBRARY_KEYS
        for name in kwargs:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known - _LIBRARY_KEYS), n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{type(self).__name__} has no field {name!r}.{hint} Its docstring documents the fields."
                )
        if self.problem_type is None:
            several = len(self.id2label or ()) > 1 or (kwargs.get("num_labels") or 1) > 1
            self.problem_type = "single_label_classification" if several else "regression"
        if self.problem_type == "regression":
            self.id2label = self.id2label or {0: self.task_name}
            self.label_range = list(self.label_range or (-3.0, 3.0))
        super().__post_init__(**kwargs)
        self.label2id = {name: index for index, name in self._label_names().items()}
        self._check()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs):
        """Build a configuration from its dict; keyword arguments replace fields. One that an earlier version saved
        keeps the meaning that it had (`fields_before`).

        A new task (`**task.config_fields()`, or `num_labels` as for every model of transformers) replaces the saved one
        as a whole: label names, range, metrics and thresholds of another task are not kept.
        """
        if "transformers_version" in config_dict:  # it was written by `save_pretrained`
            config_dict = {**cls.fields_before, **config_dict}
        changes = {name: kwargs.pop(name) for name in _TASK_FIELDS if name in kwargs}
        if changes:
            config_dict = {**cls._without_old_task(config_dict, changes), **changes}
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def _without_old_task(cls, config_dict: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """Return a saved configuration without those fields of its task that a new task leaves no meaning."""
        old = super().from_dict(dict(config_dict))
        dropped: set[str] = set()
        names = {int(index): name for index, name in (changes.get("id2label") or old._label_names()).items()}
        num_labels = len(names) if changes.get("id2label") else changes.get("num_labels") or old.num_labels
        if names != old._label_names() or num_labels != old.num_labels:
            dropped = {"id2label", "label2id", "label_thresholds", "calibration"}
        if "problem_type" not in changes and (num_labels == 1) != (old.num_labels == 1):
            dropped |= {"problem_type", "label_range", "metrics", "scale_scores", "calibration"}
        if changes.get("label_range") and list(changes["label_range"]) != old.label_range:
            dropped |= {"metrics", "scale_scores", "calibration"}
        if changes.get("problem_type", old.problem_type) != old.problem_type:
            dropped |= {"label_range", "metrics", "scale_scores", "label_thresholds", "calibration"}
        if dropped or changes.get("task_name", old.task_name) != old.task_name:
            dropped.add("intended_use")
        return {name: value for name, value in config_dict.items() if name not in dropped}

    def _check(self):
        """Raise ValueError for values that cannot work together.

        Not the library's `validate_architecture` hook, which wraps messages into an error that is not a ValueError.
        """
        for name in ("vision_width", "audio_width", "num_crops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}.")
        for modality in MEDIA_MODALITIES:
            if getattr(self, f"{modality}_encoder") is not None and getattr(self, f"{modality}_features") is not None:
                raise ValueError(
                    f"the configuration names both {modality}_encoder and {modality}_features; a model reads one of "
                    "them."
                )
        if self.trained_modalities is not None:
            if not self.trained_modalities or not set(self.trained_modalities) <= set(MODALITIES):
                raise ValueError(
                    f"trained_modalities is {self.trained_modalities}; expected some of {', '.join(MODALITIES)}, or "
                    "None."
                )
            self.trained_modalities = [name for name in MODALITIES if name in self.trained_modalities]
        if self.text_features is not None and self.reads_words:
            raise ValueError(
                "the configuration names text_features and a language model; with text_features its text_config has "
                f"the model_type {TEXT_VECTORS!r}."
            )
        if self.label_thresholds is not None and (
            not self.task.is_multi_label
            or len(self.label_thresholds) != self.task.num_labels
            or not all(0 <= threshold < 1 for threshold in self.label_thresholds)
        ):
            raise ValueError(
                f"label_thresholds is {self.label_thresholds}; expected one number in [0, 1) for each label of a task "
                "of several labels, or None."
            )
        self._check_calibration()
        if self.intended_use is not None:
            self.intended_use = " ".join(self.intended_use.split())
            if not 0 < len(self.intended_use) <= LONGEST_USE:
                raise ValueError(
                    f"intended_use has {len(self.intended_use)} characters; expected a sentence or two, up to "
                    f"{LONGEST_USE}, or None."
                )
        if self.text_tokens not in ("all", "utterance"):
            raise ValueError(f"text_tokens is {self.text_tokens!r}; expected all or utterance.")
        if self.text_dtype not in (None, *DTYPES):
            raise ValueError(f"text_dtype is {self.text_dtype!r}; expected None or one of {', '.join(DTYPES)}.")
        task = self.task  # a task that contradicts itself raises here
        self.metrics, self.scale_scores = task.metrics, task.scale_scores

    def _check_calibration(self):
        """Raise ValueError for a calibration that does not fit the task."""
        if self.calibration is None:
            return
        expected = {"level", "clips", *(("radius",) if self.task.is_regression else ("threshold", "temperature"))}
        found = self.calibration
        if (
            self.task.is_multi_label
            or found.keys() != expected
            or not (0 < found["level"] < 1 and all(0 <= value < float("inf") for value in found.values()))
        ):
            wanted = "None" if self.task.is_multi_label else f"{', '.join(sorted(expected))}, finite numbers"
            raise ValueError(f"calibration is {found}; a task {self.task.problem_type} expects {wanted}.")

    @property
    def feature_notes(self) -> dict[str, str]:
        """Why words and media give nothing for a modality that the model was trained on feature files for, by
        modality.
        """
        notes = {} if self.reads_words else {"text": "this model reads vectors of text, which words do not give"}
        for modality in MODALITIES:
            found = getattr(self, f"{modality}_features")
            if found is not None:
                source = "words" if modality == "text" else "media"
                notes[modality] = (
                    f"this model was trained on {modality} features of {found['file']}, which {source} do not give"
                )
        return notes

    @property
    def unread_notes(self) -> dict[str, str]:
        """Why the model makes nothing of a modality of a clip, by modality: `feature_notes`, and those that it was
        trained without.
        """
        trained = MODALITIES if self.trained_modalities is None else self.trained_modalities
        without = {name: f"this model was trained without {name}" for name in MODALITIES if name not in trained}
        return {**without, **self.feature_notes}

    @property
    def text_width(self) -> int:
        """The width of the language model's hidden states, or of the vectors of text in its place."""
        return self.get_text_config().hidden_size

    @property
    def reads_words(self) -> bool:
        """Whether a language model reads words, not vectors of text that a feature file gives."""
        return self.get_text_config().model_type != TEXT_VECTORS

    @property
    def num_frames(self) -> int:
        """Refuse the library's pipeline "video-classification", which asks for this number and would only see it.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            "This model reads text and sound too, and samples frames by their time, so the pipeline "
            '"video-classification" cannot run it; use pipeline("video-affect", model=...), with the package '
            "imported or "
            "trust_remote_code=True."
        )

    @property
    def task(self) -> TaskSpecification:
        """The task that the configuration states."""
        names, limits = self._label_names(), tuple(self.label_range or ())
        return TaskSpecification(
            self.task_name,
            str(self.problem_type),
            tuple(names[index] for index in range(len(names))),
            limits or None,  # type: ignore[arg-type]  # TaskSpecification checks that there are two
            self.metrics,
            self.scale_scores,
        )

    def _label_names(self) -> dict[int, str]:
        """Return the label names by their ids, which JSON turns into text."""
        return {int(index): name for index, name in (self.id2label or {}).items()}


@strict
class SemanticMACConfig(AffectConfig):
    r"""Configuration of [`SemanticMACModel`] and its heads.

    Sizes that the paper does not state are our reading (docs/method.md).

    Args:
        hidden_size: width d of every representation after the towers and the language model.
        num_attention_heads: heads h; d must be a multiple of it.
        num_latents: learnable tokens N of each Affective Perceiver, eq. (4).
        num_perceiver_layers: layers L_ap of each Affective Perceiver.
        num_interaction_layers: layers L_g of each stack of gated bridge attention, eq. (9).
        num_bridge_tokens: bridge tokens n_b, eq. (7).
        max_frames: rows of each frame embedding table, eq. (3); later time steps share the last row.
        use_frame_embeddings, perceiver_norm ("pre" | "none"), perceiver_residual: ablations of eq. (3)-(4).
        use_modality_embeddings, multi_query, use_bridge_tokens, gate ("reglu" | "relu" | "none"): ablations of
            eq. (5)-(9).
        text_summary ("mean" | "first" | "last"): which vector of the text's tokens is its linear view with
            `linear_start`: "last" suits decoders, whose last token alone has seen the whole text.
        text_summary_norm: normalise this vector and give it a projection of its own, see `TextSummary`. Checkpoints
            from before this field have False: theirs is the projected token as it is.
        dropout: probability in attention weights, feed-forward layers, predictors and the linear view of a stream.
        input_scaling ("standardize" | "unit" | "none"): scale of tower embeddings, see `InputScaling`. Checkpoints from
            before this field have "unit".
        linear_start: begin as a linear map of pooled embeddings, see `SemanticInteraction`; the branches that follow
            start at zero. Checkpoints from before this field have False.
        initializer_range: standard deviation of new weights, latents, frame and modality embeddings.
        others: language model, towers and task, as in [`AffectConfig`].

    Raises:
        ValueError: an unknown field (with the nearest known name), or values that do not fit together.
    """

    model_type = "semanticmac"
    fields_before = {"input_scaling": "unit", "linear_start": False, "text_summary_norm": False}
    keys_to_ignore_at_inference = [
        "multimodal_embeds", "specific_embeds", "shared_embeds", "modality_mask", "hidden_states", "attentions",
    ]  # fmt: skip

    hidden_size: int = 256
    num_attention_heads: int = 8
    num_latents: int = 16
    num_perceiver_layers: int = 2
    num_interaction_layers: int = 2
    num_bridge_tokens: int = 8
    max_frames: int = 256
    use_frame_embeddings: bool = True
    perceiver_norm: str = "pre"
    perceiver_residual: bool = True
    use_modality_embeddings: bool = True
    multi_query: bool = True
    use_bridge_tokens: bool = True
    gate: str = "reglu"
    text_summary: str = "mean"
    text_summary_norm: bool = True
    dropout: float | int = 0.1
    input_scaling: str = "standardize"
    linear_start: bool = True
    initializer_range: float | int = 0.02

    def _check(self):
        super()._check()
        heads = self.num_attention_heads
        if self.hidden_size % max(heads, 1):
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {heads}; "
                f"choose for example hidden_size={heads * max(1, self.hidden_size // heads)}."
            )
        sizes = (
            "hidden_size num_attention_heads num_latents num_perceiver_layers num_interaction_layers num_bridge_tokens "
            "max_frames"
        )
        for name in sizes.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}.")
        choices = {
            "perceiver_norm": ("pre", "none"), "gate": ("reglu", "relu", "none"), "input_scaling": INPUT_SCALINGS,
            "text_summary": ("mean", "first", "last"),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability in [0, 1), found {self.dropout}.")


__all__ = [
    "AffectConfig",
    "DTYPES",
    "HEAD_NAMES",
    "MEDIA_MODALITIES",
    "MODALITIES",
    "SEMANTICMAC",
    "SPOKEN",
    "SUBTASKS",
    "SUBTASK_NAMES",
    "VIEWS",
    "SemanticMACConfig",
    "TaskSpecification",
    "metric_family",
    "score_polarity",
]
