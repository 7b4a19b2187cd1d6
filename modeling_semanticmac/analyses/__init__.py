"""The analyses of the paper on a trained run."""
