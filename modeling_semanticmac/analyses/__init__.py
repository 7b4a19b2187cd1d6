"""Analyses of a trained run, as in the paper."""
