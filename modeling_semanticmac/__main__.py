"""`python -m modeling_semanticmac` is the command `semanticmac`; so is `accelerate launch -m modeling_semanticmac train
...`.
"""

from semanticmac import main

if __name__ == "__main__":
    raise SystemExit(main())
