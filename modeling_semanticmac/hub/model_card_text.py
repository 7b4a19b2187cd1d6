"""The parts of a model card that follow from the configuration: task, parts, licences, loading, limits, citation.

A run's card adds what was trained and measured (`model_card.py` of the package).
"""

import os
from dataclasses import dataclass, replace

from huggingface_hub import ModelCardData, model_info
from transformers import PreTrainedConfig

from ..configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from ..configuration_semanticmac import AffectConfig
from ..pipeline_semanticmac import TASK
from .responsible_use import DOCUMENT, LAW, stated_use

PAPER = "https://arxiv.org/abs/2408.07694"
CODE_LICENSE = "Apache-2.0"
IMAGEBIND_LICENSE = "cc-by-nc-sa-4.0"
RELEASED = {"imagebind_vision": ImageBindVisionConfig, "imagebind_audio": ImageBindAudioConfig}
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "projection_dim")
STARTING_MODEL = "model trained on from"
TAGS = ["semanticmac", "multimodal", "video", "audio", "affective-computing"]

LOAD = """\
```python
from transformers import pipeline
import modeling_semanticmac  # without the package: trust_remote_code=True in its place

predict = pipeline("video-affect", model="{repo_id}")
predict({{"video": "clip.mp4", "text": "I did not expect that at all."}})
```

returns {answer}, and the same for text, audio, vision and the semantics that they share alone. Missing modalities are
ignored. For tensors:

```python
from transformers import AutoModelForVideoClassification, AutoProcessor

model = AutoModelForVideoClassification.from_pretrained("{repo_id}")
processor = AutoProcessor.from_pretrained("{repo_id}")
output = model(**processor(text="I did not expect that at all.", media="clip.mp4"))
output.logits, output.subtask_logits
```

`AutoModel` returns the representations. `trust_remote_code=True` runs the Python files of this repository: read them
first, or install the package.
"""
LOAD_SYSTEM = """\
```python
from transformers import pipeline
import modeling_semanticmac  # this model needs the package

predict = pipeline("video-affect", model="{repo_id}")
predict({{"video": "clip.mp4", "text": "I did not expect that at all."}})
```

returns {answer}. Missing modalities are ignored. For tensors:

```python
from transformers import AutoModelForVideoClassification, AutoProcessor

model = AutoModelForVideoClassification.from_pretrained("{repo_id}")
processor = AutoProcessor.from_pretrained("{repo_id}")
model(**processor(text="I did not expect that at all.", media="clip.mp4")).logits
```
"""
LOAD_VECTORS = """\
The model reads vectors of text of width {width}, made as those of the file below, and no words. Clips of a corpus with
such a file are predicted by

```bash
semanticmac train --model_name_or_path {repo_id} --features FILE --corpus NAME --data_dir DIR --do_predict
```

and tensors by

```python
import modeling_semanticmac  # without the package, for SemanticMAC itself: trust_remote_code=True in its place
from transformers import AutoModelForVideoClassification

model = AutoModelForVideoClassification.from_pretrained("{repo_id}")
model(inputs_embeds=vectors, attention_mask=mask).logits  # (B, L, {width}), (B, L); with audio_embeds and others
```
"""
LIMITS = (
    """\
A score says how an utterance would be **rated by the annotators of the corpus**, from how people like those in it
speak. It does not say what somebody feels, thinks or means. Other languages, cultures, accents, ages, cameras and
situations than those of the corpus were not tested, and errors there may be larger for some groups than for others;
{groups}.

The model is meant for research, and for looking at your own recordings or those of people who agreed. **Not for
decisions about people**: not for hiring, teaching, credit, policing, border control, health or insurance, and not for
watching people who did not agree. Recognising emotions at work and in education is, with few exceptions, prohibited in
the European Union ([Regulation (EU) 2024/1689]("""
    + LAW
    + """), article 5(1)(f)). Where a model reads faces or voices,
people who are exposed to it must be told (article 50(3)); recordings of people are personal data (GDPR). A model that
reads text alone is another matter. More: `"""
    + DOCUMENT
    + """` of the package.
"""
)
METHOD = "The method is that of the paper *End-to-end Semantic-centric Video-based Multimodal Affective Computing*:\n\n"
SYSTEM = (
    "The system is described in a publication of its own, which docs/baselines.md of the package names. It was trained "
    "beside the method of this paper:\n\n"
)
CITATION = """\
```bibtex
@article{lin2024semanticmac,
  title={End-to-end Semantic-centric Video-based Multimodal Affective Computing},
  author={Lin, Ronghao and Zeng, Ying and Mai, Sijie and Hu, Haifeng},
  journal={arXiv preprint arXiv:2408.07694},
  year={2024},
  url={https://arxiv.org/abs/2408.07694}
}
```
"""


