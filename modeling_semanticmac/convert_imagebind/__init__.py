"""Convert the official ImageBind checkpoint to the two folders that `from_pretrained` reads."""

from .convert import convert, from_original, main, read_checkpoint

__all__ = ["convert", "from_original", "main", "read_checkpoint"]
