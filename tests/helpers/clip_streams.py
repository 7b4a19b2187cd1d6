"""Streams as a fusion module gets them, and the parameters that a module of public sizes has."""

import torch
import yaml

from modeling_semanticmac.baselines import Streams, load_system
from modeling_semanticmac.training.run_arguments import RECIPES
from tests.helpers.tiny import SENTIMENT

WIDTHS = {"text": 8, "audio": 5, "vision": 6}
# Widths of text, audio and vision of the corpora for which public parameter counts were measured.
PUBLIC_WIDTHS = {
    "mosi": (768, 5, 20),
    "mosi_1024": (768, 1024, 1024),
    "mosei": (768, 74, 35),
    "ch_sims": (768, 33, 709),
}


def clip_streams(lengths: list[tuple[int, int, int]], seed: int = 0, padding: int = 0) -> Streams:
    """Return streams of `WIDTHS` with the given valid lengths of text, audio and vision.

    The first and the last token of a text are special. `padding` steps are added before and behind. What a length of 0
    leaves of a stream is zeros.
    """
    streams, masks = {}, {}
    for m, (name, width) in enumerate(WIDTHS.items()):
        longest = max(max(row[m] for row in lengths), 1) + 2 * padding
        streams[name] = torch.zeros(len(lengths), longest, width)
        masks[name] = torch.zeros(len(lengths), longest, dtype=torch.bool)
    for row, clip in enumerate(lengths):  # a clip is the same in any company
        generator = torch.Generator().manual_seed(100 * seed + row)
        for m, (name, width) in enumerate(WIDTHS.items()):
            streams[name][row, padding : padding + clip[m]] = torch.randn(clip[m], width, generator=generator)
            masks[name][row, padding : padding + clip[m]] = True
    content = masks["text"].clone()
    for row, (length, *_) in enumerate(lengths):
        if length:
            content[row, [padding, padding + length - 1]] = False
    present = torch.tensor(lengths) > 0
    return Streams(
        text=streams["text"], text_mask=masks["text"], content_mask=content, audio=streams["audio"],
        audio_mask=masks["audio"], vision=streams["vision"], vision_mask=masks["vision"], modality_mask=present,
    )  # fmt: skip


def public_count(name: str, corpus: str, **changes) -> int:
    """Return the number of parameters of a system with the options of its recipe, for one score.

    Args:
        name: of the system in the registry.
        corpus: a key of `PUBLIC_WIDTHS`.
        changes: options in place of the recipe's.
    """
    recipe = RECIPES / "baselines" / f"{corpus.removesuffix('_1024')}_{name}.yaml"
    options = yaml.safe_load(recipe.read_text(encoding="utf-8")).get("architecture_options", {}) | changes
    system, widths = load_system(name), dict(zip(WIDTHS, PUBLIC_WIDTHS[corpus]))
    with torch.device("meta"):
        module = system(system.Options(**options), widths, SENTIMENT)
    return sum(parameter.numel() for parameter in module.parameters())
