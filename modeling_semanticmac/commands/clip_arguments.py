"""The clips that a command line names: files, folders, addresses, pipes, tables, or text alone."""

import argparse
import math
import os
import stat
import sys
from pathlib import Path

from ..clip_input import is_address, media_files

OF_ONE_CLIP = ("text", "context", "speaker", "context_speakers", "audio", "start", "end", "crop", "audio_stream")
TABLE_SUFFIXES = (".csv", ".jsonl")


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name clips."""
    parser.add_argument(
        "media",
        nargs="*",
        metavar="VIDEO",
        help="video or sound file, folder of files or of a table of clips, http(s) address, or - for standard input",
    )
    parser.add_argument(
        "--table",
        metavar="FILE",
        help="table of clips, CSV or JSON lines, with columns file, text, start, end; no label is needed",
    )
    clip = parser.add_argument_group("of one clip")
    clip.add_argument("--text", help="what is said")
    clip.add_argument("--context", nargs="+", metavar="UTTERANCE", help="what was said before, oldest first")
    clip.add_argument("--speaker", metavar="NAME", help="who speaks, for a model that reads it")
    clip.add_argument("--context_speakers", nargs="+", metavar="NAME", help="who spoke each utterance of the context")
    clip.add_argument("--audio", metavar="FILE", help="file whose sound is used instead of the video's")
    clip.add_argument("--start", type=seconds, metavar="TIME", help="start of the clip in the file: 63.5 or 00:01:03.5")
    clip.add_argument("--end", type=seconds, metavar="TIME", help="end of the clip in the file")
    clip.add_argument("--crop", choices=("left", "right"), help="half of the picture to use")
    clip.add_argument("--audio_stream", type=int, metavar="NUMBER", help="sound track to use, 0 for the first one")


def seconds(text: str) -> float:
    """Return a time in seconds, written as seconds or as minutes or hours with colons (`1:03`, `00:01:03.5`,
    `00:01:03,5`).

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    *larger, last = text.strip().replace(",", ".").split(":")
    try:
        value = float(last)
        valid = math.isfinite(value) and value >= 0 and len(larger) <= 2 and all(part.isdecimal() for part in larger)
        if larger:
            valid = valid and value < 60 and (len(larger) == 1 or int(larger[-1]) < 60)
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; expected seconds (63.5), or 00:01:03.5")
    for power, part in enumerate(reversed(larger), start=1):
        value += int(part) * 60**power
    return value


