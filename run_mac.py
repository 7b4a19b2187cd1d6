#!/usr/bin/env python
"""The former spelling of `semanticmac train`: `python run_mac.py RECIPE ...`, also under `accelerate launch` and
`torchrun`."""

import sys

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main(["train", *sys.argv[1:]]))
