"""Subtitles in the forms and encodings that people have: the same words from each, or an error with its place."""

import json
import logging

import pytest

from modeling_semanticmac.timeline.recognizer_words import segments_from_json
from modeling_semanticmac.timeline.segments import Segment
from modeling_semanticmac.timeline.transcripts import TranscriptError, read_transcript
from tests.helpers.media_files import write_media
from tests.helpers.subtitle_files import ASS, FORMS, ROLLING_SRT, ROLLING_VTT, SRT, TTML
from tests.helpers.timelines import with_tracks

BOTH = [Segment(0.5, 3.0, "Hello, there"), Segment(3.2, 5.5, "Good day, everybody")]


def read(tmp_path, content, name="words.srt", encoding="utf-8", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_transcript(path, **options)


@pytest.mark.parametrize("content", [ROLLING_VTT, ROLLING_SRT], ids=["vtt", "srt"])
def test_rolling_captions_have_each_line_once(tmp_path, content):
    """What is said twice stays, though every line is shown twice."""
    expected = [Segment(0.16, 2.429, "how are you"), Segment(2.439, 4.749, "no no"), Segment(4.759, 6.0, "no no")]
    assert read(tmp_path, content) == expected


def test_sentences_that_are_said_twice_stay(tmp_path):
    lines = ["No.", "No.", "No. Yes.", "No.", "42", "42"]
    content = "".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{line}\n\n" for n, line in enumerate(lines))
    assert [segment.text for segment in read(tmp_path, content)] == lines


def test_numbers_at_the_end_of_a_cue_stay(tmp_path):
    content = "1\n00:00:00,000 --> 00:00:01,000\nThe answer is\n42\n\n00:00:02,000 --> 00:00:03,000\nor\n7\n"
    assert [segment.text for segment in read(tmp_path, content)] == ["The answer is 42", "or 7"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"], ids=["LF", "CRLF", "CRCRLF"])
def test_every_form_holds_the_same_words(tmp_path, form, end):
    content = FORMS[form].replace("\n", end)
    assert read(tmp_path, content, f"a.{form}") == BOTH
    assert read(tmp_path, content, "named_wrongly.txt") == BOTH


def test_the_last_line_of_lyrics_ends_after_the_longest_length(tmp_path):
    found = read(tmp_path, "[00:01.00]so\n[01:02.50]long", "a.lrc", longest=4.0)
    assert found == [Segment(1, 5, "so"), Segment(62.5, 66.5, "long")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ASS.replace("0:00:03.20,", "0:00:03,"), r"a\.x, line 11: found 'Dialogue: 0,0:00:03,"),
        (ASS.replace("Layer, Start, End", "Layer, End, Start"), "line 9: found .*expected the fields Layer, Start"),
        (TTML.replace(' dur="2.3s"', ""), "paragraph 2 of the TTML has no begin and end"),
        (TTML.replace("3.2s", "80f"), "the TTML is of a kind that is not read here .*80f"),
        (TTML.replace("<div>", "").replace("</div>", ""), "0 of the 2 paragraphs of the TTML stand directly in a div"),
        (TTML.replace("</p>", "", 1), "line 5: this begins as XML but is not"),
        ("<html><body>words</body></html>", "XML with the root 'html'; expected TTML"),
        ("[00:01.00]so\nlost words\n", r"line 2: found 'lost words'; expected the times of a cue, \[00:01.00\]words"),
        ("0:00:00.500,0:00:03.000\na\n0:00:05.000,0:00:04.000\nb\n", "line 3: the cue ends at 4 s before it begins"),
        ("0:00:00.500,0:00:03.000\na\n0:00:0x.000,0:00:04.000\nb\n", "line 3: found '0:00:0x.000,0:00:04.000'"),
        ("0:00:00.500,0:00:03.000\na\n0:61:05.000,0:62:04.000\nb\n", "line 3: found 61 minutes and 05 seconds"),
        (SRT.replace("03,200 -->", "03,200 ->"), "line 8: found '00:00:03,200 -> 00:00:05,500'"),
    ],
)
def test_what_a_form_would_lose_is_named(tmp_path, content, message):
    with pytest.raises(TranscriptError, match=message):
        read(tmp_path, content, "a.x")