@dataclass(frozen=True)
class Part:
    """A pretrained part of a model, as described in its card.

    Args:
        role: "language model", "vision tower", "audio tower", or STARTING_MODEL.
        name: repository on the Hub; None: its weights are in the model's own repository, or nobody else has them.
        revision: commit that it was loaded from; None: unknown.
        license: identifier of its licence on the Hub; None: unknown.
        note: further remarks.
        is_imagebind: whether it holds Meta's ImageBind weights, as far as its configuration and name show.
        is_other_imagebind: whether it has ImageBind's architecture in a size that Meta did not release.
    """

    role: str
    name: str | None
    revision: str | None = None
    license: str | None = None
    note: str = ""
    is_imagebind: bool = False
    is_other_imagebind: bool = False


def hub_license(name: str, revision: str | None = None) -> str | None:
    """Return the licence that a repository on the Hub states; None where it states none or the Hub is unreachable."""
    try:
        data = model_info(name, revision=revision, timeout=10).card_data
    except Exception:  # no card must fail because the Hub was slow, private or away
        return None
    return data.get("license") if data else None


def language_model_part(config: AffectConfig, revision: str | None = None) -> Part:
    """Return the language model, whose tuned weights are part of the model; or the vectors of text in its place."""
    if not config.reads_words:
        return features_part("text", config.text_features)
    name = getattr(config.text_config, "_name_or_path", None) or None
    if name is None or os.path.isabs(name) or os.path.isdir(name):
        kind = getattr(config.text_config, "model_type", "language model")
        return Part("language model", None, note=f"a {kind} of the author's own")
    return Part("language model", name, revision, hub_license(name, revision))


def starting_part(name: str | None) -> list[Part]:
    """Return the SemanticMAC model that a run started from, if it is on the Hub."""
    if name is None or os.path.isabs(name) or os.path.isdir(name):
        return []
    return [Part(STARTING_MODEL, name, None, hub_license(name))]


def tower_parts(config: AffectConfig, home: str | None = None) -> list[Part]:
    """Return the towers that a configuration refers to.

    Args:
        home: folder or repository of the model, which holds the towers without a name.
    """
    parts = []
    for modality in ("vision", "audio"):
        reference = getattr(config, f"{modality}_encoder")
        if reference is not None:
            part = _tower(f"{modality} tower", reference, home)
            adapted = "with a low-rank adapter, which is part of the model"
            parts.append(replace(part, note=f"{part.note}, {adapted}") if reference.get("adapter") else part)
        features = getattr(config, f"{modality}_features")
        if features is not None:
            parts.append(features_part(modality, features))
    return parts


def features_part(modality: str, features: dict | None) -> Part:
    """Return the precomputed features that a model was trained on.

    Args:
        modality: of them.
        features: how the configuration names the file; None: it does not.
    """
    source = "words" if modality == "text" else "media"
    if features is None:
        return Part(f"{modality} features", None, note=f"precomputed; {source} give none")
    known = features["known_as"] or "no released file that is known here"
    note = f"precomputed, of the file `{features['file']}` ({known}); {source} give none"
    return Part(f"{modality} features", None, note=note)


def _tower(role: str, reference: dict, home: str | None) -> Part:
    source = reference.get("name_or_path") or home
    where = {name: reference[name] for name in ("revision", "subfolder") if reference.get(name)}
    try:
        found = PreTrainedConfig.get_config_dict(source, **where)[0] if source else {}
    except (OSError, ValueError):
        found = {}
    kind = found.get("model_type")
    name = reference.get("name_or_path")
    if name is not None and (os.path.isabs(name) or os.path.isdir(name)):
        name = None
    revision = reference.get("revision")
    if kind in RELEASED:
        released = RELEASED[kind]()
        if all(found.get(size, getattr(released, size)) == getattr(released, size) for size in SIZES):
            return Part(role, name, revision, IMAGEBIND_LICENSE, "ImageBind by Meta, non-commercial", True)
        note = "ImageBind's architecture in a size that Meta did not release: random weights, or the author's own"
        return Part(role, name, revision, None, note, is_other_imagebind=True)
    if kind is None and "imagebind" in (name or "").lower():
        return Part(role, name, revision, IMAGEBIND_LICENSE, "ImageBind by Meta, by its name", True)
    return Part(role, name, revision, hub_license(name, revision) if name else None, kind or "of unknown kind")


def license_fields(parts: list[Part]) -> dict:
    """Return the licence of a model for the metadata of its card: the most restrictive one known, or "other"."""
    if any(part.is_imagebind for part in parts):
        return {"license": IMAGEBIND_LICENSE}
    return {"license": "other", "license_name": "terms-of-its-parts"}


