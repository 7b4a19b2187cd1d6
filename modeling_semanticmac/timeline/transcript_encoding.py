"""The bytes of a transcript as text: Unicode where they are, else the encoding that charset-normalizer is sure of."""

import codecs

import charset_normalizer
from transformers.utils import logging

logger = logging.get_logger(__name__)

# What subtitles are written in where they are not Unicode: the encodings that web browsers assume.
LEGACY = (
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1250", "cp1251", "cp1253", "cp1254"),
    *("cp1255", "cp1256", "cp1257", "cp874", "koi8_r"),
)
WESTERN = "cp1252"
LATIN = {WESTERN, "cp1250", "cp1254", "cp1257"}  # they differ in a few letters, of which short texts have none
SOUND_UTF8 = 4  # sound characters for each damaged one; other encodings hardly ever look like any
MARGIN = 0.05  # of mess and of coherence: two readings that are so close cannot be told apart
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode_transcript(raw: bytes, encoding: str | None = None, name: str = "the transcript") -> str:
    """Return the text of a transcript.

    UTF-8 and UTF-16 are told by a mark at the beginning or by the bytes themselves. Any other encoding is guessed, and
    a warning says which one was taken.

    Args:
        encoding: as Python names it; None: find out.
        name: of the file, for the warning.

    Raises:
        ValueError: bytes that are no text, not in the given encoding, or of which several encodings would make text.
    """
    if encoding is not None:
        return _in_encoding(raw, encoding)
    known = next((found for mark, found in MARKS.items() if raw.startswith(mark)), None)
    if known is None and 0 in raw[:2]:  # every form begins with a character of ASCII
        known = "utf-16-be" if raw[0] == 0 else "utf-16-le"
    for candidate in [known] if known else ["utf-8"]:
        try:
            text = raw.decode(candidate)
        except UnicodeDecodeError:
            continue
        if _is_text(text):
            return text
    if known or not _is_text(raw.decode("latin-1")):
        raise ValueError("this is not text")
    _refuse_damaged_utf8(raw)
    return _guessed(raw, name)


def _in_encoding(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except LookupError as error:
        raise ValueError(f"there is no encoding {encoding!r}; expected one of Python's, such as gb18030.") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"this is not text in {encoding}: byte {error.start} is {raw[error.start]:#04x}; name another encoding."
        ) from error
    return text.removeprefix("\ufeff")


def _refuse_damaged_utf8(raw: bytes) -> None:
    """Raise ValueError for UTF-8 with a few bytes that are not, which other encodings would turn into other words."""
    text = raw.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    if sum(sign > "\x7f" for sign in text) > SOUND_UTF8 * wrong:
        before = text[: text.index("\ufffd")]
        raise ValueError(
            f"this is not text in UTF-8 at one place, line {before.count(chr(10)) + 1}, where it was cut or damaged; "
            "repair it, or name its encoding with --transcript_encoding"
        )


def _is_text(text: str) -> bool:
    return not any(sign < " " and sign not in "\t\n\v\f\r\x1a\x1b" for sign in text)


def _guessed(raw: bytes, name: str) -> str:
    found = [match for match in charset_normalizer.from_bytes(raw, cp_isolation=list(LEGACY)) if _is_text(str(match))]
    if not found:
        raise ValueError("this is not text in any encoding that is known here")
    best = found[0]
    close = [match for match in found[1:] if _as_likely(match, best) and str(match) != str(best)]
    names = {match.encoding for match in (best, *close)}
    if close and names <= LATIN and WESTERN in names and best.chaos == 0:
        best = next(match for match in (best, *close) if match.encoding == WESTERN)
    elif close:
        raise ValueError(
            f"this is not text in UTF-8, and {' and '.join(sorted(names))} would both make text of it; convert it to "
            "UTF-8, or name its encoding with --transcript_encoding"
        )
    logger.warning(
        f"{name} is not UTF-8; it is read as {best.encoding}. Name another encoding with --transcript_encoding."
    )
    return str(best)


def _as_likely(match, best) -> bool:
    return match.chaos - best.chaos <= MARGIN and best.coherence - match.coherence <= MARGIN


__all__ = ["decode_transcript"]
