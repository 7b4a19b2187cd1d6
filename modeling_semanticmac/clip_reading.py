"""A clip from its files: what the processor makes of picture and sound, of one file or two, and a report of what was there.

Legend: T frames or sound windows.
"""

from collections.abc import Sequence

from .clip_input import as_clip, fetch, is_address, source_name
from .clip_sampling import MediaClip
from .media_info import MediaError
from .semantic_interaction import MODALITIES
from .text_encoding import is_missing

MAX_SECONDS = 600.0


def read_clip(
    given,
    processor,
    readable: Sequence[str],
    modalities: Sequence[str] = MODALITIES,
    allow_download: bool = False,
    max_seconds: float | None = MAX_SECONDS,
) -> dict:
    """The words and streams of one clip.

    Args:
        given: as `as_clip` takes it.
        processor: SemanticMACProcessor.
        readable: those of "text", "audio" and "vision" that the model reads.
        modalities: those of them to use.
        allow_download: let an http(s) URL be downloaded.
        max_seconds: longer clips are an error; None: any length.

    Returns:
        `text` or None, `context`, `pixel_values` (T, 3, H, W) or None, `input_features` (T, 1, M, F) or None, and `report` (None without media): path,
        start, end, duration (seconds), `missing` (reasons by modality), `notes`, and `audio`, the path of a separate sound file.

    Raises:
        MediaError: a file that cannot be used.
        ValueError: an input that cannot be understood, or nothing in it to predict from.
    """
    clip = as_clip(given)
    unread = {modality: "not read by this model" for modality in MODALITIES if modality not in readable}
    unread |= {modality: "left out as asked" for modality in MODALITIES if modality not in modalities}
    text = None if "text" in unread else clip["text"]
    found = {"pixel_values": None, "input_features": None, "report": None}
    cut = {name: clip[name] for name in ("start", "end", "crop")}
    for kind, streams in (("video", ("vision", "audio")), ("audio", ("audio",))):
        if clip[kind] is not None:
            streams = ("vision",) if kind == "video" and clip["audio"] is not None else streams
            read = _read_file(clip[kind], cut, streams, unread, processor, allow_download, max_seconds)
            found = read if found["report"] is None else _joined(found, read)
    if is_missing(text) and found["pixel_values"] is None and found["input_features"] is None:
        used = " and ".join(modality for modality in MODALITIES if modality not in unread)
        raise ValueError(f"{source_name(given)}: the clip holds nothing to predict from; the model reads {used} here.")
    return {**found, "text": text, "context": clip["context"]}


def _read_file(
    source, cut: dict, streams, unread: dict, processor, allow_download: bool, max_seconds: float | None
) -> dict:
    """What the processor makes of one file; errors and report with the name that the user gave."""
    name = source_name(source)
    media = {"path": fetch(source, allow_download) if is_address(source) else source, **cut}
    try:
        if max_seconds is not None:
            with MediaClip(media) as opened:
                _check_length(name, opened.duration, max_seconds)
        found = processor.encode_media(media, [modality for modality in streams if modality not in unread])
    except MediaError as error:
        raise MediaError(name, error.reason, error.message) from error
    except ValueError:
        raise
    except Exception as error:  # whatever a decoder makes of broken bytes
        message = f"decoding ends with {type(error).__name__}: {error}; copy or convert the file again."
        raise MediaError(name, "cannot decode", message) from error
    missing = found["report"]["missing"] | {modality: unread[modality] for modality in streams if modality in unread}
    return {**found, "report": {**found["report"], "path": name, "missing": missing}}


def _check_length(name: str, duration: float, max_seconds: float) -> None:
    if duration > max_seconds:
        raise MediaError(
            name,
            "over the length limit",
            f"the clip lasts {duration:.1f} s, the limit is {max_seconds:g} s; cut it with start and end, or give a larger max_seconds.",
        )


def _joined(picture: dict, sound: dict) -> dict:
    """The picture of one file with the sound of another."""
    video, audio = picture["report"], sound["report"]
    both = {"missing": video["missing"] | audio["missing"], "notes": video["notes"] + audio["notes"]}
    return {**sound, "pixel_values": picture["pixel_values"], "report": {**video, **both, "audio": audio["path"]}}


__all__ = ["MAX_SECONDS", "read_clip"]
