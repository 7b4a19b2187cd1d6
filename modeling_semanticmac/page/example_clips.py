"""Two clips to try the page with: a drawn face that speaks, of the synthetic corpus. They show no person."""

from dataclasses import dataclass
from pathlib import Path

from datasets_scripts.synthetic_rendering import render_clip


@dataclass(frozen=True)
class ExampleClip:
    """A clip that is rendered from a seed.

    Args:
        name: of the file, and of the button in words.
        text: what is said.
        scores: planted scores of words, voice and face, from -3 to 3.
        seed: of everything else.
    """

    name: str
    text: str
    scores: tuple[float, float, float]
    seed: int


EXAMPLE_CLIPS = (
    ExampleClip("all agree", "what a wonderful film , so lovely and so funny", (2.5, 2.5, 2.5), 3),
    ExampleClip("words against face", "what a wonderful film , so lovely and so funny", (2.5, -2.0, -2.5), 7),
)


def write_example_clips(folder: str | Path) -> list[Path]:
    """Render the clips of `EXAMPLE_CLIPS` into a folder, as far as they are not there, and return their paths."""
    paths = []
    for clip in EXAMPLE_CLIPS:
        path = Path(folder) / f"example_{clip.name.replace(' ', '_')}.mp4"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            render_clip(path, clip.scores, [clip.seed, 1], [clip.seed, 2])
        paths.append(path)
    return paths


__all__ = ["EXAMPLE_CLIPS", "ExampleClip", "write_example_clips"]
