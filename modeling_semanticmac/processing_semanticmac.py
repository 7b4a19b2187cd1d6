"""The processor: text and media files, or arrays, to the padded tensors and masks that SemanticMAC takes.

Legend: B batch, L text tokens, T frames.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils import logging

from .clip_sampling import MediaClip, frame_times, pad_streams, waveform_windows, window_starts
from .encoder_outputs import fill_up, join_inputs
from .face_crops import CropsFaces, FaceCropper, check_face_options
from .feature_extraction_imagebind import sound_inputs
from .image_processing_imagebind import frame_groups, is_one_colour, picture_inputs
from .media_decoding import Media, MediaError, check_audio_stream
from .media_info import BLANK
from .speaking_face import speaking_track
from .text_encoding import TextFormat, encode_text, is_missing

logger = logging.get_logger(__name__)

VISION_WINDOWS = ("image", "clip")
CLIP_OFFSETS = (-0.25, 0.25)  # seconds; the two frames of a window of one second
STREAMS = (("pixel_values", "vision_mask"), ("input_features", "audio_mask"))


class SemanticMACProcessor(CropsFaces, ProcessorMixin):
    """Processor that turns text and a media file into the inputs of SemanticMAC.

    Frames and sound windows are sampled at the same times: T = ceil(frames_per_second * seconds) of each, at least one.

    Args:
        image_processor: Turns frames into `pixel_values`: ImageBindImageProcessor, or that of another encoder.
        feature_extractor: Turns sound windows into `input_features`: ImageBindFeatureExtractor, or that of another
            encoder.
        tokenizer: The language model's.
        frames_per_second: Frames and sound windows per second of media.
        num_frames: A fixed number of frames and windows instead.
        vision_window: "image" (one frame per time step) or "clip" (two, a quarter of a second before and after it).
        audio_window: Seconds of sound per time step.
        max_length: Longest text with its context, in tokens.
        audio_stream: Number of the sound track of media files, counted from 0; None: FFmpeg's choice.
        vision_crop: "none" (the whole frame), "face" (the face in it; the frame where there is none) or
            "frame_and_face" (two pictures a time step).
        face_choice: Of several faces the "largest" of each time step, or that of the "speaking" person, whose mouth
            moves with the sound of the clip.
        face_detector: The detector by reference, as `face_detection.detector_reference` returns it.
        use_speakers, context_utterances, text_tokens, text_prefix, chat_instruction: How texts become tokens, the
            fields of [`TextFormat`].
        chat_template: As in every processor of transformers; the tokenizer's is used.

    Raises:
        ValueError: If a value is out of its range.
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
        audio_stream: int | None = None,
        vision_crop: str = "none",
        face_choice: str = "largest",
        face_detector: dict | None = None,
        use_speakers: bool = False,
        context_utterances: int | None = None,
        text_tokens: str = "all",
        text_prefix: str = "",
        chat_instruction: str | None = None,
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
        check_audio_stream(audio_stream)
        check_face_options(image_processor, vision_crop, face_choice, face_detector)
        TextFormat(use_speakers, context_utterances, text_tokens, text_prefix, chat_instruction).check_tokenizer(
            tokenizer
        )
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=chat_template)
        self.frames_per_second = frames_per_second
        self.num_frames = num_frames
        self.vision_window = vision_window
        self.audio_window = audio_window
        self.max_length = max_length
        self.audio_stream = audio_stream
        self.vision_crop = vision_crop
        self.face_choice = face_choice
        self.face_detector = face_detector
        self.use_speakers = use_speakers
        self.context_utterances = context_utterances
        self.text_tokens = text_tokens
        self.text_prefix = text_prefix
        self.chat_instruction = chat_instruction

    @property
    def text_format(self) -> TextFormat:
        """How texts become tokens."""
        return TextFormat(
            self.use_speakers, self.context_utterances, self.text_tokens, self.text_prefix, self.chat_instruction
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of everything that a call may return."""
        own = ["utterance_mask"] if self.text_tokens == "utterance" else []
        return [*self.tokenizer.model_input_names, *own, *itertools.chain.from_iterable(STREAMS)]

    def __call__(
        self,
        text: str | None | Sequence[str | None] = None,
        media: str | os.PathLike | bytes | Media | Mapping | None | Sequence = None,
        frames: torch.Tensor | np.ndarray | None | Sequence = None,
        waveform: torch.Tensor | np.ndarray | None | Sequence = None,
        sampling_rate: int | None = None,
        context: Sequence[str] | Sequence[Sequence[str]] | None = None,
        return_tensors: str = "pt",
        padding: bool | str = True,
        max_length: int | None = None,
        speaker: str | None | Sequence[str | None] = None,
        context_speakers: Sequence[str] | Sequence[Sequence[str]] | None = None,
    ) -> BatchFeature:
        """Make a padded batch of one clip or a list of clips; None in a list stands for what a clip lacks.

        Args:
            text: The words that are said.
            media: A path, the bytes of a file, or {"path", "start", "end", "crop", "audio_stream"} as `MediaClip` takes
                it.
            frames: Instead of media: sampled frames, uint8 (T, 3, H, W) or (T, H, W, 3); with vision_window "clip"
                pairs of them, (T, 2, ...).
            waveform: Instead of media: sound in [-1, 1], (samples,) or (channels, samples), from which windows are cut.
            sampling_rate: Sampling rate of the waveform in Hz.
            context: Earlier utterances, oldest first.
            return_tensors: "pt" or "np".
            padding: Padding of the text: True to the longest, "max_length" to max_length.
            max_length: Longest text, instead of the processor's.
            speaker: Who speaks, for a processor with use_speakers.
            context_speakers: Who spoke each earlier utterance.

        Returns:
            `input_ids`, `attention_mask` (B, L), and `token_type_ids` where the tokenizer has them, `utterance_mask`
            (B, L) with text_tokens "utterance";
            `pixel_values` (B, T_v, 3, H, W), or (B, T_v, 3, 2, H, W) with vision_window "clip", the crops of one time
            next to each other; `vision_mask` (B, T_v);
            `input_features` (B, T_a, 1, M, F), or what another feature extractor returns, with NaN behind the end of
            a window that is shorter than others of the batch; `audio_mask` (B, T_a).
            A modality that a clip lacks is an all-zero row of its mask; one that the whole batch lacks is left out. A
            picture of one colour throughout and silent sound count as lacking.

        Raises:
            MediaError: If a file cannot be used.
            ValueError: If a clip has neither text nor picture nor sound, or arguments do not fit each other.
        """
        if return_tensors not in ("pt", "np"):
            raise ValueError(f'return_tensors is {return_tensors!r}; expected "pt" or "np".')
        texts, clips, pictures, sounds, contexts = _as_batch(text, media, frames, waveform, context)
        encoded = [self._encode_streams(*row, sampling_rate) for row in zip(clips, pictures, sounds)]
        _refuse_empty_clips(texts, encoded)
        batch: dict[str, Any] = {}
        if not all(map(is_missing, texts)):
            speakers = [speaker] * len(texts) if speaker is None or isinstance(speaker, str) else list(speaker)
            if context_speakers and (text is None or isinstance(text, str)):
                context_speakers = [context_speakers]  # type: ignore[list-item]  # of one clip
            batch.update(self.encode_text(texts, contexts, max_length, padding, speakers, context_speakers))
        for (name, mask), streams in zip(STREAMS, zip(*encoded)):
            batch.update(pad_streams(name, mask, fill_up(streams)))
        return BatchFeature(batch if return_tensors == "pt" else {name: x.numpy() for name, x in batch.items()})

    def encode_text(
        self,
        texts: Sequence[str | None],
        contexts: Sequence[Sequence[str]] | None = None,
        max_length: int | None = None,
        padding: bool | str = True,
        speakers: Sequence[str | None] | None = None,
        context_speakers: Sequence[Sequence[str | None]] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Call `text_encoding.encode_text` with the processor's tokenizer, max_length and format."""
        max_length = max_length or self.max_length
        return encode_text(
            self.tokenizer, texts, contexts, max_length, padding, self.text_format, speakers, context_speakers
        )

    def encode_media(
        self, media: str | os.PathLike | bytes | Media | Mapping, modalities: Sequence[str] = ("vision", "audio")
    ) -> dict:
        """Return the streams of one clip.

        Args:
            media: As `MediaClip` takes it.
            modalities: Those to read; the others are None. Without any, the file is only opened.

        Returns:
            `pixel_values` (T_v, 3, H, W) or None, `input_features` (T_a, 1, M, F) or None, and `report`: path, start,
            end, duration (seconds), `missing` (the reason for each modality that could not be read) and `notes`
            (phrases about the file and the clip).

        Raises:
            MediaError: If none of the modalities can be read. Blank ones (one colour, silence) are only missing.
        """
        encoded: dict[str, torch.Tensor | None] = {"pixel_values": None, "input_features": None}
        missing, errors = {}, []
        with MediaClip(media, self.audio_stream) as clip:
            readers = (("pixel_values", "vision", self.iter_vision), ("input_features", "audio", self.iter_audio))
            for name, modality, reader in readers:
                if modality not in modalities:
                    continue
                try:
                    encoded[name] = join_inputs(list(reader(clip)))
                except MediaError as error:
                    missing[modality] = error.reason
                    errors.append(error)
                    logger.info(f"{error} It is left out.")
            if errors and len(errors) == len(modalities) and not set(missing.values()) & set(BLANK.values()):
                raise errors[-1] if errors[0].reason.startswith("no ") else errors[0]
            report = {"path": clip.media.info.path, "start": clip.start, "end": clip.end, "duration": clip.duration}
            return {**encoded, "report": {**report, "missing": missing, "notes": clip.notes}}

    def iter_vision(self, clip: MediaClip, chunk: int = 32) -> Iterator[torch.Tensor]:
        """Yield `pixel_values` of a clip in pieces of at most `chunk` time steps, so that memory stays bounded.

        Raises:
            MediaError: If there is no picture in it, or, after the last piece, if it was of one colour throughout.
        """
        clip.require("video")
        times = frame_times(clip.duration, self.frames_per_second, self.num_frames)
        if self.vision_window == "clip":
            times = [time + offset for time in times for offset in CLIP_OFFSETS]
            chunk *= len(CLIP_OFFSETS)
        cropper = self.face_cropper(clip.crop, len(CLIP_OFFSETS) if self.vision_window == "clip" else 1)
        if cropper is not None and self.face_choice == "speaking":
            cropper.track = speaking_track(clip, times, cropper.detect)
        for frames in clip.require_picture(clip.iter_frames(times, chunk)):
            yield self.pixel_values_of(frames, clip.crop, cropper)
        if cropper is not None:
            clip.count_faces(cropper.steps, cropper.without_face)

    def iter_audio(self, clip: MediaClip, chunk: int = 32) -> Iterator[torch.Tensor]:
        """Yield `input_features` of a clip in pieces of at most `chunk` windows.

        Raises:
            MediaError: If there is no sound in it, or, after the last piece, if it was silent throughout.
        """
        clip.require("audio")
        rate = self.feature_extractor.sampling_rate
        starts = window_starts(clip.duration, self.audio_window, self.frames_per_second, self.num_frames)
        windows = clip.require_sound(clip.iter_windows(starts, self.audio_window, rate))
        while part := list(itertools.islice(windows, chunk)):
            yield self.input_features_of(part)

    def _encode_streams(
        self, media, frames, waveform, sampling_rate: int | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return (pixel_values, input_features) of one clip."""
        if media is not None:
            if frames is not None or waveform is not None:
                raise ValueError("a clip has both media and arrays; give media, or frames and waveform.")
            encoded = self.encode_media(media)
            return encoded["pixel_values"], encoded["input_features"]
        pixel_values = None if frames is None else self._encode_frames(frames)
        return pixel_values, None if waveform is None else self._encode_waveform(waveform, sampling_rate)

    def _encode_frames(self, frames) -> torch.Tensor | None:
        """Return the pixel_values of sampled frames, None if all are of one colour."""
        if not len(frames):
            raise ValueError("there is no frame in the frames of a clip; give None where there is no picture.")
        if self.vision_window == "clip":
            frames = torch.as_tensor(np.asarray(frames))
            if frames.ndim != 5 or frames.shape[1] != 2:
                raise ValueError(
                    f"the frames have shape {tuple(frames.shape)}; expected pairs, (T, 2, 3, H, W) or (T, 2, H, W, 3), "
                    'with vision_window "clip".'
                )
            frames = frames.flatten(0, 1)  # (2 T, ...)
        if str(getattr(frames, "dtype", "")).endswith("uint8") and all(map(is_one_colour, frame_groups(frames))):
            logger.info("The frames of a clip are of one colour throughout; its picture counts as missing.")
            return None
        cropper = self.face_cropper(None, len(CLIP_OFFSETS) if self.vision_window == "clip" else 1)
        parts = [frames] if cropper is None else frame_groups(frames)  # groups: frames of any accepted form
        pixel_values = self.pixel_values_of(parts[0] if len(parts) == 1 else [g[0] for g in parts], None, cropper)
        if cropper is not None and cropper.without_face:
            logger.info(f"no face in {cropper.without_face} of {cropper.steps} time steps; the whole frame is used.")
        return pixel_values

    def _encode_waveform(self, waveform, sampling_rate: int | None) -> torch.Tensor | None:
        """Return the input_features of a sound, None if it is silent."""
        rate = self.feature_extractor.sampling_rate
        sampling = (self.audio_window, self.frames_per_second, self.num_frames)
        windows = waveform_windows(waveform, sampling_rate, rate, *sampling)
        return self.input_features_of(windows) if windows else None

    def input_features_of(self, windows: list[torch.Tensor]) -> torch.Tensor:
        """Turn sound windows, (samples,) each, into (T, 1, M, F), or what another feature extractor returns."""
        rate = self.feature_extractor.sampling_rate
        return sound_inputs(self.feature_extractor, windows, rate, round(self.audio_window * rate))

    def pixel_values_of(self, frames, side: str | None, cropper: FaceCropper | None) -> torch.Tensor:
        """Turn uint8 frames (n, 3, H, W) into (T * crops, 3, size, size), pairs into (T * crops, 3, 2, size, size)."""
        if cropper is None:
            pixel_values = picture_inputs(self.image_processor, frames, side)
        else:
            pixel_values = picture_inputs(self.image_processor, cropper(frames))
        if self.vision_window == "image":
            return pixel_values
        crops = len(pixel_values) // len(frames)
        pairs = pixel_values.unflatten(0, (-1, 2, crops))  # (T, 2, crops, 3, S, S)
        return pairs.permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (T * crops, 3, 2, S, S)


def _refuse_empty_clips(texts: Sequence[str | None], encoded: Sequence[tuple]) -> None:
    """Raise ValueError for a clip without text and without any stream, and for a batch without clips."""
    if not len(texts):
        raise ValueError("the batch is empty; give at least one clip.")
    for index, (words, streams) in enumerate(zip(texts, encoded)):
        if is_missing(words) and all(stream is None for stream in streams):
            raise ValueError(
                f"clip {index} of the batch has no text, no picture and no sound; give at least one of text, "
                "media, frames and waveform (a blank picture and silence count as none)."
            )


def _as_batch(text, media, frames, waveform, context) -> list[Sequence]:
    """Return each argument as a list over the clips of the batch; absent media (None or an empty path) as None."""
    single = {
        "text": text is None or isinstance(text, str),
        "media": media is None or isinstance(media, str | os.PathLike | bytes | Media | Mapping),
        "frames": frames is None or hasattr(frames, "shape"),
        "waveform": waveform is None or hasattr(waveform, "shape"),
    }
    given = {"text": text, "media": media, "frames": frames, "waveform": waveform}
    sizes = {name: len(given[name]) for name in given if not single[name]}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{size} of {name}" for name, size in sizes.items())
        raise ValueError(
            f"the arguments have different numbers of clips ({found}); expected the same number, with None where a "
            "clip lacks something."
        )
    lonely = [name for name in given if given[name] is not None and single[name]]
    if sizes and lonely:
        raise ValueError(
            f"{lonely[0]} is one clip's and {next(iter(sizes))} a list; expected lists of the same length, or one clip "
            "of each."
        )
    size = next(iter(sizes.values()), 1)
    rows = [[value] * size if single[name] else list(value) for name, value in given.items()]
    rows[1] = [clip if (clip.get("path") if isinstance(clip, Mapping) else clip) else None for clip in rows[1]]
    if context is not None and not sizes:
        context = [context] if not context or isinstance(context[0], str) else context
    return [*rows, context]


__all__ = ["SemanticMACProcessor", "frame_times", "pad_streams", "window_starts"]
