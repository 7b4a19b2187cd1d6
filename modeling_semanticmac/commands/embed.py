"""`semanticmac embed`: encode the clips of a corpus or a folder once, on one process or several."""

from ..embedding_extraction import command
from ..runs.process_group import end_process_group


def main(argv: list[str] | None = None) -> int:
    """Write the embeddings and return the exit code of `embedding_extraction.command.main`; the process group is
    destroyed at the end."""
    code = command.main(argv)
    end_process_group()
    return code


__all__ = ["main"]
