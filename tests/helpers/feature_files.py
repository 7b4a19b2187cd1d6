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


def write_mmsa(path: Path, ids: dict[str, list[str]], aligned: bool = False, extra: dict | None = None) -> dict:
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
            "text": padded([_rows(generator, n, 768) for n in lengths], 9),
            "text_bert": tokens,
            "id": [name.replace("_", "$_$", 1) for name in names],
            "annotations": ["Positive"] * len(names),
            "regression_labels": np.linspace(-3, 3, len(names)).astype(np.float32),
            "regression_labels_T": np.linspace(-2, 2, len(names)).astype(np.float32),
        }
        if not aligned:
            part["audio_lengths"], part["vision_lengths"] = [2 * n for n in lengths], [n + 1 for n in lengths]
        content[split] = part
        expected |= {name.replace("_", "$_$", 1): found for name, *found in zip(names, audio, vision)}
    path.write_bytes(pickle.dumps(content))
    return expected


def write_mult(path: Path, side: str = "front") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write MulT's form: padded sequences, ids (video, start, end) as bytes, labels (n, 1, 1); return them by id."""
    generator, content, expected = np.random.default_rng(1), {}, {}
    for split in ("train", "valid", "test"):
        audio, vision, words = ([_rows(generator, 2 + row, width) for row in range(4)] for width in (74, 35, 300))
        ids = np.array([[f"{split}v{row}".encode(), b"1.5", b"2.5"] for row in range(4)])
        content[split] = {
            "vision": padded(vision, 7, side),
            "audio": padded(audio, 7, side),
            "text": padded(words, 7, side),
            "labels": np.arange(4, dtype=np.float32).reshape(4, 1, 1),
            "id": ids,
        }
        expected |= {f"{split}v{row}[1.5,2.5]": (audio[row], vision[row]) for row in range(4)}
    path.write_bytes(pickle.dumps(content, protocol=2))
    return expected


def write_conversations(path: Path, form: str) -> None:
    """Write the 9-tuple of IEMOCAP ("iemocap"), the 9-tuple of MELD ("meld") or its 10-tuple ("meld_visual")."""
    generator, dialogues = np.random.default_rng(2), {"d1": 3, "d2": 2} if form == "iemocap" else {0: 3, 1039: 2}
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
    train, test = set(list(dialogues)[:1]), set(list(dialogues)[1:])
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
