"""`python -m modeling_semanticmac.report`."""

from .page import main

if __name__ == "__main__":
    raise SystemExit(main())
