"""`pipeline("video-affect", model=...)`: predicts what videos of speaking people express, as a whole and by modality.

Legend: B clips of a batch, T frames or sound windows, C outputs.
"""

import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from .affect_results import abstained, affect_result
from .clip_input import media_files, source_name, table_rows
from .clip_reading import read_clip
from .configuration_semanticmac import MODALITIES, SUBTASK_NAMES
from .encoder_outputs import join_inputs
from .neighbor_bank import NeighborBank
from .processing_semanticmac import pad_streams
from .text_encoding import is_missing

TASK = "video-affect"
MEDIA_INPUTS = (("pixel_values", "vision"), ("input_features", "audio"))  # raw inputs of the model -> modality
ON_ERROR = ("raise", "skip")
HEADS = {"semanticmac": "predictors", "affect_fusion": "fusion"}  # model_type -> the attribute that predicts
# Arguments by the step that takes them.
READING = ("modalities", "allow_download", "max_seconds", "audio_stream")
RESULTS = ("on_error", "timings", "abstain", "neighbors")
KEPT = ("logits", "modality_mask", "specific_embeds")  # outputs of the model that results are made of
# How a checkpoint's config.json names the pipeline, for `trust_remote_code=True`.
CUSTOM_PIPELINES = {
    TASK: {
        "impl": "pipeline_semanticmac.SemanticMACPipeline",
        "pt": ["AutoModelForVideoClassification"],
        "type": "multimodal",
    }
}


