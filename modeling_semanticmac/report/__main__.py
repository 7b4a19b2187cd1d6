"""`python -m modeling_semanticmac.report`: the former spelling of `semanticmac report`."""

import sys

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main(["report", *sys.argv[1:]]))
