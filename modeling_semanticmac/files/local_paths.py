"""Remove the folders of this machine from what others will read.

An absolute path is cut to its last part; relative paths and URLs stay as they are.
"""

import re

# At the beginning of a word, after a quote or bracket, or after the "=" of an argument; not within a URL.
_ABSOLUTE = re.compile(r"""(?<![\w.:/\\~<-])(?:~[\w.-]*[/\\]|/|[A-Za-z]:[\\/]|\\\\)[^\s'"`<>|,;)\]}]+""")
_WHOLE = re.compile(r"(--[\w-]+=)?((?:~[\w.-]*[/\\]|/|[A-Za-z]:[\\/]|\\\\).+)", re.DOTALL)


def without_local_paths(value):
    """Return a JSON value (strings, or lists and dicts of them) with every absolute path cut to its last part.

    A string that is a path, or `--name=` and a path, may contain blanks; within longer strings a path ends at the first
    blank.
    """
    if isinstance(value, dict):
        return {name: without_local_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_local_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole and "\n" not in value:
        return (whole[1] or "") + _last_part(whole[2])
    return _ABSOLUTE.sub(lambda found: _last_part(found[0]), value)


def local_paths(value) -> set[str]:
    """Return the absolute paths that are strings of their own in a JSON value, also after `--name=`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*map(local_paths, value))
    whole = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    return {whole[2]} if whole else set()


def without_local_names(value):
    """Return a JSON configuration without the entries that name a file or folder of this machine; its other strings
    stay.
    """
    if isinstance(value, list):
        return [without_local_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_local_names(item) for name, item in value.items() if not _names_a_path(name, item)}


def _names_a_path(name: str, value) -> bool:
    return name.endswith(("name_or_path", "_file")) and isinstance(value, str) and bool(_WHOLE.fullmatch(value))


def hide_paths(text: str, paths: set[str]) -> str:
    """Return a text with the given paths, which may contain blanks, and every other absolute path cut to their last
    parts.
    """
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, _last_part(path))
    return without_local_paths(text)


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "."


__all__ = ["hide_paths", "local_paths", "without_local_names", "without_local_paths"]