class SemanticMACPipeline(Pipeline):
    """Pipeline that predicts sentiment, emotion, humour or sarcasm of clips.

        pipe = pipeline("video-affect", model="org/semanticmac-mosei")
        pipe({"video": "clip.mp4", "text": "I did not expect that."})

    These arguments can also be given to `pipeline(...)`, for every call:

    Args:
        batch_size: clips that go through the model together (default 1); results do not depend on it.
        num_workers: processes that decode (default 0: this one).
        on_error: "raise", or "skip", which returns {"error": a sentence, "media": its name} for a clip that cannot be
            used.
        modalities: those of "text", "audio" and "vision" to use where a clip has them (default all).
        allow_download: let addresses be downloaded, into memory.
        max_seconds: longer clips are an error (default 600), as all frames of a clip are in memory; None: any length.
        audio_stream: number of the sound track of files, counted from 0, where a clip names none (default: the
            processor's).
        timings: add to each result what its stages took.
        abstain: leave out the decision (`polarity` or `label` is None, `abstained` True) where the interval or the
            label set of a calibrated model allows more than one.
        neighbors: name so many training clips that are nearest in each modality (default 0); of a model trained with
            `keep_bank`.
        dtype: of `pipeline(...)`: below float32 the towers run in autocast.
    """

    model: Any
    processor: Any
    _load_processor: Any = True
    _load_tokenizer: Any = False
    _load_feature_extractor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        kind = self.model.config.model_type
        if not hasattr(self.model, HEADS.get(kind, "")):
            raise ValueError(
                f"the model is a {type(self.model).__name__} ({kind}); {TASK} needs a SemanticMAC model with its "
                "predictors, or a comparison system."
            )
        self.model.eval()  # a model fresh from training would predict with dropout

    def __call__(self, inputs, **kwargs):
        """Predict one clip, or several.

        Args:
            inputs: one clip: a media value, or a dict with any of `video` (picture and sound are used), `audio` (sound
                in place of the video's), `text`, `context` (earlier utterances, oldest first), `speaker` and
                `context_speakers` (names, for models that read them), `start` and `end` (seconds, of both), `crop`
                ("left" or "right" half of the picture), `audio_stream` (number of the sound track, 0 for the first).
                Several clips: a list, a generator or a torch dataset of these; a `datasets.Dataset` or
                `pandas.DataFrame` with such columns (others are ignored); or a folder, for all video and sound files in
                it. A media value is a path; an address, with `allow_download=True`; bytes; an open file; an open
                `Media`, whose clips are decoded in one pass; what the `Video` and `Audio` features of `datasets`
                return, decoded or not; {"array", "sampling_rate"} for sound; or {"frames", "fps"} for pictures.
            kwargs: any of the arguments of the class but dtype.

        Returns:
            A dict for one clip, a list for a list or a folder, an iterator for a generator, a dataset or a table. A
            result is of plain JSON types: `task`; the fields of `affect_result`; `subtasks`, the same for "shared" and
            for each of "text", "audio", "vision" that was there, as far as the model predicts them; `modalities`, those
            used; `media`: `path`, `start`, `end`, `duration` (seconds), `missing` (reasons by modality), `notes`, and
            `audio`, the path of a separate sound file; None without media; and `notes`, where there is something to say
            about the words, such as a speaker that was not given. With `neighbors` also `neighbors`: for each modality
            used, `id`, `label` and `distance` of training clips, nearest first. With `timings=True` also `timings`:
            seconds of "decode" (the clip's own), "encode" (towers; the first time with loading them) and "model", these
            two an equal share of its batch's.

        Raises:
            MediaError: a file that cannot be used.
            ValueError: an input that cannot be understood, or that has nothing that the model reads; `neighbors` of a
                model without a bank.
        """
        if isinstance(inputs, str | os.PathLike) and os.path.isdir(inputs):
            inputs = media_files(inputs)
        rows = table_rows(inputs)
        inputs = inputs if rows is None else rows
        if isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes | bytearray | memoryview):
            inputs = list(inputs)
        if isinstance(inputs, list) and not inputs:
            return []
        return super().__call__(inputs, **kwargs)

    def load_encoders(self, modalities: Sequence[str] = MODALITIES) -> None:
        """Load the frozen towers of these modalities now instead of with the first clip that has media."""
        for modality in set(self.readable) & set(modalities):
            self.model.base_model.get_encoder(modality).to(self.device)

    @property
    def readable(self) -> tuple[str, ...]:
        """The modalities, of "vision" and "audio", for which the model has or names a tower."""
        base = self.model.base_model
        named = {modality: getattr(base.config, f"{modality}_encoder") is not None for _, modality in MEDIA_INPUTS}
        return tuple(modality for modality in named if named[modality] or modality in base._encoders)

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities of a clip that the model makes something of."""
        return (*(() if "text" in self.model.config.unread_notes else ("text",)), *self.readable)

    @cached_property
    def neighbor_bank(self) -> NeighborBank:
        """The training clips among which `neighbors` are found.

        Raises:
            ValueError: the model has none; the message says what to do.
        """
        return NeighborBank.of_model(self.model)

    @property
    def has_neighbors(self) -> bool:
        """Whether the model can name nearest training clips."""
        try:
            return bool(self.neighbor_bank.ids)
        except ValueError:
            return False

    def save_pretrained(self, save_directory: str | os.PathLike, include_encoders: bool | None = None, **kwargs):
        """Write the model, with the code and the name of this pipeline, and the processor.

        Args:
            include_encoders: also write the frozen towers; None: if they are in a folder of this machine, so that the
                saved model works on another machine.
        """
        if include_encoders is None:
            include_encoders = self.model.refers_to_folders or None
        self.model.save_pretrained(save_directory, include_encoders=include_encoders, **kwargs)
        self.processor.save_pretrained(save_directory, **kwargs)

    def _sanitize_parameters(self, **parameters):
        unknown = sorted(set(parameters) - {*READING, *RESULTS})
        if unknown:
            raise TypeError(f"the pipeline has no argument {unknown[0]!r}; it has {', '.join((*READING, *RESULTS))}.")
        unknown = sorted(set(parameters.get("modalities", ())) - set(MODALITIES))
        if unknown:
            raise ValueError(f"modalities has {unknown[0]!r}; expected some of {', '.join(MODALITIES)}.")
        if parameters.get("on_error", "raise") not in ON_ERROR:
            raise ValueError(f'on_error is {parameters["on_error"]!r}; expected "raise" or "skip".')
        neighbors = parameters.get("neighbors", 0)
        if not isinstance(neighbors, int) or neighbors < 0:
            raise ValueError(f"neighbors is {neighbors!r}; expected a number of training clips, 0 for none.")
        if neighbors:
            self.neighbor_bank  # noqa: B018  (a model without one is refused before any clip is read)
        reading, results = (
            {name: parameters[name] for name in names if name in parameters} for names in (READING, RESULTS)
        )
        return reading, {}, results

    def run_single(self, inputs, preprocess_params, forward_params, postprocess_params):
        return next(self.get_iterator([inputs], 0, 1, preprocess_params, forward_params, postprocess_params))

    def get_iterator(
        self, inputs, num_workers: int, batch_size: int, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[dict]:
        """Yield results in the order of the inputs, computed in batches.

        The library's own batches support neither clips that lack a modality nor errors in place of results.
        """
        sized = isinstance(inputs, Sized)
        read = (PipelineDataset if sized else PipelineIterator)(inputs, self.preprocess, preprocess_params)
        workers = num_workers if sized else min(num_workers, 1)
        for clips in DataLoader(read, batch_size, num_workers=workers, collate_fn=list):
            yield from self._predict(clips, **postprocess_params)

    # The library's stages pass on one input; here they pass on clips, and batches of them.
    def preprocess(self, given, audio_stream: int | None = None, **parameters) -> dict:  # type: ignore[override]
        """Return one clip as `read_clip` does, with the `seconds` that took, or its `error`.

        An error that is raised in a worker process would lose its type.
        """
        start, processor = time.perf_counter(), self.processor
        if audio_stream is not None:
            processor = copy.copy(processor)
            processor.audio_stream = audio_stream
        try:
            notes = self.model.config.unread_notes
            clip = read_clip(given, processor, self.reads, why_unread=notes, **parameters)
        except Exception as error:
            return {"error": error, "name": source_name(given)}
        return {**clip, "seconds": time.perf_counter() - start}

    def _predict(self, clips: list[dict], on_error: str = "raise", **options) -> Iterator[dict]:
        """Yield the results of B clips that `preprocess` returned, in order."""
        failed = [clip["error"] for clip in clips if "error" in clip]
        if failed and on_error == "raise":
            raise failed[0]
        usable = [clip for clip in clips if "error" not in clip]
        results = iter(self.postprocess(self.forward(self._collate(usable)), **options) if usable else ())
        for clip in clips:
            yield _error_result(clip) if "error" in clip else next(results)

    def _collate(self, clips: list[dict]) -> dict:
        """Tokenise the text of all clips; streams are padded only after the towers have made them small."""
        texts, tokens = [clip["text"] for clip in clips], {}
        if not all(map(is_missing, texts)):
            context, *names = ([clip[name] for clip in clips] for name in ("context", "speaker", "context_speakers"))
            tokens = self.processor.encode_text(texts, context, speakers=names[0], context_speakers=names[1])
        return {"tokens": tokens, "clips": clips}

    def _forward(self, batch: dict) -> dict:  # type: ignore[override]
        """Run the towers and the model.

        Returns:
            `logits` (B, C), `views` (name -> (B, C)), `modality_mask` (B, 3), of SemanticMAC `specific_embeds`
            (B, 3, d), notes, the clips and the seconds taken.
        """
        start = time.perf_counter()
        inputs = batch["tokens"]
        for name, modality in MEDIA_INPUTS:
            inputs.update(self._embed(modality, [clip[name] for clip in batch["clips"]]))
        encoded = self._clock()
        output = self.model(**inputs)
        seconds = {"encode": encoded - start, "model": self._clock() - encoded}
        kept = {name: output[name] for name in KEPT if name in output} | {"views": _views(output)}
        kept["notes"] = list(map(self._notes, batch["clips"]))
        clips = [{name: clip[name] for name in ("report", "seconds")} for clip in batch["clips"]]
        return {**kept, "seconds": seconds, "clips": clips}

    def _notes(self, clip: Mapping) -> list[str]:
        """Return what is to be said about the words of a clip."""
        if is_missing(clip["text"]) or not self.processor.use_speakers:
            return []
        missing = [] if clip["speaker"] else ["speaker"]
        missing += ["context_speakers"] if clip["context"] and not clip["context_speakers"] else []
        return [f"this model reads who speaks, and no {' and no '.join(missing)} was given"] if missing else []

    def _embed(self, modality: str, streams: list[torch.Tensor | None]) -> dict[str, torch.Tensor]:
        """Return embeddings (B, T, D) and mask (B, T) of the streams (T_i, ...) of B clips.

        The tower gets the frames of all clips at once, in full batches.
        """
        present = [stream for stream in streams if stream is not None]
        if not present:
            return {}
        embeds = self.embed(modality, join_inputs(present))  # (sum T, D)
        parts = iter(embeds.split([len(stream) for stream in present]))
        parts = [None if stream is None else next(parts) for stream in streams]
        return pad_streams(f"{modality}_embeds", f"{modality}_mask", parts)

    def embed(self, modality: str, inputs: torch.Tensor) -> torch.Tensor:
        """Return the tower's embeddings (T, D) of frames or sound windows (T, ...), as the processor returns them."""
        inputs = inputs.to(self.device)[None]
        mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device)
        dtype = self.model.dtype
        with torch.no_grad(), torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32):
            return self.model.base_model.encode_media(modality, inputs, mask)[0]

    def predict_embeddings(
        self, text: str | None, context: Sequence[str], embeds: Mapping[str, torch.Tensor], report: Mapping, **options
    ) -> dict:
        """Return the result of one clip whose media are embedded already.

        Args:
            text, context: the words, and earlier utterances.
            embeds: modality -> (T, D), of `embed`.
            report: the `media` of the result.
            options: `abstain` and `neighbors`.
        """
        inputs = {} if is_missing(text) else dict(self.processor.encode_text([text], [list(context)]))
        for modality, stream in embeds.items():
            inputs.update(pad_streams(f"{modality}_embeds", f"{modality}_mask", [stream]))
        with torch.no_grad():
            output = self.model(**{name: value.to(self.device) for name, value in inputs.items()})
        kept = {name: output[name].cpu() for name in KEPT if name in output}
        views = {name: logits.cpu() for name, logits in _views(output).items()}
        clip = {"text": text, "context": context, "speaker": None, "context_speakers": []}
        found = {**kept, "views": views, "notes": [self._notes(clip)], "clips": [{"report": report}]}
        return self.postprocess(found, **options)[0]

    def _clock(self) -> float:
        """Return the time when the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def postprocess(  # type: ignore[override]
        self, output: dict, timings: bool = False, abstain: bool = False, neighbors: int = 0
    ) -> list[dict]:
        """Return the results of B clips."""
        config, task, results = self.model.config, self.model.config.task, []
        for index, clip in enumerate(output["clips"]):
            used = [modality for modality, there in zip(MODALITIES, output["modality_mask"][index].tolist()) if there]
            views = {name: logits[index] for name, logits in output["views"].items() if name in ("shared", *used)}
            subtasks = {name: affect_result(task, logits) for name, logits in views.items()}
            whole = affect_result(task, output["logits"][index], config.label_thresholds, config.calibration)
            whole = abstained(task, whole) if abstain else whole
            whole = {"task": config.task_name, **whole, "subtasks": subtasks}
            results.append({**whole, "modalities": used, "media": clip["report"]})
            if neighbors:
                embeds, there = output["specific_embeds"][index], output["modality_mask"][index]
                results[-1]["neighbors"] = self.neighbor_bank.neighbors(embeds, there, neighbors)
            if notes := output["notes"][index]:
                results[-1]["notes"] = notes
            if timings:
                shares = {stage: seconds / len(output["clips"]) for stage, seconds in output["seconds"].items()}
                results[-1]["timings"] = {"decode": clip["seconds"], **shares}
        return results


def _views(output: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the logits (B, C) of the predictions beside the whole one that a model makes, by name."""
    for name, views in (("subtask_logits", SUBTASK_NAMES.values()), ("modality_logits", MODALITIES)):
        if output.get(name) is not None:
            return dict(zip(views, output[name].unbind(dim=1)))
    return {}


def _error_result(clip: dict) -> dict:
    error = clip["error"]
    sentence = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return {"error": sentence, "media": clip["name"]}


__all__ = ["CUSTOM_PIPELINES", "SemanticMACPipeline"]
