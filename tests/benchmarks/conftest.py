"""One table with the ratios of all benchmarks at the end of a run; with WRITE_DOCS=1 the tables of
docs/performance.md too.
"""

import os

import pytest

from .recording import RECORDER


@pytest.fixture(scope="session")
def record():
    """Where a benchmark leaves its figures."""
    return RECORDER


def pytest_terminal_summary(terminalreporter):
    """Print the table, and write the page where asked."""
    if RECORDER.ratios:
        terminalreporter.write_line(f"\n{RECORDER.summary()}")
    if os.environ.get("WRITE_DOCS") == "1" and RECORDER.tables:
        RECORDER.write()
        terminalreporter.write_line("docs/performance.md: " + ", ".join(RECORDER.tables))