# Tracks inside of video files


def test_a_subtitle_track_inside_of_a_video(tmp_path, caplog):
    video = write_media(tmp_path / "talk.mp4", 6.0, sound=None)
    (tmp_path / "words.srt").write_text(SRT)
    (tmp_path / "others.srt").write_text(SRT.replace("Hello", "Goodbye"))
    found = read_transcript(with_tracks(tmp_path / "one.mkv", video, tmp_path / "words.srt"))
    assert [segment.text for segment in found] == [segment.text for segment in BOTH]
    assert [segment.start for segment in found] == pytest.approx([0.5, 3.2], abs=0.05)
    assert [segment.end - segment.start for segment in found] == pytest.approx([2.5, 2.3])
    two = with_tracks(tmp_path / "two.mkv", video, tmp_path / "words.srt", tmp_path / "others.srt")
    with caplog.at_level(logging.WARNING):
        assert read_transcript(two) == found
    assert "of 2 subtitle tracks (?, ?) the one at 1 is used" in caplog.text
    with pytest.raises(TranscriptError, match="talk.mp4: the file holds no subtitle track"):
        read_transcript(video)
    (tmp_path / "no.mp4").write_text("no video")
    with pytest.raises(TranscriptError, match="no.mp4: this is not a video"):
        read_transcript(tmp_path / "no.mp4")


# Encodings

CHINESE = ["我真的没有想到会这样", "太好了，我们明天一起去吧", "可是他后来说了一句很难听的话"]
TRADITIONAL = ["我真的沒有想到會這樣", "太好了，我們明天一起去吧", "可是他後來說了一句很難聽的話"]
JAPANESE = ["本当に予想していませんでした。", "あなたはどこにいましたか？", "ありがとうございます。"]
RUSSIAN = ["Я этого не ожидал, правда.", "Где ты был вчера вечером?", "Спасибо большое."]
FRENCH = ["Je ne m'attendais pas à ça, voilà.", "C'est très étrange, n'est-ce pas ?", "Écoute, où êtes-vous allés ?"]
SPANISH = ["No me lo esperaba, señor.", "¿Dónde está el niño?", "¡Qué alegría!"]


def as_srt(lines):
    return "".join(f"{n}\r\n00:00:0{n},000 --> 00:00:0{n + 1},000\r\n{line}\r\n\r\n" for n, line in enumerate(lines))


@pytest.mark.parametrize(
    ("lines", "encoding", "taken"),
    [
        (CHINESE, "gbk", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "cp932"),
        (RUSSIAN, "cp1251", "cp1251"),
        (FRENCH, "cp1252", "cp1252"),
        (SPANISH, "cp1252", "cp1252"),
    ],
)
def test_other_encodings_are_recognised_and_named(tmp_path, caplog, lines, encoding, taken):
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path, as_srt(lines), encoding=encoding)
    assert [segment.text for segment in found] == lines
    assert f"words.srt is not UTF-8; it is read as {taken}" in caplog.text
    caplog.clear()
    found = read_transcript(tmp_path / "words.srt", encoding=encoding)
    assert [segment.text for segment in found] == lines and not caplog.text