def named_clips(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[dict]:
    """Return the clips that the arguments name, as the pipeline takes them; exit with 2 where the arguments do not fit
    each other.

    Raises:
        ValueError: a file or a table that cannot be used.
    """
    given = {name: getattr(args, name) for name in OF_ONE_CLIP if getattr(args, name) is not None}
    skip = args.on_error == "skip"
    if args.table is not None:
        if args.media or given:
            other = args.media[0] if args.media else f"--{next(iter(given))}"
            parser.error(f"{other} does not go with --table, which names the clips itself")
        return table_clips(Path(args.table), Path(args.table).parent, skip)
    clips = [clip for name in args.media for clip in clips_of(name, skip)]
    if not clips and not given.keys() & {"text", "audio"}:
        parser.error("there is nothing to predict: give a VIDEO, --table, --text or --audio")
    if given and (len(clips) > 1 or any(clip.keys() != {"video"} for clip in clips)):
        parser.error(
            f"--{next(iter(given))} is of one clip, and there are {len(clips)} files; predict them one by one, or give "
            "--table"
        )
    if "audio" in given:
        given["audio"] = media_source(given["audio"])
    return [{**clip, **given} for clip in clips] or [given]


def clips_of(name: str, skip: bool) -> list[dict]:
    """Return the clips of one argument: a file, an address, a pipe, or a folder with or without a table.

    Args:
        name: the argument.
        skip: leave missing files to the pipeline, which reports them and goes on.

    Raises:
        ValueError: there is nothing of that name, or nothing usable in the folder.
    """
    if is_address(name):
        return [{"video": name}]
    if not os.path.isdir(name):
        return [{"video": name if skip and not os.path.exists(name) and name != "-" else media_source(name)}]
    table = folder_table(Path(name))
    if table is None:
        return [{"video": path} for path in media_files(name)]
    clips = table_clips(table, Path(name), skip)
    note_unnamed(Path(name), table, clips)
    return clips


def media_source(name: str) -> str | bytes:
    """Return the path of a media file; of a pipe or of standard input (`-`, `/dev/stdin`) the bytes, which cannot be
    read twice.

    Raises:
        ValueError: there is no such file, or standard input is the keyboard.
    """
    name = "/dev/stdin" if name == "-" else name
    if is_address(name):
        return name
    if not os.path.exists(name):
        raise ValueError(f"{name}: there is no such file; check the path. Words go after --text.")
    mode = os.stat(name).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return name
    with open(name, "rb") as stream:
        if stream.isatty():
            raise ValueError(f"{name}: this is the keyboard; pipe a media file into the command, or give its path.")
        return stream.read()


def folder_table(folder: Path) -> Path | None:
    """Return the table of clips of a folder; None where it has none. Other tables in the folder are named on standard
    error.

    Raises:
        ValueError: a table that names clips cannot be read.
    """
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file()]
    tables = [path for path in entries if path.suffix.lower() in TABLE_SUFFIXES]
    if not tables:
        return None
    from datasets_scripts.clip_table import NAMES, find_table

    if not any(path.name in NAMES for path in tables):
        if len(tables) > 1 or not _names_clips(tables[0]):
            names = ", ".join(path.name for path in tables)
            print(f"note: {folder}: {names}: not used; --table FILE names a table of clips", file=sys.stderr)
            return None
    return find_table(folder)


def _names_clips(table: Path) -> bool:
    """Whether the first line of a table has a column of clips."""
    with open(table, encoding="utf-8", errors="replace") as file:
        words = "".join(letter if letter.isalnum() else " " for letter in file.readline().lower()).split()
    return bool({"file", "text"} & set(words))


def table_clips(table: Path, folder: Path, skip: bool) -> list[dict]:
    """Return the clips of a table.

    Args:
        table: CSV or JSON lines.
        folder: what its file names are relative to.
        skip: leave missing files to the pipeline, which reports them and goes on.

    Raises:
        ValueError: the table, a cell or a file cannot be used; the message names the row.
    """
    from datasets_scripts.clip_table import read_table
    from datasets_scripts.video_folder import check_seconds, cut_of, media_path

    if not table.is_file():
        raise ValueError(f"{table}: there is no such table; check the path.")
    rows, clips = read_table(table, needs_label=False), []
    check_seconds(rows)
    for row in rows:
        name = str(row.cells.get("file", "")).strip()
        try:
            path = Path(name) if os.path.isabs(name) and os.path.isfile(name) else media_path(folder, row)
        except ValueError:
            if not (skip and name):
                raise
            path = folder / name
        fields = {
            "video": path and str(path),
            "text": row.word("text"),
            "context": row.several("context"),
            "speaker": row.word("speaker"),
            "context_speakers": row.several("context_speakers"),
            **cut_of(row),
        }
        clips.append({name: value for name, value in fields.items() if value})
    return clips


def note_unnamed(folder: Path, table: Path, clips: list[dict]) -> None:
    """Say on standard error which media files of a folder its table does not name."""
    named = {os.path.abspath(clip["video"]) for clip in clips if "video" in clip}
    try:
        left = [path for path in media_files(folder) if os.path.abspath(path) not in named]
    except ValueError:  # there is none
        return
    if left:
        shown = ", ".join(os.path.basename(path) for path in left[:3]) + (", ..." if len(left) > 3 else "")
        print(
            f"note: {table} names {len(clips)} clips; not named and left out: {len(left)} file(s), {shown}",
            file=sys.stderr,
        )


__all__ = [
    "OF_ONE_CLIP",
    "add_clip_arguments",
    "clips_of",
    "folder_table",
    "media_source",
    "named_clips",
    "seconds",
    "table_clips",
]
