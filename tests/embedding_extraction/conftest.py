"""What the tests of extraction share: six clips, the odd kinds, two tiny towers, a processor."""

import pytest

from tests.helpers.extraction_cases import tiny_processor, tiny_towers, write_clips
from tests.helpers.media_files import odd_media

SECONDS = [0.2, 1.0, 2.6, 5.2, 0.6, 3.1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), SECONDS)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return odd_media(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def towers():
    return tiny_towers()


@pytest.fixture(scope="module")
def processor():
    return tiny_processor()
