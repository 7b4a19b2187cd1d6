"""Tables of your own clips as programs and people save them: delimiters, unnamed columns, MMSA's layout, labels, file
names, times.
"""

import pytest

from datasets_scripts import load_corpus
from tests.helpers.video_folder_folder import labelled, write_table

SEMICOLONS = b"file;text;label;speaker\r\n;well, yes;1;Ann\r\n;no;-1;Ben\r\n;so, so, so;0;Cem\r\n"
COMMAS = b'file,text,label,speaker\n,"well, yes",1,Ann\n,no,-1,Ben\n,"so, so, so",0,Cem\n'
ROWS = COMMAS.splitlines()


@pytest.fixture
def load(tmp_path):
    """Load your own clips with a cache of this test's own."""
    return lambda folder, task="sentiment", **options: load_corpus(
        "video_folder", folder, task, cache_dir=tmp_path / "cache", **options
    )


def by_id(corpus) -> dict:
    return {clip["id"]: clip for split in corpus.values() for clip in split}


@pytest.mark.parametrize(
    "content",
    [
        SEMICOLONS,
        SEMICOLONS.replace(b";", b"\t"),
        b"sep=;\r\n" + SEMICOLONS,
        b"sep=,\n" + COMMAS,
        b"\n".join([b"," + ROWS[0], *(b"%d,%s" % pair for pair in enumerate(ROWS[1:]))]),
        b"\n".join([b"Unnamed: 0," + ROWS[0], *(b"%d,%s" % pair for pair in enumerate(ROWS[1:], 1))]),
        b"\n".join(row + b",," for row in ROWS),
        b"\n".join([ROWS[0] + b",speaker_id", *(row + b",7" for row in ROWS[1:])]),
    ],
    ids="semicolons tabs sep_semicolon sep_comma index index_from_1 empty_on_the_right speaker_id".split(),
)
def test_tables_as_programs_save_them(tmp_path, load, content):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/clips.csv").write_bytes(content)
    clips = by_id(load(tmp_path / "clips"))
    assert sorted((clip["text"], clip["label"], clip["speaker"]) for clip in clips.values()) == [
        ("no", -1.0, "Ben"),
        ("so, so, so", 0.0, "Cem"),
        ("well, yes", 1.0, "Ann"),
    ]


def test_rows_are_counted_with_the_line_that_names_the_delimiter(tmp_path, load):
    (tmp_path / "clips.csv").write_bytes(b"sep=;\n" + SEMICOLONS.replace(b";0;", b";9;"))
    with pytest.raises(ValueError, match="row 5, column label: found '9'; expected a number from -3 to 3"):
        load(tmp_path)


def test_an_unnamed_column_with_content_is_refused(tmp_path, load):
    (tmp_path / "clips.csv").write_bytes(b"text,label,\nx,1,what is this\n")
    with pytest.raises(ValueError, match="expected names that differ"):
        load(tmp_path)


def test_the_table_of_mmsa(tmp_path, load):
    """Its header and layout, for clips that are no corpus:

    `Raw/<video>/<clip>`, the split and the scores of single modalities under its names.
    """
    header = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
    rows = ["v_1,1,fine,1,0.5,,-1,Positive,train", "v_1,2,bad,-1,,,,Negative,valid", "v_2,1,,0,,,,Neutral,test"]
    for name in ("v_1/1.mp4", "v_1/2.mkv", "v_2/1.mp4"):
        path = tmp_path / "Raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "label.csv").write_text(header + "\n".join(rows))
    corpus = load(tmp_path)
    ids = {split: clips["id"][:] for split, clips in corpus.items()}
    assert ids == {"train": ["v_1_1"], "validation": ["v_1_2"], "test": ["v_2_1"]}
    clip = corpus["train"][0]
    assert (clip["video_id"], clip["label"], clip["text"]) == ("v_1", 1.0, "fine")
    assert (clip["label_text"], clip["label_audio"], clip["label_vision"]) == (0.5, None, -1.0)
    assert corpus["validation"][0]["media"]["path"] == str(tmp_path / "Raw/v_1/2.mkv")


