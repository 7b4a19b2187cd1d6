"""The page of a model, as `semanticmac app RUN` serves it, for a Space on the Hub: this file as app.py with
requirements.txt beside it, and the variable MODEL.

    MODEL=RUN python examples/app.py
"""

from modeling_semanticmac.commands.app import main

if __name__ == "__main__":
    raise SystemExit(main())
