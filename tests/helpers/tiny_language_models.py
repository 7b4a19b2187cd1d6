"""Tiny random language models of the kinds that users fine-tune, saved as folders."""

from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoModel

SMALL = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
GROUPED = SMALL | dict(num_key_value_heads=1, head_dim=8)
TEXT = GROUPED | dict(max_position_embeddings=64, pad_token_id=0)
VISION = dict(
    hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=14, patch_size=7
)

# As DeBERTa-v3: relative positions only.
DEBERTA = SMALL | dict(
    pad_token_id=0, max_position_embeddings=64, relative_attention=True, position_biased_input=False,
    pos_att_type=["p2c", "c2p"],
)  # fmt: skip

# Name -> the model type of transformers and the fields of its configuration.
LANGUAGE_MODELS: dict[str, tuple[str, dict]] = {
    "llama": ("llama", TEXT),
    "qwen3": ("qwen3", TEXT),
    "gemma3": ("gemma3_text", TEXT | dict(sliding_window=16)),
    "gemma3_with_vision": ("gemma3", dict(text_config=TEXT | dict(sliding_window=16), vision_config=VISION)),
    "smollm3": ("smollm3", TEXT),
    "gpt2": ("gpt2", dict(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=64)),
    "modernbert": ("modernbert", SMALL | dict(pad_token_id=0, max_position_embeddings=64)),
    "eurobert": ("eurobert", TEXT),
    "deberta_v2": ("deberta-v2", DEBERTA),
    "xlnet": ("xlnet", dict(vocab_size=64, d_model=16, n_layer=2, n_head=2, d_inner=32)),
    "roberta": ("roberta", SMALL | dict(pad_token_id=1, max_position_embeddings=64)),
    "t5": ("t5", dict(vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
}


def save_language_model(name: str, folder: Path, seed: int = 0, **changes) -> Path:
    """Save a tiny random language model, with changed fields of its configuration, into a folder; return the folder."""
    kind, fields = LANGUAGE_MODELS[name]
    torch.manual_seed(seed)
    AutoModel.from_config(CONFIG_MAPPING[kind](**fields | changes)).save_pretrained(folder)
    return folder
