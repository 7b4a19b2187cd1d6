"""Predictions as HTML: classes, intervals, escaping, contrast of the colours."""

import re
import types

import pytest

from modeling_semanticmac.page.notices import notice_html, responsible_use
from modeling_semanticmac.page.result_html import result_html
from modeling_semanticmac.page.timeline_html import timeline_html
from tests.helpers.project import PROJECT
from tests.helpers.tiny import EMOTIONS

CSS = (PROJECT / "modeling_semanticmac/page/page.css").read_text()
MEDIA = {"missing": {}, "notes": ["odd <note>"]}


def result(**fields):
    base = {"task": "emotion", "subtasks": {}, "modalities": ["text", "audio"], "media": MEDIA}
    return {**base, **fields}


def test_classes_are_bars_the_most_probable_first():
    view = {"label": "sad", "score": 0.6, "probabilities": {"<b>": 0.1, "sad": 0.6, "calm": 0.3}}
    html = result_html(result(**view, subtasks={"audio": {**view, "label": "calm", "score": 0.3}}), [])
    assert re.findall(r'data-view="([^"]+)"', html) == ["sad", "calm", "&lt;b&gt;"]
    assert 'class="smac-bar chosen" style="left:0%;width:60.0%"' in html and "<b>sad 60%</b>" not in html
    assert "sad 60%</p>" in html and "<b>calm 30%</b>" in html
    assert "odd &lt;note&gt;" in html and "<note>" not in html


def test_an_interval_is_a_band_behind_the_bar():
    view = {"score": 1.5, "polarity": "positive", "range": [-3, 3], "level": 0.9, "interval": [0.0, 3.0]}
    html = result_html(result(**view), [])
    assert 'class="smac-band" style="left:50.0%;width:50.0%"' in html
    assert 'class="smac-bar positive" style="left:50.0%;width:25.0%"' in html
    assert "The interval +0.00 to +3.00 is made to hold the true score of 90% of clips." in html


def test_a_score_beyond_its_range_ends_at_its_edge():
    html = result_html(result(score=-4.5, polarity="negative", range=[-3, 3]), [])
    assert 'class="smac-bar negative" style="left:0.0%;width:50.0%"' in html and "-4.50</b>" in html


def test_several_segments_of_labels_are_counted_and_escaped():
    probabilities = dict.fromkeys(EMOTIONS.label_names, 0.1)
    rows = [
        {"labels": ["happy", "sad"], "contradictions": [["text", "audio"]]},
        {"labels": ["sad"], "contradictions": []},
        {"labels": [], "contradictions": []},
    ]
    rows = [
        {**row, "start": at, "end": at + 1.0, "text": "<i>", "probabilities": {**probabilities, "sad": 0.7}}
        for at, row in enumerate(rows)
    ]
    html = timeline_html([*rows, {"start": 3.0, "end": 4.0, "text": None, "error": "x"}], EMOTIONS, 4.0, [], [], {})
    assert "sad in 2, happy in 1" in html and "3 segments, 1 with" in html and "<i>" not in html
    assert "words against voice" in html and "none of the labels" in html and "no prediction" in html
    assert "1 of 4 cannot be used" in html


def luminance(color):
    """Return the relative luminance of #rrggbb, by WCAG 2."""
    values = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    "start, grounds", [(".smac {", ("#ffffff", "#fafafa")), (".dark .smac {", ("#0b0f19", "#27272a"))]
)
def test_every_colour_of_text_can_be_read(start, grounds):
    """The grounds are the darkest and the lightest of gradio's page and fields."""
    rule = CSS[CSS.index("\n" + start) :].partition("}")[0]
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", rule))
    for name in ("smac-ink", "smac-quiet", "negative", "positive", "neutral", "chosen", "smac-alert"):
        for ground in grounds:
            light, dark = sorted((luminance(colors[name]), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_the_notice_links_the_text_on_the_page_and_says_what_the_model_is_for():
    config = types.SimpleNamespace(intended_use="dialogues of <actors>")
    html = notice_html(config)
    assert "dialogues of &lt;actors&gt;" in html and 'href="#responsible-use"' in html and "Article 50(3)" in html
    assert "Intended use" not in notice_html(types.SimpleNamespace(intended_use=None))


def test_responsible_use_is_told_in_full_and_without_dead_links():
    text = responsible_use()
    assert "Article 50(3)" in text and "Article 5(1)(f)" in text and "GDPR" in text
    assert "](" not in text and "groups and uncertainty" in text
