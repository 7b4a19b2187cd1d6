"""The options of optimizer and schedule at resume: those of this run, not those stored in the checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keep_optimizer_options(optimizer, scheduler) -> Iterator[None]:
    """Keep learning rates, weight decay and the other options while a checkpoint is loaded.

    PyTorch restores them together with the moments. With the same arguments nothing changes, to the last bit; with
    other arguments the new ones take effect, where they would otherwise be ignored silently.

    Args:
        optimizer: of the training; its parameter groups may be loaded within the context.
        scheduler: of the training; one with a rate per group as a function of the step (`LambdaLR`) is set to the new
            rates.
    """
    if optimizer is None or scheduler is None:
        yield
        return
    options = [
        {name: value for name, value in group.items() if name not in ("params", "lr")}
        for group in optimizer.param_groups
    ]
    scheduler = getattr(scheduler, "scheduler", scheduler)  # Accelerate wraps it
    base_rates = list(getattr(scheduler, "base_lrs", []))
    yield
    for group, own in zip(optimizer.param_groups, options):
        group.update(own)
    if hasattr(scheduler, "lr_lambdas"):
        scheduler.base_lrs = base_rates
        rates = [rate * factor(scheduler.last_epoch) for rate, factor in zip(base_rates, scheduler.lr_lambdas)]
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate
        scheduler._last_lr = rates


__all__ = ["keep_optimizer_options"]
