"""Systems, settings, seeds and folds compared on the same clips and stored embeddings: `semanticmac benchmark`."""
