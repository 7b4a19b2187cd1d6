"""Small feature files in every public form, each with its traps."""

import pickle
from pathlib import Path

import numpy as np


def _rows(generator, length: int, width: int) -> np.ndarray:
    return generator.normal(size=(length, width)).astype(np.float32)


def padded(sequences: list[np.ndarray], length: int, side: str = "back") -> np.ndarray:
    """Return sequences (T, D) padded with zeros to one length: (n, length, D)."""
    out = np.zeros((len(sequences), length, sequences[0].shape[1]), np.float32)
    for row, rows in zip(out, sequences):
        if len(rows):
            row[-len(rows) :] = rows if side == "front" else 0
            row[: len(rows)] = row[: len(rows)] if side == "front" else rows
    return out


def mmsa_id(name: str) -> str:
    """Return `<video>$_$<clip>`, the name split at its first underscore where it is not yet written so."""
    return name if "$_$" in name else name.replace("_", "$_$", 1)


def write_mmsa(
    path: Path, ids: dict[str, list[str]], aligned: bool = False, extra: dict | None = None, text_width: int = 768
) -> dict:
    """Write MMSA's form: audio of width 5, vision of width 20, three tokens to nine, scores; return the sequences by
    id.
    """
    generator, content, expected = np.random.default_rng(0), dict(extra or {}), {}
    for split, names in ids.items():
        lengths = [3 + row % 5 for row in range(len(names))]
        audio = [_rows(generator, n if aligned else 2 * n, 5) for n in lengths]
        vision = [_rows(generator, n if aligned else n + 1, 20) for n in lengths]
        tokens = np.zeros((len(names), 3, 9), np.int64)
        for row, n in enumerate(lengths):
            tokens[row, 0, :n], tokens[row, 1, :n] = 100 + np.arange(n), 1
        part = {
            "raw_text": np.array([f"text of {name}" for name in names]),
            "audio": padded(audio, 9 if aligned else 14),
            "vision": padded(vision, 9 if aligned else 11),
            "text": padded([_rows(generator, n, text_width) for n in lengths], 9),
            "text_bert": tokens,
            "id": [mmsa_id(name) for name in names],
            "annotations": ["Positive"] * len(names),
            "regression_labels": np.linspace(-3, 3, len(names)).astype(np.float32),
            "regression_labels_T": np.linspace(-2, 2, len(names)).astype(np.float32),
        }
        if not aligned:
            part["audio_lengths"], part["vision_lengths"] = [2 * n for n in lengths], [n + 1 for n in lengths]
        content[split] = part
        expected |= {mmsa_id(name): found for name, *found in zip(names, audio, vision)}
    path.write_bytes(pickle.dumps(content))
    return expected