def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path):
    with pytest.raises(
        TranscriptError, match="words.srt: this is not text in UTF-8, and .* would both make text of it"
    ):
        read(tmp_path, as_srt(["算了。"]), encoding="gbk")
    assert [segment.text for segment in read_transcript(tmp_path / "words.srt", encoding="gbk")] == ["算了。"]
    with pytest.raises(TranscriptError, match="not text in utf-8: byte 34 is 0xcb; name another encoding"):
        read_transcript(tmp_path / "words.srt", encoding="utf-8")
    with pytest.raises(TranscriptError, match="there is no encoding 'gbx'"):
        read_transcript(tmp_path / "words.srt", encoding="gbx")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path, damage):
    raw = as_srt(CHINESE).encode()
    last = raw.rindex("话".encode())
    raw = raw[: last + 1] if damage == "cut" else raw[:last] + b"\xff" + raw[last + 1 :]
    with pytest.raises(TranscriptError, match="not text in UTF-8 at one place, line 11, where it was cut or damaged"):
        read(tmp_path, raw)


# What recognisers write


def chunks(*rows):
    return {"text": "", "chunks": [{"timestamp": [start, end], "text": text} for start, end, text in rows]}


SENTENCES = [(0.0, 2.4, "我真的没有想到会这样。"), (2.4, 4.0, "太好了！"), (4.0, 7.5, "可是他后来说了一句很难听的话。")]
YES_NO = [(0.0, 0.6, "Yes."), (0.8, 1.2, "No."), (1.4, 2.0, "Maybe.")]


@pytest.mark.parametrize("rows", [SENTENCES, YES_NO], ids=["without blanks", "of one word"])
def test_sentences_are_segments(rows):
    expected = [Segment(*row) for row in rows]
    assert segments_from_json({"segments": [dict(zip(("start", "end", "text"), row)) for row in rows]}) == expected
    assert segments_from_json(chunks(*rows)) == expected


def test_words_in_chunks_are_joined():
    english = chunks((0.0, 0.2, " it"), (0.3, 0.8, " rains."), (1.8, 2.0, " Why"), (2.0, 2.3, " not?"))
    assert [segment.text for segment in segments_from_json(english)] == ["it rains.", "Why not?"]
    chinese = chunks((0.0, 0.2, " 你"), (0.2, 0.5, "好"), (0.5, 0.9, "吗？"))
    assert segments_from_json(chinese) == [Segment(0.0, 0.9, "你好吗？")]
    assert [segment.text for segment in segments_from_json(english, unit="segment")] == ["it", "rains.", "Why", "not?"]
    assert segments_from_json(chunks(*SENTENCES), unit="word") == [Segment(0.0, 7.5, " ".join(r[2] for r in SENTENCES))]
    with pytest.raises(ValueError, match="unit is 'words'"):
        segments_from_json(english, unit="words")


ASSEMBLYAI = {"id": "x", "text": "Hello there", "utterances": None, "words": [
    {"text": "Hello", "start": 500, "end": 900, "confidence": 0.9},
    {"text": "there", "start": 1000, "end": 2000},
]}  # fmt: skip


def test_milliseconds_are_told_by_the_speed_of_speech(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, json.dumps(ASSEMBLYAI), "a.json") == [Segment(0.5, 2.0, "Hello there")]
    assert "read as milliseconds" in caplog.text
    first, second = (
        {"start": 0, "end": 61_000, "text": "so " * 300},
        {"start": 61_000, "end": 90_000, "text": "on " * 90},
    )
    assert [(segment.start, segment.end) for segment in segments_from_json({"utterances": [first, second]})] == [
        (0, 61),
        (61, 90),
    ]


def test_slow_seconds_stay_seconds(tmp_path):
    """A chapter of a talk, a sound that lasts, and anything that lies within the media."""
    chapter, sound = {"start": 0, "end": 600, "text": "word " * 1200}, {"start": 600, "end": 660, "text": "[Music]"}
    assert [segment.end for segment in segments_from_json({"segments": [chapter, sound]})] == [600, 660]
    music = {"segments": [{"start": 0, "end": 60, "text": "[Music]"}]}
    assert segments_from_json(music)[0].end == 60
    assert read(tmp_path, json.dumps(ASSEMBLYAI), "a.json", duration=3000.0, longest=5000)[0].end == 900
