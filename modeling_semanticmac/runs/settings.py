"""What made a checkpoint: arguments, clips, language model and embeddings; written into it and compared when it is resumed."""

MADE_WITH = "made_with.json"  # in each training checkpoint

__all__ = ["MADE_WITH"]
