"""Load from the Hub what another user loads, in a fresh process: `python hub_reader.py CLIP package|trust`.

The address of the Hub is in the environment. With "trust" the package cannot be imported by its name, so that only the
code in the repository is used. The script prints one line of JSON.
"""

import importlib.abc
import json
import sys

CLIP, MODE = sys.argv[1:]


class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "modeling_semanticmac":
            raise ModuleNotFoundError(f"{name} is refused here")


if MODE == "trust":
    sys.meta_path.insert(0, Refuse())
    OPTIONS = {"trust_remote_code": True}
else:
    import modeling_semanticmac  # noqa: F401

    OPTIONS = {}

import torch  # noqa: E402
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor, pipeline  # noqa: E402

torch.set_num_threads(1)


@torch.no_grad()
def answers(name: str) -> dict:
    """Return the outputs of the head, of the base model and of the pipeline."""
    inputs = AutoProcessor.from_pretrained(name, **OPTIONS)(text="good day", media=CLIP)
    head = AutoModelForVideoClassification.from_pretrained(name, **OPTIONS)
    base = AutoModel.from_pretrained(name, **OPTIONS)
    assert (MODE == "trust") == type(head).__module__.startswith("transformers_modules.")
    predict = pipeline("video-affect", model=name, device="cpu", **OPTIONS)
    found = {"logits": head(**inputs).logits, "multimodal": base(**inputs).multimodal_embeds}
    found = {key: value.flatten().tolist() for key, value in found.items()}
    unnamed = pipeline(model=name, device="cpu", **OPTIONS)  # by the tag of the card, or by the code's own name
    assert type(unnamed) is type(predict) and unnamed.task == "video-affect"
    return {**found, "pipeline": predict({"video": CLIP, "text": "good day"})["score"]}


def card_and_corpus() -> dict:
    """Return the card as huggingface_hub reads and checks it, and the pushed corpus as datasets loads it."""
    import datasets
    from huggingface_hub import ModelCard

    cards = {}
    for name in ("org/first", "org/alone"):
        card = ModelCard.load(name)
        card.validate()
        again = ModelCard(str(card))
        assert str(again) == str(card) and again.data.to_dict() == card.data.to_dict()
        cards[name] = card.data.to_dict()
    try:
        ModelCard("---\nlicense: other\nmodel-index:\n- name: x\n---\n").validate()
        refused = False
    except ValueError:
        refused = True
    clips = datasets.load_dataset("org/clips", "sentiment", split="train")
    return {"cards": cards, "a bad card is refused": refused, "clips": [row["text"] for row in clips]}


found = {"first": answers("org/first"), "complete": answers("org/complete")}
if MODE == "package":
    found |= card_and_corpus()
print(json.dumps(found))
