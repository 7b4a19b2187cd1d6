import pytest

from modeling_semanticmac.training.evaluation_sampler import WholeBatches


@pytest.mark.parametrize(("clips", "batch", "expected"), [
    (5, 2, [0, 1, 2, 3, 4, 0]), (4, 2, [0, 1, 2, 3]), (2, 5, [0, 1, 0, 1, 0]), (3, 1, [0, 1, 2]),
])  # fmt: skip
def test_rows_in_order_then_from_the_beginning_until_the_last_batch_is_whole(clips, batch, expected):
    sampler = WholeBatches(range(clips), batch)
    assert list(sampler) == expected and len(sampler) == len(expected)
