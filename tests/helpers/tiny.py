"""Tiny things that tests share: a word tokenizer, a small configuration, random batches, a small labelled corpus."""

import datasets
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from modeling_semanticmac import SemanticMACConfig, TaskSpecification

WORDS = "good bad fine awful great poor the a it was is and not very film talk day".split()
SENTIMENT = TaskSpecification("sentiment", "regression", ("sentiment",), (-3.0, 3.0), "mosi")
SARCASM = TaskSpecification("sarcasm", "single_label_classification", ("no", "yes"), None, "weighted")
EMOTIONS = TaskSpecification("emotion", "multi_label_classification", ("happy", "sad", "angry"), None, "multi_label")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A BERT-like tokenizer of a few words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def text_config(**changes) -> dict:
    """A BERT of two layers."""
    fields = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 50,
    }
    return {"model_type": "bert", "max_position_embeddings": 64, **fields, **changes}


def tiny_config(task: TaskSpecification = SENTIMENT, **changes) -> SemanticMACConfig:
    """A SemanticMAC of width 16 over embeddings of width 12 (audio) and 20 (vision)."""
    sizes = {"hidden_size": 16, "num_attention_heads": 4, "num_latents": 5, "num_bridge_tokens": 3, "max_frames": 8}
    widths = {"audio_width": 12, "vision_width": 20}
    return SemanticMACConfig(**{"text_config": text_config(), **sizes, **widths, **task.config_fields(), **changes})


def random_batch(lengths: list[tuple[int, int, int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch with the given valid lengths of (text, audio, vision); padding holds garbage, NaN among it."""
    generator = torch.Generator().manual_seed(seed)
    batch = {}
    longest = [max(max(row[m] for row in lengths), 1) for m in range(3)]
    masks = [(torch.arange(longest[m]) < torch.tensor([[row[m]] for row in lengths])).long() for m in range(3)]
    batch["input_ids"] = torch.randint(4, 20, masks[0].shape, generator=generator)
    batch["attention_mask"] = masks[0]
    for name, width, mask in (("audio", 12, masks[1]), ("vision", 20, masks[2])):
        embeds = torch.randn(*mask.shape, width, generator=generator)
        batch[f"{name}_embeds"] = embeds.masked_fill(mask[..., None] == 0, float("nan"))
        batch[f"{name}_mask"] = mask
    return batch


def word_corpus(size: int, task: TaskSpecification = SENTIMENT, seed: int = 0) -> datasets.Dataset:
    """Clips without media whose label depends on their words, in the clip schema."""
    generator = torch.Generator().manual_seed(seed)
    value = {"good": 1.0, "great": 2.0, "fine": 0.5, "bad": -1.0, "awful": -2.0, "poor": -1.5}
    rows = []
    for index in range(size):
        words = [
            WORDS[i]
            for i in torch.randint(
                len(WORDS), (int(torch.randint(2, 7, (), generator=generator)),), generator=generator
            )
        ]
        score = max(-3.0, min(3.0, sum(value.get(word, 0.0) for word in words)))
        label = score
        if task.is_multi_label:
            label = [int(score > 0), int(score < 0), int(score < -1)]
        elif not task.is_regression:
            label = int(score > 0)
        media = {"path": "", "start": None, "end": None, "crop": None}
        rows.append(
            {
                "id": f"clip_{index}",
                "video_id": f"video_{index // 3}",
                "speaker": "",
                "media": media,
                "text": " ".join(words),
                "context": [],
                "label": label,
                "label_text": None,
                "label_audio": None,
                "label_vision": None,
            }
        )
    return datasets.Dataset.from_list(rows)


def classes(**probabilities):
    return {"label": "joy", "score": 0.5, "probabilities": probabilities}
