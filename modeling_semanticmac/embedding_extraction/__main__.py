"""`python -m modeling_semanticmac.embedding_extraction`."""

from accelerate import PartialState

from .command import main

if __name__ == "__main__":
    code = main()
    PartialState().destroy_process_group()  # left to the end of the interpreter, its threads can abort a finished run
    raise SystemExit(code)
