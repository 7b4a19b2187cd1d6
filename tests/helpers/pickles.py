"""Pickles for tests: as an older Python wrote them, and one that does harm when it is read carelessly."""

import pickle
from pathlib import Path


def write_pickle(path: Path, value) -> Path:
    """Protocol 2, and numpy's functions where numpy 1 has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=2).replace(b"numpy._core.", b"numpy.core."))
    return path


class Malicious:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
