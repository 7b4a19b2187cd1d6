import pytest

from modeling_semanticmac.commands.result_picture import VIEWS, result_bars
from modeling_semanticmac.files.picture_style import save_picture
from tests.helpers.tiny import classes


def score(value):
    return {"score": value, "polarity": "positive", "range": [-3.0, 3.0]}


def bars(axis):
    """Return (view, start of the bar, end of the bar), from the top."""
    names = [label.get_text() for label in axis.get_yticklabels()]
    boxes = [patch.get_bbox() for patch in axis.patches]
    return [(name, box.x0, box.x1) for name, box in zip(names, boxes)]


def test_scores_grow_from_the_middle_and_stop_at_the_edge(tmp_path):
    result = {"task": "sentiment", **score(1.5), "subtasks": {"shared": score(-0.5), "text": score(3.7)}}
    figure = result_bars(result)
    (axis,) = figure.axes
    assert [(n, round(a, 6), round(b, 6)) for n, a, b in bars(axis)] == [
        ("all together", 0, 1.5), ("what all share", 0, -0.5), ("words alone", 0, 3.0),
    ]  # fmt: skip
    assert [text.get_text() for text in axis.texts] == ["+1.50", "-0.50", "+3.70"]
    assert axis.get_yticks()[0] > axis.get_yticks()[1]  # the prediction stands on top
    assert save_picture(figure, tmp_path / "bars").is_file()


def test_two_classes_are_one_panel_and_more_are_one_each():
    two = {"task": "sarcasm", "subtasks": {"text": {**classes(no=0.9, yes=0.1), "probability": 0.1}}}
    two |= {**classes(no=0.3, yes=0.7), "probability": 0.7}
    (axis,) = result_bars(two).axes
    assert axis.get_title() == "probability of yes" and [end for *_, end in bars(axis)] == pytest.approx([0.7, 0.1])
    names = [f"emotion {i}" for i in range(6)]
    several = {"task": "emotion", **classes(**{name: i / 10 for i, name in enumerate(names)}), "subtasks": {}}
    drawn = [axis for axis in result_bars(several).axes if axis.axison]
    assert [axis.get_title() for axis in drawn] == names
    assert [axis.patches[0].get_bbox().x1 for axis in drawn] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_clip_that_could_not_be_used_has_no_picture():
    with pytest.raises(ValueError, match="no prediction to draw: it is empty"):
        result_bars({"error": "it is empty", "media": "x.mp4"})


def test_every_view_has_a_name_of_its_own():
    assert len(set(VIEWS.values())) == len(VIEWS) == 5
