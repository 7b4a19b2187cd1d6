"""The command `semanticmac` and its sub-commands."""
