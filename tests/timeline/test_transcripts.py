"""Transcripts: hand-typed files of every form, malformed ones by their line, and files written and read again."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_semanticmac.timeline.segments import Segment, fixed_windows
from modeling_semanticmac.timeline.subtitle_writing import srt_lines, vtt_lines
from modeling_semanticmac.timeline.subtitles import parse_subtitles
from modeling_semanticmac.timeline.transcripts import TranscriptError, join_words, read_transcript, segments_from_json

SRT = """1
00:00:01,000 --> 00:00:02,500
Good day,
<i>everybody</i>.

2
00:00:03,000 --> 00:00:04,000 X1:40 X2:600 Y1:20 Y2:50
{\\an8}Three < four & five > two.

"""
SRT_SEGMENTS = [Segment(1.0, 2.5, "Good day, everybody."), Segment(3.0, 4.0, "Three < four & five > two.")]

VTT = """WEBVTT - a title
Kind: captions
Language: en

STYLE
::cue { color: red }

REGION
id:fred

NOTE a comment
over two lines

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Anna Lee>Good <c.loud>day</c>,
<00:00:01.700>everybody &amp; all&nbsp;the others

NOTE

01:00:03.000 --> 100:00:04.250
NOTE is a word here
"""
VTT_SEGMENTS = [
    Segment(1.0, 2.5, "Good day, everybody & all the others"),
    Segment(3603.0, 360004.25, "NOTE is a word here"),
]


def read(tmp_path, content, name="words.srt", encoding="utf-8", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_transcript(path, **options)


def test_srt_as_players_take_it(tmp_path):
    assert read(tmp_path, SRT) == SRT_SEGMENTS


def test_vtt_with_header_blocks_settings_and_tags(tmp_path):
    assert read(tmp_path, VTT, "words.vtt") == VTT_SEGMENTS
    assert read(tmp_path, VTT, "named_wrongly.srt") == VTT_SEGMENTS


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems(tmp_path, end):
    assert read(tmp_path, SRT.replace("\n", end)) == SRT_SEGMENTS
    assert read(tmp_path, VTT.replace("\n", end)) == VTT_SEGMENTS


def test_missing_numbers_missing_blank_lines_and_dots_for_commas(tmp_path):
    sloppy = "00:00:01.000 --> 00:00:02.5\nGood day,\neverybody.\n7\n0:00:03,000-->0:00:04\n42\n"
    sloppy += "00:05,000 --> 00:06,000\nlast"
    expected = [Segment(1.0, 2.5, "Good day, everybody."), Segment(3.0, 4.0, "42"), Segment(5.0, 6.0, "last")]
    assert read(tmp_path, sloppy.replace("42\n", "42\n\n")) == expected


def test_cues_out_of_order_overlapping_or_empty(tmp_path):
    content = "1\n00:00:05,000 --> 00:00:09,000\nlater\n\n2\n00:00:01,000 --> 00:00:06,000\nearlier\n\n"
    content += "3\n00:00:02,000 --> 00:00:03,000\n<i> </i>\n"
    assert read(tmp_path, content) == [Segment(1.0, 6.0, "earlier"), Segment(5.0, 9.0, "later")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(tmp_path, encoding):
    assert read(tmp_path, SRT.replace("day", "dæÿ"), encoding=encoding)[0].text == "Good dæÿ, everybody."


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            "1\n00:00:01,000 -> 00:00:02,000\nwords\n",
            "a.srt",
            r"a\.srt, line 2: found '00:00:01,000 -> 00:00:02,000'; expected",
        ),
        ("7\n", "a.srt", "line 1: found '7'; expected the times of a cue"),
        ("1\n00:00:01,000 --> 00:00:0x,000\nwords\n", "a.srt", "line 2: found '00:00:01,000 --> 00:00:0x,000'"),
        ("words of no cue\n\n" + SRT, "a.srt", "line 1: found 'words of no cue'"),
        (VTT + "\nwords of no cue\n", "a.vtt", "line 24: found 'words of no cue'"),
        ("\n\n3\n00:00:05,000 --> 00:00:04,000\nwords\n", "a.srt", "line 4: the cue ends at 4 s before it begins at 5"),
        ("1\n00:61:05,000 --> 00:62:04,000\nwords\n", "a.srt", "line 2: found 61 minutes and 05"),
        (SRT, "a.vtt", "line 1: found '1'; a WebVTT file begins with WEBVTT"),
        ('{"segments": [\n{"start": 1,}]}', "a.json", "line 2: this begins as JSON but is none"),
        ('{"text": "a"}', "a.json", "the JSON object has the keys text; expected"),
        ('{"segments": 3}', "a.json", "segments is no list"),
        ('[{"word": "a", "start": 1, "end": 2}, 7]', "a.json", "item 1 is 7"),
        ('[{"start": 1, "end": 2}]', "a.json", 'item 0 has no "text" or "word"'),
        ('[{"word": "a", "start": 2, "end": 1}]', "a.json", "item 0 is from 2 to 1"),
        ('[{"word": "a", "start": "1", "end": 2}]', "a.json", "item 0 is from '1' to 2"),
        ('[{"word": "a", "start": NaN, "end": 2}]', "a.json", "item 0 is from nan to 2"),
        ('{"chunks": [{"timestamp": [1], "text": "a"}]}', "a.json", r"chunks 0 has the timestamp \[1\]"),
        ("", "a.srt", "there are no words with times in it"),
        ("[]", "a.json", "there are no words with times in it"),
        (bytes(range(256)) * 4, "a.srt", "this is not text"),
        (b"caf\x81", "a.srt", "this is not text"),
    ],
)  # fmt: skip
def test_malformed_files_are_named_with_the_place(tmp_path, content, name, message):
    with pytest.raises(TranscriptError, match=message):
        read(tmp_path, content, name)


def test_no_file(tmp_path):
    with pytest.raises(TranscriptError, match="there is no such file"):
        read_transcript(tmp_path / "none.srt")


def test_whisper_and_transformers_give_segments(tmp_path):
    segments = [
        {"id": 0, "start": 0.0, "end": 2.0, "text": " Good  day."},
        {"start": 2, "end": 3.5, "text": " Bye now."},
    ]
    whisper = {"text": "a b c", "segments": segments}
    open_ended = [{"timestamp": [0.0, 2.0], "text": " Good day."}, {"timestamp": [2.0, None], "text": " Bye now."}]
    chunks = {"text": "", "chunks": open_ended}
    expected = [Segment(0.0, 2.0, "Good day."), Segment(2, 3.5, "Bye now.")]
    assert read(tmp_path, json.dumps(whisper), "whisper.json") == expected
    assert read(tmp_path, json.dumps(chunks), "chunks.json", longest=1.5) == expected


def test_an_open_end_is_the_next_start():
    chunks = [{"timestamp": (0.0, None), "text": "Good day."}, {"timestamp": (2.0, 3.0), "text": "Bye now."}]
    assert segments_from_json({"chunks": chunks})[0] == Segment(0.0, 2.0, "Good day.")


def words(*rows):
    return [{"word": word, "start": start, "end": end} for word, start, end in rows]


def test_words_are_joined_up_to_a_pause():
    rows = words(("it", 0.0, 0.2), ("rains.", 0.3, 0.8), ("Why", 1.5, 1.8), ("not?", 1.8, 2.2))
    expected = [Segment(0.0, 0.8, "it rains."), Segment(1.5, 2.2, "Why not?")]
    assert segments_from_json(rows) == expected
    assert segments_from_json({"words": rows}) == expected
    assert segments_from_json(rows, pause=0.7) == [Segment(0.0, 2.2, "it rains. Why not?")]


def test_words_are_joined_up_to_a_longest_length():
    rows = words(*((str(second), float(second), second + 0.9) for second in range(6)))
    found = segments_from_json(rows, longest=2.0)
    assert found == [Segment(0.0, 1.9, "0 1"), Segment(2.0, 3.9, "2 3"), Segment(4.0, 5.9, "4 5")]
    long_word = [(0.0, 9.0, "aaah"), (9.0, 9.5, "so")]
    assert join_words(long_word, longest=2.0) == [Segment(*word) for word in long_word]


def test_blanks_of_the_recogniser_are_kept_and_words_without_times_follow_the_one_before():
    rows = [*words((" 你", 0.0, 0.2), ("好", 0.2, 0.4), (" world", 0.4, 0.8)), {"word": " 42"}]
    assert segments_from_json(rows) == [Segment(0.0, 0.8, "你好 world 42")]


@pytest.mark.parametrize("options", [{"pause": -1}, {"longest": 0}])
def test_lengths_for_words_are_checked(options):
    with pytest.raises(ValueError, match="expected seconds"):
        join_words([], **options)


@pytest.mark.parametrize("times", [(2, 1), (-1, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_segment_has_times(times):
    with pytest.raises(ValueError, match="expected 0 <= start <= end"):
        Segment(*times)


milliseconds = st.integers(0, 400 * 3600 * 1000)
anything = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(milliseconds, milliseconds, anything), max_size=8))
def test_what_is_written_is_read_again(rows):
    cues = [Segment(min(row[:2]) / 1000, max(row[:2]) / 1000, " ".join(row[2].split())) for row in rows]
    cues = sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start, cue.end))
    arrowless = [Segment(cue.start, cue.end, cue.text.replace("-->", "->")) for cue in cues]
    assert parse_subtitles("".join(vtt_lines(cues)), "vtt") == arrowless
    # SRT cannot write a tag's signs as words.
    plain = [Segment(cue.start, cue.end, "x" + cue.text.translate({ord(sign): "_" for sign in "<>{}"})) for cue in cues]
    assert parse_subtitles("".join(srt_lines(plain)), "srt") == plain


def test_windows_cover_the_video():
    assert list(fixed_windows(10.0, 4.0)) == [Segment(0.0, 4.0), Segment(4.0, 8.0), Segment(8.0, 10.0)]
    assert list(fixed_windows(8.2, 4.0)) == [Segment(0.0, 4.0), Segment(4.0, 8.0)]
    assert list(fixed_windows(1.0, 4.0)) == [Segment(0.0, 1.0)]
    overlapping = list(fixed_windows(8.0, 4.0, 2.0))
    assert overlapping == [Segment(0.0, 4.0), Segment(2.0, 6.0), Segment(4.0, 8.0)]


@pytest.mark.parametrize("lengths", [(0.0, None), (4.0, 0.0), (4.0, -1.0), (float("nan"), None)])
def test_lengths_of_windows_are_checked(lengths):
    with pytest.raises(ValueError, match="expected a positive number of seconds"):
        fixed_windows(8.0, *lengths)
