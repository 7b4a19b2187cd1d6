"""`python -m modeling_semanticmac.hub_upload`."""

from ..hub.upload import main

if __name__ == "__main__":
    raise SystemExit(main())
