"""Comparison systems with tiny language models, batches for them, and trainers."""

import torch
from torch.nn.utils.rnn import pad_sequence

from modeling_semanticmac import FusionConfig, FusionForAffect
from modeling_semanticmac.baselines import SYSTEMS
from modeling_semanticmac.training.affect_trainer import AffectTrainer
from modeling_semanticmac.training.collator import SemanticMACCollator
from tests.helpers.tiny import SENTIMENT, text_config, word_corpus
from tests.helpers.trainers import CLIPS, WordProcessor, arguments, fake_store

CLS, SEP = 2, 3
WIDTHS = {"audio": 12, "vision": 20}
# Options that keep the tests fast; a system that is not named has its defaults.
TINY = {
    "almt": {
        "width": 16, "num_tokens": 2, "num_heads": 2, "feed_forward_width": 16, "depth": 2, "fusion_layers": 1,
    },
    "emoe": {"width": 16, "num_heads": 2, "num_layers": 1},
    "av_mc": {"text_width": 16, "audio_width": 16, "vision_width": 16},
    "bbfn": {"width": 8, "num_heads": 2, "num_layers": 2},
    "c_mfn": {
        "text_hidden": 16, "audio_hidden": 8, "vision_hidden": 16, "memory_width": 16, "retain_hidden": 16,
        "context_width": 8,
    },
    "i_attention": {"text_hidden": 8, "width": 20},
    "me2et": {"width": 8, "num_heads": 2, "feed_forward_width": 16},
    "mmcl": {"width": 16, "num_layers": 1, "num_heads": 2},
    "mtmd": {"multimodal_width": 16, "text_width": 16},
    "mulot": {"width": 16, "num_heads": 2, "iterations": 10},
    "tbje": {
        "width": 16, "num_layers": 2, "num_heads": 2, "feed_forward_width": 32, "flat_width": 16, "max_steps": 9,
    },
    "emoembs": {"text_hidden": 8, "audio_hidden": 6, "vision_hidden": 6, "num_layers": 1},
    "fe2e": {"media_width": 8, "num_layers": 1, "num_heads": 2},
    "graph_mfn": {"text_hidden": 8, "audio_hidden": 8, "vision_hidden": 8, "memory_width": 16, "graph_width": 8},
    "mesm": {"media_width": 8, "num_layers": 1, "num_heads": 2},
    "mfm": {
        "label_latent": 16, "text_latent": 8, "audio_latent": 8, "vision_latent": 8, "label_factor": 16,
        "audio_factor": 8, "vision_factor": 8, "text_hidden": 16, "audio_hidden": 8, "vision_hidden": 16,
        "memory_width": 8, "discrepancy_weight": 0.1,
    },
    "missmodal": {"width": 16},
    "ef_lstm": {"hidden_size": 16, "num_layers": 2},
    "lf_dnn": {"text_hidden": 16, "vision_hidden": 16, "text_output": 16, "fusion_hidden": 16},
    "lf_lstm": {"media_width": 8},
    "lf_transformer": {"media_width": 8, "num_layers": 1, "num_heads": 2},
    "mfn": {"text_hidden": 16, "audio_hidden": 8, "vision_hidden": 16, "memory_width": 16, "retain_hidden": 16},
    # At the large rates of these tests the difference loss of public code makes all clips alike.
    "misa": {"width": 16, "media_width": 8, "feed_forward_width": 32, "norm_gradient": True},
    "mmim": {"fusion_width": 16},
    "mult": {"width": 12, "num_heads": 2, "num_layers": 1, "self_layers": 1},
    "tfn": {"text_hidden": 16, "audio_hidden": 8, "vision_hidden": 8, "text_output": 8, "fusion_hidden": 16},
}  # fmt: skip
# Systems whose trainings are resumed and spread over two processes in tests. Others keep nothing between steps, draw
# nothing but dropout and compare no clips: their trainings differ from these in the forward pass alone.
TRAINED = (
    "bc_lstm", "dialogue_rnn", "ef_lstm", "lf_dnn", "lf_lstm", "lf_transformer", "lmf", "mag", "mean_pooling", "mfn",
    "misa", "missmodal", "mmim", "mtmd", "mult", "self_mm", "tfn",
)  # fmt: skip
DRAWING = ("av_mc", "mfm", "mmcl")  # draw random numbers of their own, each process for its clips
CLIP_SYSTEMS = sorted(name for name, system in SYSTEMS.items() if system.level == "clip")


def system_model(name: str, task=SENTIMENT, **fields) -> FusionForAffect:
    """Return a system on a BERT of one layer, with weights that depend on its name only."""
    torch.manual_seed(0)
    text = text_config(hidden_size=16, num_hidden_layers=1, intermediate_size=32)
    config = FusionConfig(
        **{"architecture": name, "options": TINY.get(name), "special_tokens": [0, CLS, SEP], "text_config": text,
           "audio_width": WIDTHS["audio"], "vision_width": WIDTHS["vision"], **task.config_fields(), **fields}
    )  # fmt: skip
    return FusionForAffect(config)


def clip_rows(lengths: list[tuple[int, int, int]], seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Return clips with the given numbers of words (0: no text), audio and vision frames."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for words, audio, vision in lengths:
        ids = torch.randint(4, 20, (words,), generator=generator)
        text = torch.cat([torch.tensor([CLS]), ids, torch.tensor([SEP])]) if words else ids
        row = {"input_ids": text, "audio": torch.randn(audio, WIDTHS["audio"], generator=generator)}
        rows.append(row | {"vision": torch.randn(vision, WIDTHS["vision"], generator=generator)})
    return rows


def batch_of(rows: list[dict[str, torch.Tensor]], padding: int = 0) -> dict[str, torch.Tensor]:
    """Pad clips to a batch, `padding` positions more than needed; what is padded is NaN, or a word."""
    batch = {}
    for stream in ("input_ids", "audio", "vision"):
        name, mask = (stream, "attention_mask") if stream == "input_ids" else (f"{stream}_embeds", f"{stream}_mask")
        values = [row[stream] for row in rows]
        longest = max(1, *map(len, values)) + padding
        fill = 7 if stream == "input_ids" else float("nan")
        like = values[0].new_full((longest, *values[0].shape[1:]), fill)
        batch[name] = pad_sequence([*values, like], batch_first=True, padding_value=fill)[:-1]
        batch[mask] = (torch.arange(longest) < torch.tensor([[len(value)] for value in values])).long()
    return batch


def system_trainer(folder, name: str, **changes) -> AffectTrainer:
    """Return a trainer of a system on ten clips of words, some without audio or vision: three epochs of three steps."""
    model = system_model(name)
    clips = word_corpus(CLIPS)
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(0, 4, (2, CLIPS), generator=generator).tolist()
    store = {
        clip: tuple(x + torch.randn(x.shape, generator=generator).half() for x in streams)
        for clip, streams in fake_store(clips, *lengths).items()
    }
    options = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-3, **changes}
    collator = SemanticMACCollator(WordProcessor(), SENTIMENT, store)
    return AffectTrainer(model, arguments(folder, **options), clips, data_collator=collator)


__all__ = [
    "CLIP_SYSTEMS", "DRAWING", "TINY", "TRAINED", "WIDTHS", "batch_of", "clip_rows", "system_model", "system_trainer",
]  # fmt: skip
