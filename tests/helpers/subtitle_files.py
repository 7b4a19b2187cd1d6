"""Subtitles in every form, written by hand: the same two sentences, and automatic captions that roll."""

ROLLING_VTT = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.429 align:start position:0%
 
how<00:00:00.560><c> are</c><00:00:00.720><c> you</c>

00:00:02.429 --> 00:00:02.439 align:start position:0%
how are you
 

00:00:02.439 --> 00:00:04.749 align:start position:0%
how are you
no<00:00:02.760><c> no</c>

00:00:04.749 --> 00:00:04.759 align:start position:0%
no no
 

00:00:04.759 --> 00:00:06.000 align:start position:0%
no no
no<00:00:04.960><c> no</c>
"""
ROLLING_SRT = """1
00:00:00,160 --> 00:00:02,429

how are you

2
00:00:02,429 --> 00:00:02,439
how are you
 

3
00:00:02,439 --> 00:00:04,749
how are you
no no

4
00:00:04,749 --> 00:00:04,759
no no
 

5
00:00:04,759 --> 00:00:06,000
no no
no no
"""
ASS = r"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,nobody says this
Dialogue: 0,0:00:03.20,0:00:05.50,Default,,0,0,0,,{\i1}Good{\i0} day,\Neverybody
Dialogue: 0,0:00:00.50,0:00:03.00,Default,,0,0,0,,Hello, there
"""
SSA = ASS.replace("V4+", "V4").replace("Layer", "Marked").replace(": 0,", ": Marked=0,")
TTML = """<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div>
<p begin="00:00:00.500" end="00:00:03.000">Hello,<br/>there</p>
<p begin="3.2s" dur="2.3s">Good <span>day</span>, everybody</p>
</div></body></tt>
"""
SBV = "0:00:00.500,0:00:03.000\nHello,\nthere\n\n0:00:03.200,0:00:05.500\nGood day, everybody\n"
LRC = "[ar:Nobody]\n[00:00.50]Hello, there\n[00:03.00]\n[00:03.20]Good <00:04.00>day, everybody\n[00:05.50]\n"
SRT = "1\n00:00:00,500 --> 00:00:03,000\nHello,\n\nthere\n\n2\n00:00:03,200 --> 00:00:05,500\nGood day, everybody\n"
FORMS = {"ass": ASS, "ssa": SSA, "ttml": TTML, "sbv": SBV, "lrc": LRC, "srt": SRT}

__all__ = ["ASS", "FORMS", "ROLLING_SRT", "ROLLING_VTT", "SRT", "TTML"]
