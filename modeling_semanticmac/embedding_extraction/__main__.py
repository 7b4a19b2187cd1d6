"""`python -m modeling_semanticmac.embedding_extraction`: the former spelling of `semanticmac embed`."""

import sys

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main(["embed", *sys.argv[1:]]))
