"""The columns of a clip, the same for every corpus."""

from pathlib import Path

import datasets

from modeling_semanticmac.configuration_semanticmac import TaskSpecification


def clip_features(task: TaskSpecification) -> datasets.Features:
    """Return the columns of a clip, one row an utterance, with the label of the task.

    `media.path` is absolute, "" where the clip has no media; `start` and `end` are seconds in that file (none: the
    whole file), `crop` says which half of the picture shows the speaker (none: the whole picture). `context` holds the
    earlier utterances, oldest first, `context_speakers` who spoke them (empty: unknown). `label` is a score, a class id
    or a multi-hot list; `label_text`, `label_audio`, `label_vision` are scores of one modality, None where they are not
    annotated.
    """
    if task.is_regression:
        label = datasets.Value("float32")
    elif task.is_multi_label:
        label = datasets.List(datasets.Value("int8"), length=task.num_labels)
    else:
        label = datasets.ClassLabel(names=list(task.label_names))
    text, seconds, score = datasets.Value("string"), datasets.Value("float64"), datasets.Value("float32")
    media = {"path": text, "start": seconds, "end": seconds, "crop": text}
    columns = {"id": text, "video_id": text, "speaker": text, "media": media, "text": text}
    columns |= {"context": datasets.List(text), "context_speakers": datasets.List(text), "label": label}
    columns |= {"label_text": score, "label_audio": score, "label_vision": score}
    return datasets.Features(columns)


def make_clip(id: str, label, text: str = "", media: Path | None = None, **columns) -> dict:
    """Return a clip with every column of the schema; what is not given is absent."""
    clip = {"id": id, "video_id": id, "speaker": "", "text": text, "context": [], "label": label}
    clip |= {"context_speakers": [], "label_text": None, "label_audio": None, "label_vision": None}
    clip["media"] = {"path": str(media) if media else "", "start": None, "end": None, "crop": None}
    unknown = columns.keys() - clip.keys()
    if unknown:
        raise ValueError(f"a clip has no column {sorted(unknown)}; it has {', '.join(clip)}.")
    return clip | columns


def context_of(said: list[str], place: int, earlier: int = -1, later: int = 0) -> list[str]:
    """Return the context of an utterance: the utterances of its dialogue before it, then those after it.

    Args:
        said: all utterances of the dialogue in order, or who said them.
        place: of the utterance.
        earlier: number of those before it, the nearest; -1: all.
        later: number of those after it, the nearest; -1: all.

    Raises:
        ValueError: a number is below -1.
    """
    for name, count in (("earlier_context", earlier), ("later_context", later)):
        if count < -1:
            raise ValueError(f"{name} is {count}; expected a number of utterances, or -1 for all.")
    start = 0 if earlier == -1 else max(place - earlier, 0)
    end = len(said) if later == -1 else place + 1 + later
    return said[start:place] + said[place + 1 : end]


def limited(media: dict, max_seconds: float) -> dict:
    """Return the media of a clip with a cut of at most `max_seconds`.

    An end without a start only limits what is read; the file may be shorter.
    """
    end = (media["start"] or 0.0) + max_seconds
    return media | {"end": end if media["end"] is None else min(media["end"], end)}


__all__ = ["clip_features", "context_of", "limited", "make_clip"]
