"""`python -m modeling_semanticmac` is the command `semanticmac`."""

from .commands.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
