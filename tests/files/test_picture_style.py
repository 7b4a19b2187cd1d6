import csv
import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from modeling_semanticmac.files.picture_style import (
    COLORS,
    CYCLE,
    DASHES,
    FONTS,
    MARKERS,
    new_figure,
    picture_style,
    save_picture,
)


def draw(stem):
    with picture_style():
        figure = new_figure(4, 3)
        figure.subplots().plot([0, 1], [1, 0], color=COLORS["text"])
    return save_picture(figure, stem, ["x", "y"], [[0, 1], [1, 0]])


def test_a_picture_comes_with_its_numbers_and_twice_the_same(tmp_path):
    one, two = draw(tmp_path / "a" / "one.v1"), draw(tmp_path / "two")
    assert sorted(path.name for path in one.parent.iterdir()) == ["one.v1.csv", "one.v1.png", "one.v1.svg"]
    pixels = np.asarray(Image.open(one).convert("RGB"))
    assert pixels.shape == (450, 600, 3)
    drawn = (pixels == np.array([0x00, 0x72, 0xB2])).all(axis=2).sum()
    assert drawn > 300  # the line is there, in its colour
    assert (one.with_suffix(".svg")).read_bytes() == two.with_suffix(".svg").read_bytes()
    with open(one.with_suffix(".csv"), newline="") as file:
        assert list(csv.reader(file)) == [["x", "y"], ["0", "1"], ["1", "0"]]


def test_no_two_modalities_share_a_sign():
    for signs in (COLORS, MARKERS):
        assert len(set(signs.values())) == len(signs) == 5
    assert len(set(zip(COLORS.values(), DASHES.values()))) == 5 and len(set(CYCLE)) == len(CYCLE)


def test_chinese_words_are_written_where_a_font_has_them(tmp_path):
    if not {font.name for font in font_manager.fontManager.ttflist} & set(FONTS[1:]):
        pytest.skip("needs a font with Chinese letters")
    with picture_style(), warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of every letter that no font has
        figure = new_figure(2, 1)
        figure.suptitle("film 电影 映画 é")
        save_picture(figure, tmp_path / "words")
