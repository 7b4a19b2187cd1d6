"""`python -m modeling_semanticmac.convert_imagebind`: the former spelling of `semanticmac convert`."""

import sys

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main(["convert", *sys.argv[1:]]))
