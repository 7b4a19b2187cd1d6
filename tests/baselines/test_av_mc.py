"""AV-MC: mixing by hand, its random draws, the public number of weights."""

import pytest
import torch

from modeling_semanticmac.baselines.av_mc import AVMC, AVMCOptions
from modeling_semanticmac.baselines.fusion_losses import label_loss
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.systems import system_trainer
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT

NO_DROPOUT = {"dropout": 0.0, "media_dropout": 0.0}


def small(task=SENTIMENT, partner=(0, 1, 2), share=1.0, **changes):
    """A system in training whose draws are given, and three clips with labels, the last without audio."""
    torch.manual_seed(0)
    module = AVMC(AVMCOptions(**NO_DROPOUT, **changes), WIDTHS, task).train()
    module.draw = lambda size: (torch.tensor(partner), torch.tensor(share))
    streams = clip_streams([(4, 3, 5), (3, 2, 2), (5, 0, 3)])
    streams.labels = torch.tensor([1.0, -2.0, 0.5])
    return module, streams


def absolute(logits, labels):
    return (logits.squeeze(-1) - labels).abs()


@pytest.mark.parametrize(("partner", "share"), [((1, 0, 2), 1.0), ((0, 1, 2), 0.3)])
def test_nothing_mixed_is_the_plain_pass_three_times(partner, share):
    module, streams = small(partner=partner, share=share)
    found = module(streams)
    y, has = streams.labels, streams.modality_mask
    t, a, v = (absolute(found.modality_logits[:, m], y) for m in range(3))
    modalities = 0.2 * t.mean() + 0.8 * a[has[:, 1]].mean() + 0.4 * v.mean()
    plain = absolute(found.logits, y).mean() + modalities
    torch.testing.assert_close(absolute(found.logits, y).mean() + sum(found.losses.values()), 3 * plain)


def test_a_mixed_pass_by_hand():
    module, streams = small(partner=(1, 2, 0), share=0.3)
    found, y = module(streams), streams.labels
    vectors = {"text": module.text(streams.text_vector)}
    for name, network in module.media.items():
        vectors[name] = network(getattr(streams, name), getattr(streams, f"{name}_mask"))
    # Only the first clip and its partner both have audio.
    audio = vectors["audio"].clone()
    audio[0] = 0.3 * vectors["audio"][0] + 0.7 * vectors["audio"][1]
    logits, own = module.fuse({**vectors, "audio": audio}, streams)

    def mixed(values):
        first = absolute(values, y)
        return torch.stack([0.3 * first[0] + 0.7 * (values[0, 0] - y[1]).abs(), first[1], first[2]])

    expected = mixed(logits).mean() + 0.8 * mixed(own["audio"])[:2].mean()
    expected = expected + 0.2 * absolute(own["text"], y).mean() + 0.4 * absolute(own["vision"], y).mean()
    torch.testing.assert_close(found.losses["mixed_audio"], expected)


def test_annotated_labels_of_the_modalities_are_used():
    module, streams = small(partner=(1, 0, 2), share=0.3)
    other = torch.tensor([2.0, 3.0, -1.0])
    streams.targets = {"text": streams.labels, "audio": other, "vision": streams.labels}
    found, rows = module(streams), [0, 1]  # the third clip has no audio
    expected = 0.8 * absolute(found.modality_logits[:, 1], other)[rows].mean()
    torch.testing.assert_close(found.losses["audio"], expected)
    plain = small(partner=(1, 0, 2), share=0.3)[0](streams)
    torch.testing.assert_close(plain.losses["mixed_audio"], found.losses["mixed_audio"])
    streams.targets = None
    assert not torch.allclose(module(streams).losses["mixed_audio"], found.losses["mixed_audio"])


def test_the_trainer_reads_the_annotations_of_its_clips(tmp_path):
    trainer = system_trainer(tmp_path, "av_mc")
    clips = trainer.train_dataset.remove_columns(["label_audio"])
    scores = [None, -1.5, *[0.5] * (len(clips) - 2)]
    trainer.train_dataset = clips.add_column("label_audio", scores)
    state = trainer.make_state(trainer.training_labels())
    own = clips["label"][:]
    assert state.targets(torch.tensor([0, 1, 3]))["audio"].tolist() == [own[0], -1.5, 0.5]
    assert state.targets(torch.tensor([0, 1]))["text"].tolist() == own[:2] and state.state_dict() == {}


def test_the_draws_follow_the_seed_and_the_range():
    module = AVMC(AVMCOptions(), WIDTHS, SENTIMENT)
    torch.manual_seed(3)
    partner, share = module.draw(6)
    torch.manual_seed(3)
    again, same = module.draw(6)
    assert partner.equal(again) and share == same and 0 < share < 1 and sorted(partner.tolist()) == list(range(6))


@pytest.mark.parametrize("task", [SARCASM, EMOTIONS])
def test_classes_have_their_own_loss(task):
    module, streams = small(task, partner=(1, 0, 2), share=0.4)
    streams.labels = (
        torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0]]) if task.is_multi_label else torch.tensor([0, 1, 1])
    )
    found = module(streams)
    expected = 0.2 * label_loss(found.modality_logits[:, 0], streams.labels, task).mean()
    torch.testing.assert_close(found.losses["text"], expected)
    assert sum(found.losses.values()).isfinite()


@pytest.mark.parametrize(("media", "expected"), [((25, 177), 66440), ((1024, 1024), 99668)])
def test_as_many_weights_as_the_public_module(media, expected):
    widths = {"text": 768, "audio": media[0], "vision": media[1]}
    assert sum(weight.numel() for weight in AVMC(AVMCOptions(), widths, SENTIMENT).parameters()) == expected
    with pytest.raises(ValueError, match="fusion_activation is 'tanh'; expected relu or none"):
        AVMCOptions(fusion_activation="tanh")
