"""Published lists of the clips of each split, in the forms in which they are published."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

# The names that releases and papers' repositories use for a split.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
SPLITS = ("train", "validation", "test")
NAMED = 5  # ids that a message lists


def split_name(word: str) -> str | None:
    """Return the split that a word names in any of its spellings; None for another word."""
    return SPLIT_NAMES.get(str(word).strip().lower())


def split_list_files(path: Path) -> dict[str, Path]:
    """Return the files of a list: the file itself, or the three text files of a folder by their split.

    Raises:
        FileNotFoundError: no such file, or a folder without exactly one text file for each split.
    """
    if path.is_file():
        return {"list of ids": path}
    if not path.is_dir():
        raise FileNotFoundError(
            f"ids_file: there is no {path}; expected a JSON or CSV file, or a folder of three .txt files."
        )
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for file in sorted(path.glob("[!.]*.txt")):
        names = {split_name(word) for word in file.stem.replace("-", "_").split("_")} - {None}
        if len(names) == 1:
            found[names.pop()].append(file)
    wrong = [split for split, files in found.items() if len(files) != 1]
    if wrong:
        there = ", ".join(file.name for file in sorted(path.iterdir())) or "nothing"
        raise FileNotFoundError(
            f"ids_file: {path} has not one .txt file for {', '.join(wrong)}; it holds {there}. Expected e.g. "
            "train_split.txt."
        )
    return {f"ids of {split}": files[0] for split, files in found.items()}


def read_split_list(path: Path) -> dict[str, list[str]]:
    """Read a list and return the ids of each split as they are listed.

    Args:
        path: JSON `{"train": [...], "validation": [...], "test": [...]}`; CSV with the columns `id` and `split`; or a
            folder with a text file for each split, one id a line. "valid", "val" and "dev" are validation.

    Raises:
        FileNotFoundError: raised by `split_list_files`.
        ValueError: the file has another form, or lists an id twice.
    """
    files = split_list_files(path)
    if len(files) > 1:
        lists = {
            role.removeprefix("ids of "): file.read_text(encoding="utf-8-sig").split() for role, file in files.items()
        }
    elif path.suffix == ".json":
        lists = _from_json(path)
    else:
        lists = _from_csv(path)
    seen: set[str] = set()
    for split in SPLITS:
        for listed in lists.setdefault(split, []):
            if listed in seen:
                raise ValueError(f"{path}: id {listed!r} is listed twice; expected each id once.")
            seen.add(listed)
    return {split: lists[split] for split in SPLITS}


def deal_out(
    path: Path, clips: Mapping[str, dict], normalize: Callable[[str], str], dropped: Mapping[str, str]
) -> dict[str, list[dict]]:
    """Return the clips of each split that a list names, in its order.

    Args:
        path: as in `read_split_list`.
        clips: clip id -> clip.
        normalize: returns the clip id for an id as it is listed.
        dropped: id -> why an annotated row is not a clip.

    Raises:
        ValueError: the list names clips that do not exist, or one clip in two spellings.
    """
    lists = {split: [(listed, normalize(listed)) for listed in ids] for split, ids in read_split_list(path).items()}
    spelled: dict[str, str] = {}
    for ids in lists.values():
        for listed, clip in ids:
            if clip in spelled:
                raise ValueError(f"{path}: {spelled[clip]!r} and {listed!r} are both clip {clip}; expected each once.")
            spelled[clip] = listed
    unknown = [clip for clip in spelled if clip not in clips]
    if unknown:
        first = ", ".join(
            spelled[clip] + (f" ({dropped[clip]})" if clip in dropped else "") for clip in unknown[:NAMED]
        )
        raise ValueError(
            f"{path} lists {len(unknown)} ids that the corpus does not have: {first}; its ids are like "
            f"{', '.join(list(clips)[:2]) or 'none'}."
        )
    return {split: [clips[clip] for _, clip in ids] for split, ids in lists.items()}


def _from_json(path: Path) -> dict[str, list[str]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    lists = {split_name(word): ids for word, ids in content.items()} if isinstance(content, dict) else {None: []}
    if None in lists or not all(isinstance(ids, list) for ids in lists.values()):
        raise ValueError(
            f'{path}: expected a JSON object of lists of ids, {{"train": [...], "validation": [...], "test": [...]}}.'
        )
    return {split: [str(listed) for listed in ids] for split, ids in lists.items()}


def _from_csv(path: Path) -> dict[str, list[str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"id", "split"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: its columns are {reader.fieldnames}; expected id and split.")
        lists: dict[str, list[str]] = {split: [] for split in SPLITS}
        for row in reader:
            split = split_name(row["split"])
            if split is None:
                raise ValueError(
                    f"{path}, line {reader.line_num}: split is {row['split']!r}; expected train, validation or test."
                )
            lists[split].append(row["id"].strip())
    return lists


__all__ = ["SPLITS", "deal_out", "read_split_list", "split_list_files", "split_name"]
