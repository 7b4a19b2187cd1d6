"""The groups of arguments of a run: model, data, search."""

import json
import math
from dataclasses import dataclass, field, fields

import torch

from ..baselines.model_classes import SEMANTICMAC, classes_of
from ..configuration_semanticmac import DTYPES, MEDIA_MODALITIES, MODALITIES, AffectConfig, SemanticMACConfig
from ..feature_files.normalization import NORMALIZE
from ..feature_files.sources import named_stream
from ..files.secrets import hide_secrets
from ..language_model_adapter import AdapterOptions
from ..text_encoding import TextFormat

# Arguments that say how texts become tokens, fields of the processor.
TEXT_FIELDS = ("use_speakers", "context_utterances", "text_tokens", "text_prefix", "chat_instruction")

TEXTS = ("raw", "bert_ids", "features")  # where the text of a clip comes from


def _option(help_text: str, default=None):
    return field(default=default, metadata={"help": help_text})


def _mapping(name: str, text: str | None, example: str) -> dict:
    """Return the mapping that an argument gives as JSON; empty where it is not given."""
    found = json.loads(text) if text else {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} is {hide_secrets(text)!r}; expected a JSON mapping such as {example}.")
    return found


@dataclass
class ModelArguments:
    """Which model: a checkpoint to start from, or a language model and two towers to build a new one on.

    Fields of `SemanticMACConfig` override the configuration's defaults; sampling fields go to the processor.
    """

    model_name_or_path: str | None = _option("A SemanticMAC checkpoint to continue from, evaluate or predict with.")
    language_model: str | None = _option("A pretrained text encoder (name or folder) to build a new model on.")
    language_model_revision: str | None = _option("Revision of the language model on the Hub.")
    language_model_dtype: str | None = _option("dtype of a frozen language model (with --lora_r): float32, bfloat16.")
    language_model_quantization: str | None = _option("nf4 or int8: how a frozen language model is kept (--lora_r).")
    language_model_attention: str | None = _option("bidirectional or causal, for decoders (default: as trained).")
    lora_r: int | None = _option("Rank of a low-rank adapter of the language model, which is then frozen.")
    lora_alpha: int | None = _option("Scale of the adapter (default: twice the rank).")
    lora_dropout: float | None = _option("Dropout before the adapter (default 0.05).")
    lora_targets: list[str] | None = _option("Linear layers that get an adapter (default: all-linear).")
    use_speakers: bool | None = _option("Write the speaker before each utterance, `Name: utterance` (default: no).")
    context_utterances: int | None = _option("Earlier utterances that are used, the latest ones (default: all).")
    text_tokens: str | None = _option(
        "Tokens that are read after the language model: all (default), or utterance, which leaves out the context's."
    )
    text_prefix: str | None = _option(
        'Instruction before each text, e.g. "query: " for E5 (how_to/language_models.md).'
    )
    chat_instruction: str | None = _option(
        "System turn of the chat template, with which texts are then written, for instruction-tuned models."
    )
    text_summary: str | None = _option("Linear view of the text: mean (default), first or last token.")
    text_summary_norm: bool | None = _option("Normalise the linear view of the text and project it by itself.")
    vision_encoder: str | None = _option("The frozen vision tower (name or folder).")
    vision_encoder_revision: str | None = _option("Revision of the vision tower on the Hub.")
    audio_encoder: str | None = _option("The frozen audio tower (name or folder).")
    audio_encoder_revision: str | None = _option("Revision of the audio tower on the Hub.")
    trainable_encoders: list[str] | None = _option(
        "Towers, vision audio, that are trained end to end by low-rank adapters (--encoder_lora_r)."
    )
    encoder_lora_r: int | None = _option("Rank of the adapters of towers (default 8).")
    encoder_lora_alpha: int | None = _option("Scale of these adapters (default: twice the rank).")
    encoder_lora_dropout: float | None = _option("Dropout before these adapters (default 0.05).")
    audio_layers: str | None = _option(
        "Hidden layers of the audio tower whose mean is used: last (default), last4, 6-12 or all."
    )
    architecture: str | None = _option(
        "semanticmac, or a comparison system, e.g. mult (default: semanticmac, or that of --model_name_or_path)."
    )
    architecture_options: str | None = _option(
        'Options of the comparison system as JSON, e.g. {"hidden_size": 64}; in a YAML file a mapping.'
    )
    include_encoders: bool | None = _option(
        "Write the towers into the saved model. Default: only where they come from a folder, which nobody else can "
        "load."
    )

    intended_use: str | None = _option("What the model is meant for, for its card and the server (a sentence or two).")

    hidden_size: int | None = _option("Width d.")
    num_attention_heads: int | None = _option("Heads h.")
    num_latents: int | None = _option("Latent tokens N of each Affective Perceiver.")
    num_perceiver_layers: int | None = _option("Layers of each Affective Perceiver.")
    num_interaction_layers: int | None = _option("Layers of each interaction stack.")
    num_bridge_tokens: int | None = _option("Bridge tokens n_b.")
    max_frames: int | None = _option("Rows of the frame embedding tables.")
    use_frame_embeddings: bool | None = _option("Frame embeddings, eq. (3).")
    perceiver_norm: str | None = _option("pre or none.")
    perceiver_residual: bool | None = _option("Residual connections in the perceiver.")
    use_modality_embeddings: bool | None = _option("Modality embeddings, eq. (5).")
    multi_query: bool | None = _option("One key and value head for all query heads, eq. (6).")
    use_bridge_tokens: bool | None = _option("Bridge tokens, eq. (7)-(8).")
    gate: str | None = _option("reglu, relu or none, eq. (9).")
    dropout: float | None = _option("Dropout of the new modules.")
    input_scaling: str | None = _option("Scale of tower embeddings: standardize, unit or none.")
    linear_start: bool | None = _option("Begin as a linear map of pooled embeddings.")
    initializer_range: float | None = _option("Standard deviation of new weights.")

    frames_per_second: float | None = _option("Frames and audio windows a second (default 2).")
    num_frames: int | None = _option("A fixed number of frames and windows a clip, instead of frames_per_second.")
    vision_window: str | None = _option("image (one still a token) or clip (two frames of one second).")
    audio_window: float | None = _option("Length of an audio window in seconds (default 2.0).")
    audio_stream: int | None = _option("Sound track of the files, 0 is the first (default: FFmpeg's choice).")
    num_crops: int | None = _option("1 (centre) or 3 (left, centre, right) crops a frame.")
    vision_crop: str | None = _option("none (default), face, or frame_and_face: two tokens a time step.")
    face_choice: str | None = _option("Of several faces the largest (default), or the speaking one.")
    face_detector: str | None = _option("ONNX file of YuNet, or its repository (default: OpenCV's on the Hub).")
    face_detector_revision: str | None = _option("Revision of the face detector on the Hub.")

    def __post_init__(self):
        form = {name.removeprefix("text_"): getattr(self, name) for name in TEXT_FIELDS}
        TextFormat(**{name: value for name, value in form.items() if value is not None})  # refuses wrong values
        if self.architecture is not None:
            classes_of(self.architecture)  # refuses an unknown one
        self.system_options = _mapping("architecture_options", self.architecture_options, '{"hidden_size": 64}')
        if not self.builds_semanticmac:
            shared = {f.name for f in fields(AffectConfig)}
            given = ", ".join(f"--{name}" for name in self.config_fields() if name not in shared)
            if given:
                raise ValueError(
                    f"{given}: an argument of SemanticMAC, which {self.architecture} does not have. Give the options "
                    "of the system in --architecture_options."
                )
        elif self.system_options and self.model_name_or_path is None:
            raise ValueError(
                "--architecture_options are for a comparison system; name it with --architecture, or leave them out."
            )

    @property
    def builds_semanticmac(self) -> bool:
        """Whether the arguments ask for SemanticMAC, by name or because they name nothing else."""
        return self.architecture in (None, SEMANTICMAC)

    def language_model_options(self) -> dict:
        """Return the arguments of `from_language_model` that say how the language model is kept and trained.

        Raises:
            ValueError: options of an adapter without a rank, or values that cannot be right.
        """
        given = {name: getattr(self, f"lora_{name}") for name in ("alpha", "dropout", "targets")}
        given = {name: value for name, value in given.items() if value is not None}
        needs = [f"lora_{name}" for name in given]
        needs += [f for f in ("language_model_dtype", "language_model_quantization") if getattr(self, f) is not None]
        if self.lora_r is None and needs:
            raise ValueError(f"--{needs[0]} belongs to a language model with an adapter; add --lora_r, e.g. 16.")
        options: dict = {"attention": self.language_model_attention}
        if self.lora_r is None:
            return options
        if "targets" in given:
            targets = given["targets"]
            given["targets"] = "all-linear" if targets == ["all-linear"] else tuple(targets)
        if self.language_model_dtype is not None and self.language_model_dtype not in DTYPES:
            raise ValueError(f"language_model_dtype is {self.language_model_dtype!r}; expected {' or '.join(DTYPES)}.")
        dtype = getattr(torch, self.language_model_dtype or "float32")
        options |= {"adapter": AdapterOptions(self.lora_r, **given), "dtype": dtype}
        return options | {"quantization": self.language_model_quantization}

    def encoder_adapter(self) -> AdapterOptions | None:
        """Return the adapters of the towers that are trained; None where all are frozen.

        Raises:
            ValueError: a tower that is not one, or options of adapters without a tower.
        """
        given = {name: getattr(self, f"encoder_lora_{name}") for name in ("r", "alpha", "dropout")}
        given = {name: value for name, value in given.items() if value is not None}
        unknown = sorted(set(self.trainable_encoders or ()) - set(MEDIA_MODALITIES))
        if unknown:
            raise ValueError(f"trainable_encoders has {unknown[0]!r}; expected some of {', '.join(MEDIA_MODALITIES)}.")
        if given and not self.trainable_encoders:
            raise ValueError(f"--encoder_lora_{next(iter(given))} has no effect without --trainable_encoders.")
        return AdapterOptions(**{"r": 8, **given}) if self.trainable_encoders else None

    @classmethod
    def config_names(cls) -> set[str]:
        """Return the names of the arguments that are fields of `SemanticMACConfig`."""
        names = {f.name for f in fields(SemanticMACConfig)} & {f.name for f in fields(cls)}
        # Towers are references, made from the names when they are loaded; the intended use of a saved model may change.
        return names - {"vision_encoder", "audio_encoder", "intended_use"}

    def config_fields(self) -> dict:
        """Return the given fields of `SemanticMACConfig`."""
        return {name: getattr(self, name) for name in sorted(self.config_names()) if getattr(self, name) is not None}

    def sampling_fields(self) -> dict:
        """Return the given fields of the processor: how clips are sampled and texts written."""
        names = (
            "frames_per_second", "num_frames", "vision_window", "audio_window", "audio_stream", "vision_crop",
            "face_choice", *TEXT_FIELDS,
        )  # fmt: skip
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass
class DataArguments:
    """Which clips, what of them is used, and how the output folder is treated."""

    corpus: str | None = _option("Name of the corpus, e.g. mosi, meld, mustard, synthetic.")
    data_dir: str | None = _option("Folder of the corpus as its authors released it.")
    task: str | None = _option("Task of the corpus where it has several, e.g. sentiment, emotion.")
    corpus_options: str | None = _option('Options of the corpus as JSON, e.g. {"fold": 0}; in a YAML file a mapping.')
    modalities: list[str] = field(
        default_factory=lambda: list(MODALITIES), metadata={"help": "Modalities to use: text audio vision."}
    )
    features: list[str] | None = _option(
        "Files of precomputed features in place of towers: FILE, audio=FILE, vision=FILE or text=FILE (docs/how_to)."
    )
    normalize: str = _option(
        "Features: train (standard scores by the training split), all (of encoders' values too) or none.",
        "train",
    )
    text: str = _option(
        "raw (the words through the tokenizer), bert_ids (the token ids of a feature file as they are), or features "
        "(vectors of a feature file, without a language model).",
        "raw",
    )
    use_context: bool = _option("Put the earlier utterances of the dialogue before the text.", True)
    max_length: int = _option("Longest text in tokens, context included.", 128)
    embeddings_dir: str | None = _option("Folder of the embedding store (default: <output_dir>/embeddings).")
    extraction_workers: int | None = _option("Processes that decode media (default: by the number of cores).")
    extraction_batch_size: int = _option("Frames or audio windows that a tower encodes at once.", 32)
    media: str = _option(
        "required, or optional: the same as --on_error mask, for corpora whose media are absent.", "required"
    )
    on_error: str = _option("Clips whose media cannot be used: raise, mask (their text alone) or skip.", "raise")
    max_seconds: float | None = _option("Longer clips are not encoded.")
    seeds: list[int] | None = _option(
        "Run each of these seeds in a folder of its own, skip those that are finished, and report mean and deviation."
    )
    train_on_validation: bool = _option(
        "Train on train and validation together, for all epochs. Nothing is evaluated on validation or chosen by it: "
        "for a last training whose settings and epochs are fixed.",
        False,
    )
    max_train_samples: int | None = _option("Use only the first clips of the training set (for debugging).")
    max_eval_samples: int | None = _option("Use only the first clips of validation (for debugging).")
    max_predict_samples: int | None = _option("Use only the first clips of test (for debugging).")
    overwrite_output_dir: bool = _option("Replace the run that the output folder holds.", False)
    allow_changed_settings: bool = _option(
        "Resume a checkpoint that other settings, clips or weights made; the record and the report say so.", False
    )

    def __post_init__(self):
        for name in (
            "max_train_samples",
            "max_eval_samples",
            "max_predict_samples",
            "max_length",
            "extraction_batch_size",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more.")
        if self.extraction_workers is not None and self.extraction_workers < 0:
            raise ValueError(f"extraction_workers is {self.extraction_workers}; expected 0 or more.")
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise ValueError(f"max_seconds is {self.max_seconds}; expected more than 0.")
        unknown = sorted(set(self.modalities) - set(MODALITIES))
        if unknown or not self.modalities:
            raise ValueError(f"modalities is {self.modalities}; expected one or more of {', '.join(MODALITIES)}.")
        if self.normalize not in NORMALIZE:
            raise ValueError(f"normalize is {self.normalize!r}; expected {', '.join(NORMALIZE)}.")
        if self.text not in TEXTS:
            raise ValueError(f"text is {self.text!r}; expected {', '.join(TEXTS)}.")
        if self.text == "features" and not (self.features and "text" in self.modalities):
            raise ValueError(
                "--text features takes vectors of text from feature files: give --features FILE, with text among "
                "--modalities."
            )
        if self.media not in ("required", "optional"):
            raise ValueError(f"media is {self.media!r}; expected required or optional.")
        if self.media == "optional" and self.on_error == "raise":
            self.on_error = "mask"
        self.options = _mapping("corpus_options", self.corpus_options, '{"fold": 0}')
        if self.features and self.data_dir is None:
            self._use_as_corpus(self.features[0])

    def _use_as_corpus(self, file: str) -> None:
        """Take clips, texts, labels and splits from a feature file; a corpus that is named gives the task."""
        if self.corpus not in (None, "features"):
            self.options = {"like": self.corpus, **self.options}
            self.corpus_options = json.dumps(self.options)
        self.corpus, self.data_dir = "features", str(named_stream(file)[1])


@dataclass
class SearchArguments:
    """A hyperparameter search in the place of one run (docs/search.md)."""

    do_search: bool = _option("Search hyperparameters, scored on validation, in the place of one run.", False)
    search_space: str | None = _option("A search space of the package (default: paper), or a YAML file.")
    search_trials: int = _option("Finished trials to reach, earlier ones of the same search included.", 50)
    search_sampler: str = _option("random or tpe.", "random")
    search_pruner: str = _option("none or median (stop a trial that is worse than the median of the others).", "none")
    search_storage: str | None = _option(
        "Database of the trials, e.g. postgresql://... (default: OUTPUT_DIR/search.db)."
    )
    search_heartbeat: int = _option(
        "Seconds between signs of life of a trial; one that is silent for twice as long was killed and is run again.",
        60,
    )
    search_backend: str = _option("optuna or ray.", "optuna")

    def __post_init__(self):
        choices = {"sampler": ("random", "tpe"), "pruner": ("none", "median"), "backend": ("optuna", "ray")}
        for name, known in choices.items():
            value = getattr(self, f"search_{name}")
            if value not in known:
                raise ValueError(f"search_{name} is {value!r}; expected {' or '.join(known)}.")
        for name in ("search_trials", "search_heartbeat"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more.")


__all__ = ["DataArguments", "ModelArguments", "SearchArguments"]
