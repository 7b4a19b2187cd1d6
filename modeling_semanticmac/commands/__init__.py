"""The sub-commands of `semanticmac` that have no folder of their own to stand in."""
