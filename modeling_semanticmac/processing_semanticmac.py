"""Words and media files, or arrays, to the padded tensors and masks that SemanticMAC takes.

Legend: B batch, L text tokens, T frames.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils import logging

from .clip_sampling import MediaClip, frame_times, window_starts
from .encoders import picture_inputs, sound_inputs
from .media_decoding import MediaError
from .text_encoding import encode_text, is_missing

logger = logging.get_logger(__name__)

VISION_WINDOWS = ("image", "clip")
CLIP_OFFSETS = (-0.25, 0.25)  # seconds; the two frames of a window of one second
STREAMS = (("pixel_values", "vision_mask"), ("input_features", "audio_mask"))


class SemanticMACProcessor(ProcessorMixin):
    """Text and a media file to the inputs of SemanticMAC.

    Frames and sound windows are sampled at the same times: T = ceil(frames_per_second * seconds) of each, at least one.

    Args:
        image_processor: frames to `pixel_values`: ImageBindImageProcessor, or that of another encoder in transformers.
        feature_extractor: sound windows to `input_features`: ImageBindFeatureExtractor, or that of another encoder in transformers.
        tokenizer: of the language model.
        frames_per_second: of media.
        num_frames: a fixed number of frames and windows instead.
        vision_window: "image": one frame a time step; "clip": two, a quarter of a second before and after it.
        audio_window: seconds of sound a time step.
        max_length: longest text with its context, in tokens.
        chat_template: as in every processor of transformers; unused.

    Raises:
        ValueError: a value out of its range.
    """

    def __init__(
        self,
        image_processor,
        feature_extractor,
        tokenizer,
        frames_per_second: float = 2.0,
        num_frames: int | None = None,
        vision_window: str = "image",
        audio_window: float = 2.0,
        max_length: int = 128,
        chat_template: str | None = None,
    ):
        if vision_window not in VISION_WINDOWS:
            raise ValueError(f'vision_window is {vision_window!r}; expected "image" or "clip".')
        positive = {"frames_per_second": frames_per_second, "audio_window": audio_window, "max_length": max_length}
        if num_frames is not None:
            positive["num_frames"] = num_frames
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected a positive number.")
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=chat_template)
        self.frames_per_second = frames_per_second
        self.num_frames = num_frames
        self.vision_window = vision_window
        self.audio_window = audio_window
        self.max_length = max_length

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything that a call may return."""
        return [*self.tokenizer.model_input_names, *itertools.chain.from_iterable(STREAMS)]

    def __call__(
        self,
        text: str | None | Sequence[str | None] = None,
        media: str | os.PathLike | bytes | Mapping | None | Sequence = None,
        frames: torch.Tensor | np.ndarray | None | Sequence = None,
        waveform: torch.Tensor | np.ndarray | None | Sequence = None,
        sampling_rate: int | None = None,
        context: Sequence[str] | Sequence[Sequence[str]] | None = None,
        return_tensors: str = "pt",
        padding: bool | str = True,
        max_length: int | None = None,
    ) -> BatchFeature:
        """A padded batch from one clip or a list of clips; None in a list is what a clip lacks.

        Args:
            text: what is said.
            media: a path, the bytes of a file, or {"path", "start", "end", "crop"} (seconds; half of the picture).
            frames: instead of media: sampled frames, uint8 (T, 3, H, W) or (T, H, W, 3); with vision_window "clip" pairs of them, (T, 2, ...).
            waveform: instead of media: sound in [-1, 1], (samples,) or (channels, samples), from which windows are cut.
            sampling_rate: Hz of waveform.
            context: what was said before, oldest first.
            return_tensors: "pt" or "np".
            padding: of the text: True to the longest, "max_length" to max_length.
            max_length: of the text instead of the processor's.

        Returns:
            `input_ids`, `attention_mask` (B, L), and `token_type_ids` where the tokenizer has them;
            `pixel_values` (B, T_v, 3, H, W), or (B, T_v, 3, 2, H, W) with vision_window "clip", crops of one time next to each other; `vision_mask` (B, T_v);
            `input_features` (B, T_a, 1, M, F); `audio_mask` (B, T_a).
            A modality that a clip lacks is an all-zero row of its mask; one that the whole batch lacks is left out.

        Raises:
            MediaError: a file that cannot be used.
            ValueError: a clip without words, picture and sound, or arguments that do not fit each other.
        """
        if return_tensors not in ("pt", "np"):
            raise ValueError(f'return_tensors is {return_tensors!r}; expected "pt" or "np".')
        texts, clips, pictures, sounds, contexts = _as_batch(text, media, frames, waveform, context)
        if not len(texts):
            raise ValueError("the batch is empty; give at least one clip.")
        encoded = [self._encode_streams(*row, sampling_rate) for row in zip(clips, pictures, sounds)]
        for index, (words, streams) in enumerate(zip(texts, encoded)):
            if is_missing(words) and all(stream is None for stream in streams):
                raise ValueError(
                    f"clip {index} of the batch has no text, no picture and no sound; give at least one of text, media, frames and waveform."
                )
        batch = {}
        if not all(map(is_missing, texts)):
            batch.update(self.encode_text(texts, contexts, max_length, padding))
        for (name, mask), streams in zip(STREAMS, zip(*encoded)):
            batch.update(pad_streams(name, mask, streams))
        if return_tensors == "np":
            batch = {name: value.numpy() for name, value in batch.items()}
        return BatchFeature(batch)

    def encode_text(
        self,
        texts: Sequence[str | None],
        contexts: Sequence[Sequence[str]] | None = None,
        max_length: int | None = None,
        padding: bool | str = True,
    ) -> dict[str, torch.Tensor]:
        """`text_encoding.encode_text` with the processor's tokenizer and max_length."""
        return encode_text(self.tokenizer, texts, contexts, max_length or self.max_length, padding)

    def encode_media(
        self, media: str | os.PathLike | bytes | Mapping, modalities: Sequence[str] = ("vision", "audio")
    ) -> dict:
        """The streams of one clip.

        Args:
            modalities: which to read; the others are None. None at all: the file is only looked into.

        Returns:
            `pixel_values` (T_v, 3, H, W) or None, `input_features` (T_a, 1, M, F) or None, and `report`: path, start, end, duration (seconds),
            `missing` (the reason for each of the modalities that could not be read) and `notes` (what is wrong with the file although it was used).

        Raises:
            MediaError: none of the modalities can be had.
        """
        encoded, missing, errors = {"pixel_values": None, "input_features": None}, {}, []
        with MediaClip(media) as clip:
            readers = (("pixel_values", "vision", self.iter_vision), ("input_features", "audio", self.iter_audio))
            for name, modality, reader in readers:
                if modality not in modalities:
                    continue
                try:
                    encoded[name] = torch.cat(list(reader(clip)))
                except MediaError as error:
                    missing[modality] = error.reason
                    errors.append(error)
                    logger.info(f"{error} It is left out.")
            if errors and len(errors) == len(modalities):
                raise errors[-1] if errors[0].reason.startswith("no ") else errors[0]
            report = {"path": clip.media.info.path, "start": clip.start, "end": clip.end, "duration": clip.duration}
            return {**encoded, "report": {**report, "missing": missing, "notes": list(clip.notes)}}

    def iter_vision(self, clip: MediaClip, chunk: int = 32) -> Iterator[torch.Tensor]:
        """`pixel_values` of a clip in pieces of at most `chunk` time steps, so that memory does not grow with its length.

        Raises:
            MediaError: no picture in it.
        """
        _require(clip, "video")
        times = frame_times(clip.duration, self.frames_per_second, self.num_frames)
        if self.vision_window == "clip":
            times = [time + offset for time in times for offset in CLIP_OFFSETS]
            chunk *= len(CLIP_OFFSETS)
        for frames in clip.iter_frames(times, chunk):
            yield self._pixel_values(frames, clip.crop)

    def iter_audio(self, clip: MediaClip, chunk: int = 32) -> Iterator[torch.Tensor]:
        """`input_features` of a clip in pieces of at most `chunk` windows.

        Raises:
            MediaError: no sound in it.
        """
        _require(clip, "audio")
        rate = self.feature_extractor.sampling_rate
        starts = window_starts(clip.duration, self.audio_window, self.frames_per_second, self.num_frames)
        windows = clip.iter_windows(starts, self.audio_window, rate)
        while part := list(itertools.islice(windows, chunk)):
            yield self._input_features(part)

    def _encode_streams(
        self, media, frames, waveform, sampling_rate: int | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(pixel_values, input_features) of one clip."""
        if media is not None:
            if frames is not None or waveform is not None:
                raise ValueError("a clip has both media and arrays; give media, or frames and waveform.")
            encoded = self.encode_media(media)
            return encoded["pixel_values"], encoded["input_features"]
        return (
            None if frames is None else self._encode_frames(frames),
            None if waveform is None else self._encode_waveform(waveform, sampling_rate),
        )

    def _encode_frames(self, frames) -> torch.Tensor:
        """Arrays of sampled frames to pixel_values."""
        if not len(frames):
            raise ValueError("there is no frame in the frames of a clip; give None where there is no picture.")
        if self.vision_window == "clip":
            frames = torch.as_tensor(np.asarray(frames))
            if frames.ndim != 5 or frames.shape[1] != 2:
                raise ValueError(
                    f'the frames have shape {tuple(frames.shape)}; expected pairs, (T, 2, 3, H, W) or (T, 2, H, W, 3), with vision_window "clip".'
                )
            frames = frames.flatten(0, 1)  # (2 T, ...)
        return self._pixel_values(frames, None)

    def _encode_waveform(self, waveform, sampling_rate: int | None) -> torch.Tensor:
        """An array of sound to input_features."""
        if not sampling_rate:
            raise ValueError("a waveform was given without sampling_rate; give its samples a second.")
        sound = torch.as_tensor(waveform, dtype=torch.float32)
        if sound.ndim == 2:
            sound = sound.mean(dim=0)  # (samples,)
        if sound.ndim != 1 or not len(sound):
            raise ValueError(
                f"the waveform has shape {tuple(sound.shape)}; expected sound, (samples,) or (channels, samples), or None where there is none."
            )
        rate, duration = self.feature_extractor.sampling_rate, len(sound) / sampling_rate
        if sampling_rate != rate:
            from .media_pyav import resample

            sound = resample([sound.numpy()], sampling_rate, rate)
        starts = window_starts(duration, self.audio_window, self.frames_per_second, self.num_frames)
        windows = [
            sound[round(start * rate) : round(start * rate) + round(self.audio_window * rate)] for start in starts
        ]
        return self._input_features(windows)

    def _input_features(self, windows: list[torch.Tensor]) -> torch.Tensor:
        """Sound windows (samples,) each to (T, 1, M, F), or as another feature extractor gives them."""
        rate = self.feature_extractor.sampling_rate
        return sound_inputs(self.feature_extractor, windows, rate, round(self.audio_window * rate))

    def _pixel_values(self, frames, side: str | None) -> torch.Tensor:
        """uint8 frames (n, 3, H, W) to (T * crops, 3, size, size), or (T * crops, 3, 2, size, size) of pairs."""
        pixel_values = picture_inputs(self.image_processor, frames, side)
        if self.vision_window == "image":
            return pixel_values
        crops = len(pixel_values) // len(frames)
        pairs = pixel_values.unflatten(0, (-1, 2, crops))  # (T, 2, crops, 3, S, S)
        return pairs.permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (T * crops, 3, 2, S, S)


def _require(clip: MediaClip, kind: str) -> None:
    if not clip.has(kind):
        path, name = clip.media.info.path, {"video": "picture", "audio": "sound"}[kind]
        raise MediaError(
            path,
            f"no {kind} stream",
            f"there is no {name} between {clip.start:.2f} s and {clip.end:.2f} s; use another clip or do without {name}.",
        )


def pad_streams(name: str, mask_name: str, streams: Sequence[torch.Tensor | None]) -> dict[str, torch.Tensor]:
    """Pad the streams of the clips of a batch.

    Args:
        name, mask_name: keys of the result.
        streams: (T_i, ...) of each clip; None or T_i = 0 where a clip lacks the modality.

    Returns:
        {name: (B, T, ...), mask_name: (B, T)}; empty where no clip has the modality.
    """
    present = [stream for stream in streams if stream is not None and len(stream)]
    if not present:
        return {}
    empty = present[0][:0]
    padded = pad_sequence([empty if stream is None else stream for stream in streams], batch_first=True)  # (B, T, ...)
    lengths = torch.tensor([0 if stream is None else len(stream) for stream in streams])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()  # (B, T)
    return {name: padded, mask_name: mask.to(padded.device)}


def _as_batch(text, media, frames, waveform, context) -> list[Sequence]:
    """Each argument as a list over the clips of the batch; absent media (None or an empty path) as None."""
    single = {
        "text": text is None or isinstance(text, str),
        "media": media is None or isinstance(media, str | os.PathLike | bytes | Mapping),
        "frames": frames is None or hasattr(frames, "shape"),
        "waveform": waveform is None or hasattr(waveform, "shape"),
    }
    given = {"text": text, "media": media, "frames": frames, "waveform": waveform}
    sizes = {name: len(given[name]) for name in given if not single[name]}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{size} of {name}" for name, size in sizes.items())
        raise ValueError(
            f"the arguments have different numbers of clips ({found}); expected the same number, with None where a clip lacks something."
        )
    lonely = [name for name in given if given[name] is not None and single[name]]
    if sizes and lonely:
        raise ValueError(
            f"{lonely[0]} is one clip's and {next(iter(sizes))} a list; expected lists of the same length, or one clip of each."
        )
    size = next(iter(sizes.values()), 1)
    rows = [[value] * size if single[name] else list(value) for name, value in given.items()]
    rows[1] = [clip if (clip.get("path") if isinstance(clip, Mapping) else clip) else None for clip in rows[1]]
    if context is not None and not sizes:
        context = [context] if not context or isinstance(context[0], str) else context
    return [*rows, context]


__all__ = ["SemanticMACProcessor", "frame_times", "pad_streams", "window_starts"]
