"""The nearest known name, for messages about one that does not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the nearest known name, to follow a sentence; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


__all__ = ["did_you_mean"]