def write_mult(path: Path, side: str = "front", classes: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write MulT's form: padded sequences, ids (video, start, end) as bytes, labels (n, 1, 1), or (n, classes, 2) of
    which clip n has class n; return the sequences by id.
    """
    generator, content, expected = np.random.default_rng(1), {}, {}
    for split in ("train", "valid", "test"):
        audio, vision, words = ([_rows(generator, 2 + row, width) for row in range(4)] for width in (74, 35, 300))
        ids = np.array([[f"{split}v{row}".encode(), b"1.5", b"2.5"] for row in range(4)])
        content[split] = {
            "vision": padded(vision, 7, side),
            "audio": padded(audio, 7, side),
            "text": padded(words, 7, side),
            "labels": np.stack([1 - np.eye(4), np.eye(4)], axis=-1) if classes else np.arange(4.0).reshape(4, 1, 1),
            "id": ids,
        }
        expected |= {f"{split}v{row}[1.5,2.5]": (audio[row], vision[row]) for row in range(4)}
    path.write_bytes(pickle.dumps(content, protocol=2))
    return expected


def write_conversations(path: Path, form: str, dialogues: int = 2) -> None:
    """Write the 9-tuple of IEMOCAP ("iemocap"), the 9-tuple of MELD ("meld") or its 10-tuple ("meld_visual"), of
    dialogues of three and two utterances in turn, the last of which is test.
    """
    names = [f"d{n + 1}" for n in range(dialogues)] if form == "iemocap" else [0, 1039, 1040, 1041][:dialogues]
    generator, dialogues = np.random.default_rng(2), {name: 3 - place % 2 for place, name in enumerate(names)}
    ids = {
        d: [f"{d}_F{row:03d}" for row in range(n)] if form == "iemocap" else list(range(n))
        for d, n in dialogues.items()
    }
    speakers = {d: ["M", "F", "M"][:n] if form == "iemocap" else np.eye(3)[:n].tolist() for d, n in dialogues.items()}
    labels = {d: [row % 6 for row in range(n)] for d, n in dialogues.items()}
    text, audio, visual = (
        {d: [generator.normal(size=width) for _ in range(n)] for d, n in dialogues.items()} for width in (6, 4, 5)
    )
    sentences = {d: [f"s{row} of {d}" for row in range(n)] for d, n in dialogues.items()}
    train, test = set(names[:-1]), set(names[-1:])
    rest = (sentences, train, test)
    if form == "iemocap":
        content = (ids, speakers, labels, text, audio, visual, *rest)
    else:
        seen = (visual,) if form == "meld_visual" else ()
        content = (ids, speakers, labels, text, audio, *seen, *rest, labels)
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_hkt(path: Path) -> None:
    """Write HKT's form, a context of several sentences and one of none."""
    generator, content = np.random.default_rng(3), {}
    for split in ("train", "dev", "test"):
        rows = []
        for row in range(2):
            n = 2 + row
            features = (_rows(generator, n, 91), _rows(generator, n, 81), _rows(generator, n, 4))
            sentences = ["a first sentence", "a second"] if row else []
            rows.append(((f"punch line {row}", *features), (sentences, [], [], []), f"{split}{row}", row))
        content[split] = rows
    path.write_bytes(pickle.dumps(content))


def write_csd(path: Path, videos: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a computational sequence: video -> features (n, C), and where each row begins (n,), one second long."""
    import h5py

    with h5py.File(path, "w") as file:
        for video, (features, begins) in videos.items():
            group = file.create_group(f"COVAREP/data/{video}")
            group["features"], group["intervals"] = features, np.stack([begins, begins + 1], axis=1)


def write_ur_funny_sdk(folder: Path, more: int = 0) -> None:
    """Write the released pickles of UR-FUNNY for the clips 7, 8 and 9: two, three and no words; and more clips, of
    two words each, the first of which is test.
    """
    generator, words = np.random.default_rng(4), {7: 2, 8: 3, 9: 0} | dict.fromkeys(range(10, 10 + more), 2)
    contents = {
        "covarep_features_sdk": {clip: _punchline(generator, n, 81) for clip, n in words.items()},
        "openface_features_sdk": {clip: _punchline(generator, n, 371) for clip, n in words.items()},
        "language_sdk": {
            clip: {"punchline_sentence": f"words of {clip}", "context_sentences": ["before"]} for clip in words
        },
        "humor_label_sdk": {clip: int(clip == 8 or clip % 2 == 0) for clip in words},
        "word_embedding_indexes_sdk": {
            clip: {"punchline_embedding_indexes": [(clip + i) % 30 for i in range(n)]} for clip, n in words.items()
        },
        "word_embedding_list": [row.tolist() for row in _rows(np.random.default_rng(5), 30, 3)],
        "data_folds": {"train": [7, *range(11, 10 + more)], "dev": [8], "test": [9, 10] if more else [9]},
    }
    for name, content in contents.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=2))


def _punchline(generator, words: int, width: int) -> dict:
    rows = _rows(generator, words, width)
    return {"punchline_features": [row.tolist() for row in rows], "context_features": [rows.tolist()]}
