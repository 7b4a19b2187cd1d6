"""Handler of a Hugging Face Inference Endpoint, written by `semanticmac endpoint` beside a checkpoint.

    {"inputs": "I did not expect that."}
    {"inputs": {"video": BASE64, "text": "I did not expect that."}, "parameters": {"neighbors": 3}}
    {"inputs": [{"audio": BASE64}, {"text": "Well."}]}

It needs the checkpoint and the packages of `requirements.txt`. Nothing is kept, and nothing but the request is read: no
file and no address that a request names.
"""

import base64
import binascii
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MEDIA = ("video", "audio")
FIELDS = (*MEDIA, "text", "context", "speaker", "context_speakers", "start", "end", "crop", "audio_stream")
PARAMETERS = ("modalities", "abstain", "neighbors", "timings")
MOST_SECONDS = 60.0  # of a clip
MOST_CLIPS = 32  # of a request


class EndpointHandler:
    """Predicts clips as `pipeline("video-affect")` does.

    Args:
        path: folder of the checkpoint.
    """

    def __init__(self, path: str = ""):
        from transformers import pipeline

        options = {"trust_remote_code": True}  # the code beside the weights
        if (HERE / "modeling_semanticmac" / "__init__.py").is_file():  # of a comparison system: the package
            sys.path.insert(0, str(HERE))
            import modeling_semanticmac  # noqa: F401  (registers the classes)

            options = {}
        self.pipe: Any = pipeline("video-affect", model=path or str(HERE), **options)
        self.pipe.load_encoders()

    def __call__(self, data: dict) -> dict | list[dict]:
        """Predict.

        Args:
            data: `inputs`, a text, the bytes of a file, a dict with any of `video` and `audio` (base64), `text`,
                `context`, `speaker`, `context_speakers`, `start`, `end`, `crop`, `audio_stream`, or a list of these;
                `parameters`, any of `modalities`, `abstain`, `neighbors` and `timings`.

        Returns:
            The result of the pipeline; for a list a list, with {"error": a sentence} for clips that cannot be used.

        Raises:
            ValueError: the request or its clip cannot be used, in a sentence.
        """
        options = data.get("parameters") or {}
        _refuse_unknown("parameters", options, PARAMETERS)
        given = data.get("inputs")
        if not isinstance(given, list):
            return self.pipe(as_clip(given), max_seconds=MOST_SECONDS, **options)
        if len(given) > MOST_CLIPS:
            raise ValueError(f"inputs has {len(given)} clips; send up to {MOST_CLIPS} at once.")
        clips = [as_clip(each) for each in given]
        return self.pipe(clips, batch_size=max(1, len(clips)), max_seconds=MOST_SECONDS, on_error="skip", **options)


def as_clip(given) -> dict:
    """Return one of the inputs as the pipeline takes it, with the bytes of its media.

    Raises:
        ValueError: a form or a field that is not known, or media that are not base64.
    """
    if isinstance(given, str):
        return {"text": given}
    if isinstance(given, bytes | bytearray):
        return {"video": {"path": "upload", "bytes": bytes(given)}}
    if not isinstance(given, dict):
        raise ValueError(f"inputs is {type(given).__name__}; expected a text, a dict, or a list of these.")
    _refuse_unknown("inputs", given, FIELDS)
    media = {name: {"path": name, "bytes": _decoded(name, given[name])} for name in MEDIA if given.get(name)}
    return {**{name: value for name, value in given.items() if name not in MEDIA}, **media}


def _decoded(name: str, value) -> bytes:
    """Return the bytes of base64, with or without the head of a data URL.

    Raises:
        ValueError: it is something else, such as the name of a file.
    """
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    try:
        text = value.partition(",")[2] if value.startswith("data:") else value
        return base64.b64decode("".join(text.split()), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        raise ValueError(f"{name} is not base64; send the bytes of the file, encoded, not its name.") from None


def _refuse_unknown(what: str, given, known: tuple[str, ...]) -> None:
    """Raise ValueError for a name that would be without effect."""
    if not isinstance(given, dict):
        raise ValueError(f"{what} is {type(given).__name__}; expected names and values.")
    unknown = sorted(set(map(str, given)) - set(known))
    if unknown:
        raise ValueError(f"{what} has {unknown[0]!r}; expected some of {', '.join(known)}.")


__all__ = ["EndpointHandler"]
