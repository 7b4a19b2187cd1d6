"""The Trainer of SemanticMAC: batches, objectives, pseudo labels, and the run from arguments to results."""
