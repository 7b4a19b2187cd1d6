"""Read the pickles in which some corpora are released, without running code that they may hold."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np

_reconstruct = np.zeros(0).__reduce__()[0]  # numpy's functions without a private import
_from_buffer = np.zeros(0).__reduce_ex__(5)[0]
_scalar = np.float64(0).__reduce__()[0]


def _encode(text: str, encoding: str) -> bytes:
    """Decode bytes as Python 3 writes them in protocol 2; only latin1 is admitted, so nothing else can be called
    through it.
    """
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it requests bytes in {encoding!r}; only latin1 is read")
    return text.encode("latin1")


# The names that Python 2 and 3 and numpy 1 and 2 write for containers and arrays.
_ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): lambda: {},  # one without a factory; a factory would be an argument
}
for _builtins in ("builtins", "__builtin__"):
    _ADMITTED[_builtins, "bytes"] = lambda: b""  # as Python 3 writes empty bytes in protocol 2
    _ADMITTED |= {(_builtins, kind.__name__): kind for kind in (set, frozenset)}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler of containers, numbers, strings and numpy arrays; any other name is refused before it is called."""

    def find_class(self, module, name):
        try:
            return _ADMITTED[module, name]
        except KeyError:
            if module.split(".")[0] == "torch":
                raise pickle.UnpicklingError(
                    "it holds torch tensors, whose pickles can run code. Write it again with numpy arrays (MMSA-FET: "
                    'return_type="np"), or convert the tensors with .numpy() where you trust the file'
                ) from None
            raise pickle.UnpicklingError(
                f"it requests {module}.{name}; only containers, numbers, strings and numpy arrays are read"
            ) from None


def load_restricted(path: Path):
    """Read a pickle, also one written by Python 2.

    Raises:
        ValueError: the file is not a pickle, or holds anything but containers, numbers, strings and numpy arrays.
    """
    with open(path, "rb") as file:
        try:
            return RestrictedUnpickler(file, encoding="latin1").load()
        except Exception as error:  # a damaged pickle can raise nearly any exception
            raise ValueError(
                f"{path} was not read: {error}. Nothing in it was run. Get the file from the corpus's authors, "
                "or export its content to JSON."
            ) from error
