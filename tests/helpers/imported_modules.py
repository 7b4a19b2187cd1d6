"""What a file imports, by its source."""

import ast
from pathlib import Path


def imported_modules(module: tuple[str, ...], path: Path) -> set[tuple[str, ...]]:
    """Return the parts of each name that a file imports, imports inside functions included.

    Args:
        module: the parts of the file's own dotted name, from which relative imports start.
        path: the file.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(name.name.split(".")) for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module[: -node.level] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            found |= {(*base, name.name) for name in node.names}
    return found