def test_absent_values_of_json_are_empty_cells(tmp_path, load):
    lines = [
        '{"text": "x", "label": 1, "speaker": "a", "start": NaN, "file": NaN}',
        '{"text": "y", "label": 0, "speaker": "b"}',
        '{"text": "z", "label": 2, "speaker": "c", "label_text": NaN}',
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    assert sorted(clip["text"] for clip in by_id(load(tmp_path)).values()) == ["x", "y", "z"]
    cases = {
        "NaN": "found an empty cell",
        '["a", "b"]': r"found .*'a', 'b'.*; expected text",
        "Infinity": "Infinity is not",
    }
    for text, message in cases.items():
        (tmp_path / "clips.jsonl").write_text("\n".join(lines).replace('"text": "y"', f'"text": {text}'))
        with pytest.raises(ValueError, match=f"row 2.*{message}"):
            load(tmp_path)


@pytest.mark.parametrize(
    "label, expected",
    [
        ("joy, surprise", "one class, or several with | between them"),
        ("joy;surprise", "one class, or several with | between them"),
        ("['joy', 'surprise']", "one class, or several with | between them"),
        ("joy/fear", "one class, or several with | between them"),
        ("joy and fear", "one class, or several with | between them"),
        ("Joy", "the spelling 'joy' of"),
        ("JOY", "the spelling 'joy' of"),
        ("-1.5", "a class; scores are the labels of the task sentiment"),
    ],
)
def test_a_label_that_is_several_classes_or_none_is_refused(tmp_path, load, label, expected):
    classes = ["joy", "fear", "anger", label, "joy", "fear", "anger"]
    folder = write_table(tmp_path / "clips", [{**row, "label": name} for row, name in zip(labelled(), classes)])
    with pytest.raises(ValueError) as caught:
        load(folder, "emotion")
    found = repr(label)
    assert f"row 5, column label: found {found}; expected {expected}" in str(caught.value)
    if label == "joy, surprise":  # named, it is a class
        options = {"label_names": ["joy", "fear", "anger", label], "multi_label": False}
        assert by_id(load(folder, "emotion", **options))["more/c"]["label"] == 3


def test_a_slash_in_a_class_that_stands_alone_is_a_class(tmp_path, load):
    classes = ["joy", "anger/disgust", "joy", "not sure", "joy", "anger/disgust", "joy"]
    folder = write_table(tmp_path / "clips", [{**row, "label": name} for row, name in zip(labelled(), classes)])
    assert load(folder, "emotion")["train"].features["label"].names == ["anger/disgust", "joy", "not sure"]


def test_one_column_a_class_says_how_to_write_it(tmp_path, load):
    (tmp_path / "clips.csv").write_text("text,joy,fear\nx,1,0\ny,1,1\n")
    with pytest.raises(ValueError, match=r"joy, fear look like one column a class: write .* such as joy\|fear"):
        load(tmp_path, "emotion")


NAMES = ["CAFE\u0301.MP4", "caf\u00e9.mp4", "cafe\u0301", "sub\\caf\u00e9.mp4", "Sub/CAF\u00c9"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_is_found_under_the_spelling_of_another_system(tmp_path, load, name):
    """On disk the accent is one letter; the table has it as two, in capitals, with backslashes or without ending."""
    place = tmp_path / "sub" if "sub" in name.lower() else tmp_path
    place.mkdir(exist_ok=True)
    (place / "caf\u00e9.mp4").touch()
    (place / "other.mp4").touch()
    rows = "".join(f"{name if row == 0 else ''},t{row},0,s{row}\n" for row in range(3))
    (tmp_path / "clips.csv").write_text("file,text,label,speaker\n" + rows, encoding="utf-8")
    paths = {clip["media"]["path"] for clip in by_id(load(tmp_path)).values()}
    assert paths == {"", str(place / "caf\u00e9.mp4")}


def test_a_file_that_two_fit_is_refused_and_the_nearest_is_named(tmp_path, load):
    for name in ("a.mp4", "a.wav", "talk_01.mp4"):
        (tmp_path / name).touch()
    for name, message in (("a", "expected a file below"), ("talk_1.mp4", "the nearest is 'talk_01.mp4'")):
        (tmp_path / "clips.csv").write_text(f"file,text,label\n{name},x,1\n")
        with pytest.raises(ValueError, match=f"row 2, column file: found '{name}'.*{message}"):
            load(tmp_path)


def test_times_in_milliseconds_are_refused(tmp_path, load):
    """Read as seconds, the first cut of each file would be the whole file."""
    rows = [{**row, "start": str(1000 * n), "end": str(1000 * n + 900)} for n, row in enumerate(labelled())]
    folder = write_table(tmp_path / "clips", rows)
    message = (
        "row 2, column end: found '900'; expected seconds; the median cut .* 900 s, .* divide start and end by 1000"
    )
    with pytest.raises(ValueError, match=message):
        load(folder)
    seconds = [{**row, "start": str(n), "end": str(n + 0.9)} for n, row in enumerate(labelled())]
    assert len(by_id(load(write_table(tmp_path / "seconds", seconds)))) == len(rows)
