"""Predictions for each segment of a long video, with its subtitles, table and plot."""


def __getattr__(name: str):
    """Import `write_timeline` on first use: it loads matplotlib, which a list of segments does not need."""
    if name == "write_timeline":
        from .write import write_timeline

        return write_timeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["write_timeline"]
