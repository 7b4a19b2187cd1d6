"""Secrets taken out of everything that is written, logged or uploaded: tokens, passwords, credentials in URLs.

A secret is recognised by the name that it stands under (`hub_token`, `PGPASSWORD`, `client_secret`), by its place in
a URL, by the published prefixes of access tokens, and by its value where the environment holds it under such a name.
"""

import os
import re

HIDDEN = "HIDDEN"
# Not counts (`num_bridge_tokens`) and not tokenizers.
_NAME = r"(?:token(?!s|iz)|passw(?:or)?d|passphrase|secret|credential|api_?key|access_?key|private_?key)"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# A quoted text keeps its quotes, so that JSON stays JSON.
_VALUE = r"""(?:(?P<quote>["'])(?:(?!(?P=quote))[^\\]|\\.)*(?P=quote)|[^\s&,;"'`)}\]]+)"""
_REPLACEMENT = rf"\g<name>\g<quote>{HIDDEN}\g<quote>"
_PATTERNS = (
    # scheme://user:password@host: everything up to the last "@", since passwords may hold "/" and "@"
    (re.compile(r"""([a-z][a-z0-9+.-]*://)(?:[^\s/@:"'`<>]*:[^\s"'`<>]*@|[^\s/?#"'`<>]*@)""", re.I), rf"\1{HIDDEN}@"),
    # name=value, "name": "value", ?name=value
    (re.compile(rf"""(?P<name>[\w.-]*{_NAME}[\w.-]*["']?\s*[=:]\s*){_VALUE}""", re.I), _REPLACEMENT),
    # --name value
    (re.compile(rf"(?P<name>--[\w-]*{_NAME}[\w-]*\s+)(?!-){_VALUE}", re.I), _REPLACEMENT),
    (re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:hf_|api_org_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA)[A-Za-z0-9_-]{16,}"), HIDDEN),
)
_SHORTEST = 8  # characters of a value that is also hidden where it stands under another name
_PLAIN = re.compile(r"true|false|yes|no|none|null|[-+.\deE]*", re.IGNORECASE)  # switches and numbers are not secrets


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name is a secret: `hub_token` is one, the count `num_bridge_tokens` is not."""
    return _SECRET_NAME.search(name) is not None


def hide_secrets(value, also: frozenset[str] | None = None):
    """Return a value of JSON (a text, or lists and dicts of them) with each secret replaced by `HIDDEN`.

    A list may be a command line: the argument after `--hub_token` is hidden, too. A secret found under its name is
    hidden wherever it stands in the value.

    Args:
        value: of JSON.
        also: more texts to hide; by default those of the environment.
    """
    hidden = sorted(_secrets_of(value) | (environment_secrets() if also is None else also), key=len, reverse=True)
    return _hidden(value, hidden)


def environment_secrets() -> frozenset[str]:
    """Return the values of the environment's variables whose names are those of secrets."""
    found = {value for name, value in os.environ.items() if is_secret_name(name) and len(value) >= _SHORTEST}
    # Not the paths of files that hold a secret, nor the current folder (PWD).
    return frozenset(value for value in found if not _PLAIN.fullmatch(value) and not os.path.exists(value))


def _is_secret(name, value) -> bool:
    return isinstance(name, str) and isinstance(value, str) and is_secret_name(name) and not _PLAIN.fullmatch(value)


def _follows_its_name(words, position: int) -> bool:
    """Return whether a word of a command line is the value of a secret argument before it."""
    before = words[position - 1] if position else None
    return (
        isinstance(before, str) and before.startswith("-") and "=" not in before and _is_secret(before, words[position])
    )


def _secrets_of(value) -> frozenset[str]:
    """Return the secrets that stand under their name, if they are long enough to be searched for elsewhere."""
    found: set[str] = set()
    if isinstance(value, dict):
        found |= {item for name, item in value.items() if _is_secret(name, item) and len(item) >= _SHORTEST}
        found = found.union(*map(_secrets_of, value.values()))
    elif isinstance(value, list | tuple):
        found |= {item for n, item in enumerate(value) if _follows_its_name(value, n) and len(item) >= _SHORTEST}
        found = found.union(*map(_secrets_of, value))
    return frozenset(found)


def _hidden(value, secrets: list[str]):
    if isinstance(value, dict):
        return {name: HIDDEN if _is_secret(name, item) else _hidden(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [HIDDEN if _follows_its_name(value, n) else _hidden(item, secrets) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        value = pattern.sub(replacement, value)
    return value


__all__ = ["HIDDEN", "environment_secrets", "hide_secrets", "is_secret_name"]
