"""A small IEMOCAP as it lies on disk, all five sessions, with what is odd in the release; and the tree of a list of
utterance ids.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.helpers.media_files import tone, write_media

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
RATERS = "C-E1:\tAnger;\t()\nC-F1:\tNeutral;\t(a little)\nA-E3:\tval 2; act 4;\t()\n"
LEFT, RIGHT = (200, 40, 40), (40, 40, 200)  # colours of the two halves of every picture
SECONDS = 1.0

# dialogue -> (start, end, utterance, code, words), not in the order of time
DIALOGUES = {
    "Ses01F_impro01": [
        (0.5, 0.9, "M000", "exc", "Really: [SIGH]: you did?"),
        (0.0, 0.4, "F000", "hap", "Excuse me."),
        (0.2, 0.6, "F001", "xxx", "I mean -"),
        (0.9, 0.9, "F002", "fru", "[LAUGHTER]"),
    ],
    "Ses01M_script01_1": [(0.0, 0.5, "F000", "neu", "caf\u00e9"), (0.5, 1.0, "M000", "ang", "No.  Not   again.")],
    "Ses02F_impro02": [(0.1, 0.5, "F000", "sad", "I know."), (0.5, 0.9, "M000", "oth", "So?")],
    "Ses03F_script02_2": [(0.1, 0.5, "F000", "fru", "Stop."), (0.5, 0.9, "M000", "hap", "Never!")],
    "Ses04M_script01_1b": [(0.1, 0.5, "M000", "neu", "One."), (0.5, 0.9, "F000", "exc", "Two!")],
    "Ses05F_impro04": [(0.1, 0.5, "F000", "sad", "Hm."), (0.5, 0.9, "M000", "ang", "What?")],
    "Ses05M_script03_2": [(0.1, 0.5, "M000", "sur", "Oh!"), (0.5, 0.9, "F000", "hap", "Yes.")],
}


def _two_actors(number: int) -> np.ndarray:
    picture = np.empty((48, 64, 3), dtype=np.uint8)
    picture[:, :32], picture[:, 32:] = LEFT, RIGHT
    picture[:24] += 30  # a picture of one colour would count as none; the mean colours stay
    picture[24:] -= 30
    return picture


def write_iemocap(folder: Path, with_media: bool = False) -> Path:
    """Write the tree of `DIALOGUES`; with media the avi of each dialogue, a red left half and a blue right one, else
    empty files for them.
    """
    for dialogue, turns in DIALOGUES.items():
        root = folder / f"IEMOCAP_full_release/Session{dialogue[4]}/dialog"
        write_dialogue(root, dialogue, turns)
        video = root / f"avi/DivX/{dialogue}.avi"
        video.parent.mkdir(parents=True, exist_ok=True)
        if with_media:
            sound = [tone(300.0), tone(500.0)]
            write_media(video, SECONDS, 25, _two_actors, sound, codec="mpeg4", sound_codec="mp3", layout="stereo")
        else:
            video.touch()
        # Litter of macOS, and sub-folders with files of the same names.
        for place in ("EmoEvaluation/._", "transcriptions/._", "avi/DivX/._"):
            (root / f"{place}{dialogue}{'.avi' if 'avi' in place else '.txt'}").write_bytes(b"\0\x05\x16\x07")
        inner = root / f"EmoEvaluation/Categorical/{dialogue}.txt"
        inner.parent.mkdir(exist_ok=True)
        inner.write_text("not an evaluation [")
    # The words of one dialogue in the release's other encoding, with lines that are no evaluated utterance.
    words = folder / "IEMOCAP_full_release/Session1/dialog/transcriptions/Ses01M_script01_1.txt"
    text = (
        words.read_text(encoding="utf-8")
        + "M: [BREATHING]: no id here\nSes01M_script01_1_FXX0 [000.9500-000.9900]: Mhm.\n"
    )
    words.write_bytes(text.encode("latin-1"))
    return folder


def write_dialogue(root: Path, dialogue: str, turns: list[tuple]) -> None:
    """The two text files of a dialogue below `Session<n>/dialog`."""
    rated, spoken = [HEADER], []
    for start, end, name, code, words in turns:
        rated.append(f"[{start:.4f} - {end:.4f}]\t{dialogue}_{name}\t{code}\t[2.5000, 2.5000, 2.5000]\n{RATERS}")
        spoken.append(f"{dialogue}_{name} [{start:08.4f}-{end:08.4f}]: {words}\n")
    for place, lines in (("EmoEvaluation", "\n".join(rated)), ("transcriptions", "".join(sorted(spoken)))):
        path = root / place / f"{dialogue}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines, encoding="utf-8")


def write_listed(folder: Path, ids: Iterable[str]) -> Path:
    """The tree of a list of utterance ids; times and emotions, which no public list has, are made up."""
    dialogues = defaultdict(list)
    for place, id in enumerate(sorted(ids)):
        dialogue, name = id.rsplit("_", 1)
        code = ("hap", "sad", "neu", "ang", "exc", "fru")[place % 6]
        dialogues[dialogue].append((2.0 * place, 2.0 * place + 1.5, name, code, f"words {place}"))
    for dialogue, turns in dialogues.items():
        write_dialogue(folder / f"Session{dialogue[4]}/dialog", dialogue, turns)
    return folder
