"""Run a script as one of the processes that work together, end its process group, and fail if a thread of it is left.

    python -m torch.distributed.run --nproc_per_node=2 --standalone -m tests.helpers.worker SCRIPT [ARGUMENT ...]

Threads of gloo that outlive the group can abort a process at its end, though rarely; here they always fail it.
"""

import runpy
import sys
from pathlib import Path

import torch

from modeling_semanticmac.runs.process_group import end_process_group


def gloo_threads() -> list[str]:
    """Return the names of this process's threads of gloo; on other systems than Linux none are seen."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        names.append(path.read_text().strip())
    return sorted(name for name in names if "gloo" in name)


def main() -> int:
    """Return the exit code of the script."""
    torch.set_num_threads(1)
    sys.argv = sys.argv[1:]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    if code == 0:
        end_process_group()
        assert not gloo_threads(), gloo_threads()
    return code


if __name__ == "__main__":
    sys.exit(main())
