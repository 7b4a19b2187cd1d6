"""Reading the pickles that some corpora come as, without running what they may hold."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

_reconstruct = np.zeros(0).__reduce__()[0]  # numpy's own functions, without a private import
_from_buffer = np.zeros(0).__reduce_ex__(5)[0]
_scalar = np.float64(0).__reduce__()[0]


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in protocol 2; with this one encoding it cannot do anything else."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for bytes in {encoding!r}; only latin1 is read")
    return text.encode("latin1")


# What containers and numpy arrays are made of, by the names that Python 2 and 3, numpy 1 and 2 write.
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
}
for _builtins in ("builtins", "__builtin__"):
    _ADMITTED |= {(_builtins, kind.__name__): kind for kind in (set, frozenset)}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler for containers, numbers, strings and numpy arrays; every other name is refused before anything of it runs."""

    def find_class(self, module, name):
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only containers, numbers, strings and numpy arrays are read"
            ) from None


def load_restricted(path: Path):
    """The content of a pickle, also of one written by Python 2.

    Raises:
        ValueError: it asks for anything but containers, numbers, strings and numpy arrays, or is no pickle.
    """
    with open(path, "rb") as file:
        try:
            return RestrictedUnpickler(file, encoding="latin1").load()
        except Exception as error:  # a damaged pickle raises nearly anything
            raise ValueError(
                f"{path} was not read: {error}. Nothing in it was run. Get the file from the corpus's authors, or export its content to JSON."
            ) from error
