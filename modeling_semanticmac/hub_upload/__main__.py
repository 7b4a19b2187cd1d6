"""`python -m modeling_semanticmac.hub_upload`: the former spelling of `semanticmac push`."""

import sys

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main(["push", *sys.argv[1:]]))
