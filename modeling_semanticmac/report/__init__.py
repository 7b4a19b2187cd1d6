"""`report.md` and `report.json` of a run, and the comparison of runs."""

from .page import main, write_report

__all__ = ["main", "write_report"]
