"""The end of a program that ran in several processes."""

import gc

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

if dist.is_available():
    # Functions of this module have the group of all processes as a default argument. DistributedDataParallel imports it
    # when that group exists; the module would then keep the group, and its threads, until the interpreter ends.
    import torch.distributed.nn.functional  # noqa: F401


def end_process_group() -> None:
    """Destroy the process group, and wait until its threads have ended.

    A thread of gloo that still frees tensors when the interpreter ends aborts the process (SIGABRT, "terminate called
    without an active exception"), and a finished run counts as failed: torch 2.13, pytorch issue 190489. The threads
    end with the last reference to the group, so models wrapped for several processes give theirs up; they cannot be
    used afterwards. Without a process group, nothing is done.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    for found in gc.get_objects():
        if issubclass(type(found), DistributedDataParallel):
            for name in ("reducer", "logger", "process_group"):
                found.__dict__.pop(name, None)
    dist.destroy_process_group()
    gc.collect()


__all__ = ["end_process_group"]
