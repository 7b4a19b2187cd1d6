"""Damaged media files and tables, drawn from a seed: cut, flipped, swapped, mislabelled, with absurd numbers."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.helpers.media_files import CONTAINERS, write_media
from tests.helpers.subtitle_files import FORMS, ROLLING_VTT

HEADER = 2_000  # bytes in which containers keep their sizes, rates and counts
HUGE = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\x00\x0f\xff\xff",
)
ENDINGS = ("mp4", "mkv", "avi", "wav", "mp3", "webm", "mov", "png", "csv")
ROWS = [
    ["file", "text", "label", "start", "end", "speaker", "split"],
    ["good.mp4", "I love it", "2.5", "0", "0.3", "Ann", "train"],
    ["good.mp4", "caf\u00e9", "-1", "0.3", "0.6", "Ben", "validation"],
    ["", "words alone", "0.5", "", "", "Cem", "test"],
]
BAD_CELLS = (
    "nan", "inf", "-inf", "1e999", "-1e308", "9" * 5_000, "0x10", "1_000", "\u0661\u0662", "NaN\x00", "=1+1",
    "=HYPERLINK(\"http://127.0.0.1:9\")", "@SUM(A1:A9)", "+cmd|' /C calc'!A0", "../../../etc/passwd", "/etc/passwd",
    "/dev/zero", "con.mp4", ".", "\u202e4pm.doog", "a" * 300, "\x00", "\r", "\ufeff", "|||", "{}", "[]", "true",
    "x" * 200_000, "\ud7ff\ue000", "good.mp4\n", "http://127.0.0.1:9/x.mp4", "-0", "1e-400", "  ",
    "'; DROP TABLE clips;--",
)  # fmt: skip


def media_sources(folder: Path) -> list[Path]:
    """Write one small good file of each container, and sound alone."""
    folder.mkdir()
    files = [write_media(folder / f"good.{ending}", 0.6, **options) for ending, options in CONTAINERS.items()]
    wav = write_media(folder / "good.wav", 0.6, picture=None, sound_codec="pcm_s16le")
    return [*files, wav, write_media(folder / "good.mp3", 0.6, picture=None, sound_codec="mp3")]


def truncated(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[: random.integers(1, len(data))]


def bits_flipped(data: bytearray, random: np.random.Generator) -> bytearray:
    for position in random.integers(0, len(data), random.integers(1, 64)):
        data[position] ^= 1 << random.integers(8)
    return data


def header_bytes_changed(data: bytearray, random: np.random.Generator) -> bytearray:
    for position in random.integers(0, min(HEADER, len(data)), random.integers(1, 16)):
        data[position] = random.integers(256)
    return data


def huge_numbers(data: bytearray, random: np.random.Generator) -> bytearray:
    """Write huge numbers where headers hold counts, sizes and rates, at both ends: an MP4 has its index at the end."""
    for _ in range(random.integers(1, 6)):
        near = int(random.integers(0, min(HEADER, len(data) - 4)))
        position = near if random.integers(2) else len(data) - 4 - near
        data[position : position + 4] = HUGE[random.integers(len(HUGE))]
    return data


def blocks_swapped(data: bytearray, random: np.random.Generator) -> bytearray:
    size = max(1, len(data) // 8)
    one, other = random.integers(0, len(data) - size, 2)
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]
    return data


def zeros_inside(data: bytearray, random: np.random.Generator) -> bytearray:
    start = int(random.integers(0, len(data)))
    end = min(len(data), start + int(random.integers(1, len(data))))
    data[start:end] = bytes(end - start)
    return data


def garbage_inserted(data: bytearray, random: np.random.Generator) -> bytearray:
    position = int(random.integers(0, len(data)))
    return data[:position] + bytearray(random.bytes(int(random.integers(1, 5_000)))) + data[position:]


def said_twice(data: bytearray, random: np.random.Generator) -> bytearray:
    return data + data


def emptied(data: bytearray, random: np.random.Generator) -> bytearray:
    return bytearray()


def noise_behind_the_first_bytes(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[:32] + bytearray(random.bytes(len(data)))


DAMAGE: tuple[Callable, ...] = (
    truncated, bits_flipped, header_bytes_changed, huge_numbers, huge_numbers, blocks_swapped, zeros_inside,
    garbage_inserted, said_twice, emptied, noise_behind_the_first_bytes,
)  # fmt: skip


def hostile_media(path: Path, sources: list[Path], random: np.random.Generator) -> tuple[str, Path]:
    """Write one damaged file, some with a wrong ending, or a folder, or a pipe without a writer.

    Returns:
        What was done, and the path.
    """
    kind = int(random.integers(40))
    ending = ENDINGS[random.integers(len(ENDINGS))]
    if kind == 0:
        path = path.with_suffix(f".{ending}")
        path.mkdir()
        return "a folder", path
    if kind == 1:
        path = path.with_suffix(f".{ending}")
        os.mkfifo(path)
        return "a pipe", path
    source = sources[random.integers(len(sources))]
    damage = DAMAGE[random.integers(len(DAMAGE))]
    data = damage(bytearray(source.read_bytes()), random)
    lies = random.random() < 0.2
    path = path.with_suffix(f".{ending}" if lies else source.suffix)
    path.write_bytes(data)
    return f"{source.suffix[1:]} {damage.__name__}{f' as {ending}' if lies else ''}", path


def _csv(rows: list[list[str]]) -> str:
    return "".join(",".join(f'"{cell}"' if "," in cell else cell for cell in row) + "\r\n" for row in rows)


def hostile_table(folder: Path, good: Path, random: np.random.Generator) -> tuple[str, Path]:
    """Write a corpus folder with one good file and a bad table; return what is bad, and the folder."""
    folder.mkdir()
    os.link(good, folder / "good.mp4")
    rows = [list(row) for row in ROWS]
    kind = ("cell", "cell", "cell", "header", "bytes", "encoding", "shape", "json", "json")[random.integers(9)]
    name, data = "clips.csv", None
    if kind == "cell":
        for _ in range(random.integers(1, 4)):
            rows[random.integers(1, len(rows))][random.integers(len(rows[0]))] = BAD_CELLS[
                random.integers(len(BAD_CELLS))
            ]
    elif kind == "header":
        rows[0][random.integers(len(rows[0]))] = ("", "label", "lable", "\x00", "file ", "LABEL", "x" * 10_000)[
            random.integers(7)
        ]
    elif kind == "bytes":
        text = bytearray(_csv(rows).encode())
        data = bytes(DAMAGE[random.integers(len(DAMAGE))](text + bytearray(64), random))
    elif kind == "encoding":
        data = _csv(rows).encode(("utf-16", "utf-32", "latin-1", "cp037", "utf-7")[random.integers(5)])
    elif kind == "shape":
        shapes = (
            rows[:1],
            [],
            rows + [["a"] * 50],
            [row[:2] for row in rows],
            rows[1:],
            rows * 2,
            [[";".join(row)] for row in rows],
            [['"open']] + rows,
        )
        rows = shapes[random.integers(8)]
    else:
        name, data = "clips.jsonl", _bad_json(random)
    path = folder / name
    path.write_bytes(_csv(rows).encode("utf-8", "surrogatepass") if data is None else data)
    return f"table: {kind}", folder


def _bad_json(random: np.random.Generator) -> bytes:
    """Return JSON lines with one malformed row."""
    values = [
        float("nan"),
        float("inf"),
        10**400,
        -1,
        None,
        True,
        [],
        {},
        ["a", ["b"]],
        "\ud800",
        "\x00",
        "=1+1",
        {"a": {"b": 1}},
        "../x.mp4",
        1e308,
    ]
    rows = [dict(zip(ROWS[0], row)) for row in ROWS[1:]]
    row = rows[random.integers(len(rows))]
    row[ROWS[0][random.integers(len(ROWS[0]))]] = values[random.integers(len(values))]
    lines = [json.dumps(row) for row in rows]
    broken = ("[" * 100_000, "{", '{"label": 1}{', "nul", "\x00", '"text"', "[1, 2]", '{"label":' + "9" * 10_000 + "}")
    if random.random() < 0.4:
        lines.append(broken[random.integers(len(broken))])
    return "\n".join(lines).encode()


def hostile_transcripts(folder: Path, count: int, seed: int) -> list[Path]:
    """Write `count` damaged transcripts of every form and return their paths."""
    words = {"segments": [{"start": 0.5, "end": 3.0, "text": "Hello, there"}, {"start": 3, "end": 5, "text": "Bye"}]}
    gbk = FORMS["srt"].replace("Hello", "\u6211\u771f\u7684\u6ca1\u6709\u60f3\u5230").encode("gbk")
    sources = {
        name: text.encode() for name, text in (*FORMS.items(), ("vtt", ROLLING_VTT), ("json", json.dumps(words)))
    }
    sources = sorted({**sources, "txt": gbk}.items())
    found = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        ending, data = sources[random.integers(len(sources))]
        found.append(folder / f"transcript_{index:04d}.{ending}")
        found[-1].write_bytes(DAMAGE[random.integers(len(DAMAGE))](bytearray(data), random))
    return found


def hostile_inputs(folder: Path, count: int, seed: int, tables: float = 0.3) -> list[tuple[str, Path]]:
    """Write `count` inputs, each drawn from its own number, so that a single one can be made again.

    Args:
        tables: the share of tables; the others are media.

    Returns:
        What each is, and its path.
    """
    sources = media_sources(folder / "sources")
    found = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        name = folder / f"input_{index:04d}"
        is_table = random.random() < tables
        found.append(hostile_table(name, sources[0], random) if is_table else hostile_media(name, sources, random))
    return found


__all__ = ["hostile_inputs", "hostile_transcripts"]