def parts_section(parts: list[Part]) -> str:
    """Return the table of pretrained parts with revisions and licences, and the resulting terms for users."""
    lines = ["| part | from | revision | licence | note |", "| --- | --- | --- | --- | --- |"]
    for part in parts:
        name = f"[{part.name}](https://huggingface.co/{part.name})" if part.name else "no repository of its own"
        lines.append(f"| {part.role} | {name} | {part.revision or ''} | {part.license or 'unknown'} | {part.note} |")
    text = "\n".join(lines) + "\n\n"
    if any(part.is_imagebind for part in parts):
        text += (
            "**Non-commercial**: the model was trained on embeddings of ImageBind, whose weights are CC BY-NC-SA 4.0 "
        )
        text += "by Meta, and is bound to that licence.\n"
    else:
        text += "The weights are subject to the terms of these parts and of the corpus together; where one of them is "
        text += "unknown, ask before use.\n"
    return text + f"The Python files of the package are {CODE_LICENSE}.\n"


def task_sentence(config: AffectConfig) -> str:
    """Return what is predicted, in a sentence."""
    task = config.task
    if task.label_range is not None:  # a regression
        return f"It predicts a score of {task.name} from {task.label_range[0]:g} to {task.label_range[1]:g}."
    names = ", ".join(task.label_names)
    return f"It predicts {task.name}: {'each of' if task.is_multi_label else 'one of'} {names}."


def load_section(config: AffectConfig, repo_id: str) -> str:
    """Return how to load the model, in five lines."""
    answer = "the score" if config.task.is_regression else "the probability of each class"
    if not config.reads_words:
        return LOAD_VECTORS.format(repo_id=repo_id, width=config.text_width)
    return (LOAD_SYSTEM if system_of(config) else LOAD).format(repo_id=repo_id, answer=answer)


def limits_section(config: AffectConfig, measured: bool = False) -> str:
    """Return what the model is for, as far as its configuration says, and its limits.

    Args:
        measured: whether the card has errors of groups.
    """
    stated = stated_use(config)
    groups = "groups of the test clips are compared above" if measured else "nothing here measures that"
    return (f"{stated}\n\n" if stated else "") + LIMITS.format(groups=groups)


def system_of(config: AffectConfig) -> str | None:
    """Return the name of the comparison system that a configuration states; None for SemanticMAC."""
    return getattr(config, "architecture", None)


def model_kind(config: AffectConfig) -> str:
    """Return what a model is, for a sentence about it."""
    system = system_of(config)
    return f"comparison system `{system}` of [SemanticMAC]({PAPER})'s package" if system else f"[SemanticMAC]({PAPER})"


def citation(config: AffectConfig) -> str:
    """Return what to cite."""
    return (SYSTEM if system_of(config) else METHOD) + CITATION


def metadata(config: AffectConfig, parts: list[Part], repo_id: str, **more) -> ModelCardData:
    """Return the metadata of a card; `more` is passed to `ModelCardData`."""
    names = {part.role: part.name for part in parts if part.name and part.name != repo_id}
    base = names.get(STARTING_MODEL) or names.get("language model")
    return ModelCardData(
        library_name="transformers", pipeline_tag=TASK,
        tags=[*TAGS, "video-classification", config.task.name, system_of(config) or "arxiv:2408.07694"],
        base_model=base, model_name=repo_id.rpartition("/")[2] if more.get("eval_results") else None,
        **license_fields(parts), **more,
    )  # fmt: skip


def config_card(config: AffectConfig, repo_id: str, home: str | None = None) -> str:
    """Return the card of a model whose training is not recorded.

    Args:
        home: folder or repository that the model came from.
    """
    parts = [language_model_part(config), *tower_parts(config, home)]
    data = metadata(config, parts, repo_id).to_yaml()
    origin = "Not written down here: the model was uploaded by itself and not from the folder of a run.\n"
    if home and not os.path.isdir(home):
        origin += f"It was loaded from [{home}](https://huggingface.co/{home}), whose card may say more.\n"
    sections = {
        "How to load it": load_section(config, repo_id),
        "Training and results": origin,
        "Parts and licences": parts_section(parts),
        "What it is for, and what not": limits_section(config),
        "Citation": citation(config),
    }
    intro = f"# {repo_id.rpartition('/')[2]}\n\n"
    intro += f"A {model_kind(config)} of text, audio and vision. {task_sentence(config)}\n"
    return f"---\n{data}\n---\n\n{intro}\n" + "\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


__all__ = ["Part", "config_card"]
