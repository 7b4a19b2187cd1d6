"""Who encodes the clips of an extraction: this process, the processes that accelerate started, or actors of Ray."""

from .local_engine import Engine
from .ray_engine import RayEngine

ENGINES = ["local", "accelerate", "ray"]


def make_engine(name: str | None = None, num_actors: int | None = None, ray_address: str | None = None) -> Engine:
    """Return the engine of a name.

    Args:
        name: "local", "accelerate" or "ray"; None: one process, or all that were started.
        num_actors, ray_address: of Ray.

    Raises:
        ValueError: an unknown name.
        ImportError: Ray is not installed.
    """
    if name == "ray":
        return RayEngine(num_actors=num_actors, address=ray_address)
    if name not in (None, *ENGINES):
        raise ValueError(f"engine is {name!r}; expected {', '.join(ENGINES)}.")
    return Engine(name)


__all__ = ["ENGINES", "Engine", "RayEngine", "make_engine"]
