"""`python -m modeling_semanticmac.convert_imagebind`."""

from .convert import main

if __name__ == "__main__":
    raise SystemExit(main())
