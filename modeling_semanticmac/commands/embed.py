"""`semanticmac embed`: encode the clips of a corpus or a folder once, on one process or several."""

from accelerate import PartialState

from ..embedding_extraction import command


def main(argv: list[str] | None = None) -> int:
    """Write the embeddings and return the exit code of `embedding_extraction.command.main`; the process group is
    destroyed at the end."""
    code = command.main(argv)
    PartialState().destroy_process_group()  # its threads can abort a finished run if the interpreter ends first
    return code


__all__ = ["main"]
