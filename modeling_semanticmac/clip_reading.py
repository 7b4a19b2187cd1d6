"""The streams of one clip, read from its files or arrays, and a report of what was there.

Legend: T time steps, n frames, H height, W width in pixels.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers.utils import logging

from .clip_input import Frames, Sound, as_clip, fetch, is_address, is_media_value, is_positive, source_name
from .clip_sampling import MediaClip, frame_times
from .configuration_semanticmac import MODALITIES
from .image_processing_imagebind import cut_side
from .media_info import BLANK, MediaError
from .text_encoding import is_missing

logger = logging.get_logger(__name__)

MAX_SECONDS = 600.0
MOST_CHANNELS = 8
LOUDEST = 4.0  # decoders go a little past 1; samples of 16 bits reach 32768


def read_clip(
    given,
    processor,
    readable: Sequence[str],
    modalities: Sequence[str] = MODALITIES,
    allow_download: bool = False,
    max_seconds: float | None = MAX_SECONDS,
    why_unread: Mapping[str, str] | None = None,
) -> dict:
    """Read the words and streams of one clip.

    Args:
        given: as `as_clip` takes it.
        processor: SemanticMACProcessor.
        readable: those of "text", "audio" and "vision" that the model reads.
        modalities: those of them to use.
        allow_download: let an address be downloaded.
        max_seconds: longer clips are an error; None: any length.
        why_unread: modality -> why the model does not read it.

    Returns:
        `text`, `speaker` or None, `context`, `context_speakers`, `pixel_values` (T, 3, H, W) or None, `input_features`
        (T, 1, M, F) or None, and `report` (None without media): path, start, end, duration (seconds), `missing`
        (reasons by modality), `notes`, and `audio`, the path of a separate sound file.

    Raises:
        MediaError: a file that cannot be used.
        ValueError: an input that cannot be understood, or nothing in it to predict from.
    """
    clip = as_clip(given)
    why = why_unread or {}
    unread = {m: why.get(m, "not read by this model") for m in MODALITIES if m not in readable}
    unread |= {modality: "left out as asked" for modality in MODALITIES if modality not in modalities}
    text = None if "text" in unread else clip["text"]
    found = {"pixel_values": None, "input_features": None, "report": None}
    cut = {name: clip[name] for name in ("start", "end", "crop", "audio_stream")}
    for kind, streams in (("video", ("vision", "audio")), ("audio", ("audio",))):
        if clip[kind] is not None:
            streams = ("vision",) if kind == "video" and clip["audio"] is not None else streams
            read = _read_arrays if isinstance(clip[kind], Sound | Frames) else _read_file
            reasons = {modality: unread.get(modality) for modality in streams}
            name = _name_of(given, kind, clip[kind])
            part = read(clip[kind], name, cut, reasons, processor, allow_download, max_seconds)
            found = part if found["report"] is None else _joined(found, part)
    if is_missing(text) and found["pixel_values"] is None and found["input_features"] is None:
        used = " and ".join(modality for modality in MODALITIES if modality not in unread) or "nothing of it"
        told = "".join(f" {why[m][0].upper()}{why[m][1:]}." for m in MODALITIES if m in why and m not in readable)
        raise ValueError(
            f"{source_name(given)}: the clip holds nothing to predict from; the model reads {used} here.{told}"
        )
    if "text" in why and not is_missing(clip["text"]) and found["report"] is not None:
        found["report"]["missing"]["text"] = why["text"]
    return {**found, "text": text, **{name: clip[name] for name in ("context", "speaker", "context_speakers")}}


def _name_of(given, kind: str, source) -> str:
    """What a media value is called: as the user gave it, where that was within a mapping."""
    if isinstance(given, Mapping) and given.get(kind) is not None and not is_media_value(given):
        return source_name({kind: given[kind]})
    return source_name(source if isinstance(source, str | os.PathLike) else given)


def _read_file(
    source, name: str, cut: dict, streams: Mapping, processor, allow_download: bool, max_seconds: float | None
) -> dict:
    """Return what the processor makes of one file; errors and report bear the name that the user gave."""
    media = {"path": fetch(source, allow_download) if is_address(source) else source, **cut}
    if "audio" not in streams:
        media["audio_stream"] = None
    try:
        if max_seconds is not None:
            with MediaClip(media, processor.audio_stream if "audio" in streams else None) as opened:
                _check_length(name, opened.duration, max_seconds)
        found = processor.encode_media(media, [modality for modality in streams if not streams[modality]])
    except MediaError as error:
        raise MediaError(name, error.reason, error.message) from error
    except ValueError:
        raise
    except Exception as error:  # decoders raise anything on broken bytes
        message = f"decoding ends with {type(error).__name__}: {error}; copy or convert the file again."
        raise MediaError(name, "cannot decode", message) from error
    missing = found["report"]["missing"] | {modality: why for modality, why in streams.items() if why}
    return {**found, "report": {**found["report"], "path": name, "missing": missing}}


def _read_arrays(
    source, name: str, cut: dict, streams: Mapping, processor, allow_download: bool, max_seconds: float | None
) -> dict:
    """Return what the processor makes of decoded frames or samples, in the form of `_read_file`."""
    is_sound = isinstance(source, Sound)
    if is_sound:
        source = _checked_sound(source, name)
    duration = source.array.shape[-1] / source.sampling_rate if is_sound else source.duration
    start, end = (cut["start"] or 0.0), (duration if cut["end"] is None else min(cut["end"], duration))
    if not 0 <= start < end:
        raise ValueError(
            f"{name}: the cut from {start:g} s to {end:g} s is not within the {duration:.2f} s of the clip."
        )
    if max_seconds is not None:
        _check_length(name, end - start, max_seconds)
    kind, other = ("audio", "vision") if is_sound else ("vision", "audio")
    missing = {modality: why for modality, why in streams.items() if why}
    if other in streams and other not in missing:
        missing[other] = f"no {'video' if is_sound else 'audio'} stream"
    found: dict[str, torch.Tensor | None] = {"pixel_values": None, "input_features": None}
    if kind in streams and kind not in missing:
        read = _sound_inputs if is_sound else _picture_inputs
        field = "input_features" if is_sound else "pixel_values"
        found[field] = read(source, start, end, cut["crop"], processor)
        if found[field] is None:
            missing[kind] = BLANK["audio" if is_sound else "video"]
    report = {"path": name, "start": start, "end": end, "duration": end - start, "missing": missing, "notes": []}
    return {**found, "report": report}


def _checked_sound(source: Sound, name: str) -> Sound:
    """The same samples as a float32 tensor.

    Raises:
        ValueError: no sampling rate, or samples that are not (samples,) or (channels, samples) within [-1, 1].
    """
    if not is_positive(source.sampling_rate):
        raise ValueError(f"{name}: sampling_rate is {source.sampling_rate!r}; expected the samples a second.")
    array = np.asarray(source.array)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] > MOST_CHANNELS):
        raise ValueError(
            f"{name}: the samples have shape {array.shape}; expected (samples,), or (channels, samples) of up to "
            f"{MOST_CHANNELS} channels."
        )
    if array.dtype.kind != "f":
        raise ValueError(f"{name}: the samples are {array.dtype}; expected floats from -1 to 1.")
    if array.size and np.abs(array).max() > LOUDEST:
        raise ValueError(f"{name}: the samples reach {np.abs(array).max():g}; expected floats from -1 to 1.")
    return Sound(torch.as_tensor(array, dtype=torch.float32), source.sampling_rate)


def _sound_inputs(source: Sound, start: float, end: float, crop: str | None, processor) -> torch.Tensor | None:
    rate = source.sampling_rate
    sound = torch.as_tensor(source.array)[..., round(start * rate) : round(end * rate)]
    return _one(processor(text=".", waveform=sound, sampling_rate=rate), "input_features")


def _picture_inputs(source: Frames, start: float, end: float, crop: str | None, processor) -> torch.Tensor | None:
    times = frame_times(end - start, processor.frames_per_second, processor.num_frames)
    is_pairs = processor.vision_window == "clip"
    if is_pairs:
        times = [time + offset for time in times for offset in (-0.25, 0.25)]
    shown = source.at([min(max(start + time, start), end - 1e-3) for time in times])
    frames = torch.stack([as_frame(frame) for frame in shown])  # (n, 3, H, W)
    frames = cut_side(frames, crop)
    return _one(processor(text=".", frames=frames.unflatten(0, (-1, 2)) if is_pairs else frames), "pixel_values")


def as_frame(frame) -> torch.Tensor:
    """A PIL image or an array as uint8 (3, H, W)."""
    if hasattr(frame, "convert"):
        frame = np.array(frame.convert("RGB"))
    frame = torch.as_tensor(np.asarray(frame) if not isinstance(frame, torch.Tensor) else frame)
    if frame.ndim == 3 and frame.shape[0] != 3 and frame.shape[-1] == 3:
        frame = frame.movedim(-1, 0)
    if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
        raise ValueError(
            f"a frame is {frame.dtype} {tuple(frame.shape)}; expected uint8 (H, W, 3) or (3, H, W), or a PIL image."
        )
    return frame


def _one(batch: Mapping, field: str) -> torch.Tensor | None:
    """The stream of a batch of one; None where it is blank."""
    return batch[field][0] if field in batch else None


def _check_length(name: str, duration: float, max_seconds: float) -> None:
    if duration > max_seconds:
        raise MediaError(
            name,
            "over the length limit",
            f"the clip lasts {duration:.1f} s, the limit is {max_seconds:g} s; cut it with start and end, or give a "
            "larger max_seconds.",
        )


def _joined(picture: dict, sound: dict) -> dict:
    """The picture of one file with the sound of another."""
    video, audio = picture["report"], sound["report"]
    both = {"missing": video["missing"] | audio["missing"], "notes": video["notes"] + audio["notes"]}
    return {**sound, "pixel_values": picture["pixel_values"], "report": {**video, **both, "audio": audio["path"]}}


__all__ = ["MAX_SECONDS", "as_frame", "read_clip"]
