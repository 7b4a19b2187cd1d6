"""Nothing in a training step waits for the device.

Tensors on the device "meta" have shapes and no values: what needs a value on the CPU to go on, and would wait for a
GPU, cannot run on them.
"""

from contextlib import nullcontext

import pytest
import torch
from transformers import masking_utils

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.baselines import Streams
from modeling_semanticmac.baselines.fusion_layers import PackedLSTM
from modeling_semanticmac.baselines.training_state import Observed
from modeling_semanticmac.training.global_batch import SeenClips, gather_packed
from modeling_semanticmac.training.semantic_labels import SemanticLabels
from tests.helpers.systems import system_model
from tests.helpers.tiny import SENTIMENT, tiny_config
from tests.helpers.trainers import new_trainer


@pytest.mark.parametrize("waiting", [
    lambda rows: rows.sum().item(), lambda rows: rows[rows > 0], torch.nonzero, lambda rows: bool(rows.any()),
])  # fmt: skip
def test_what_waits_cannot_run_without_values(waiting):
    with pytest.raises((RuntimeError, NotImplementedError)):
        waiting(torch.zeros(3, device="meta"))


def test_a_step_of_training(tmp_path, monkeypatch):
    """Modality dropout, forward pass, all losses, backward pass, and the write into the bank.

    One look is the library's and stays: whether the language model's mask hides anything at all.
    """
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *_: False)
    trainer = new_trainer(tmp_path, modality_dropout=0.3)
    config = tiny_config(dropout=0.2)
    model = SemanticMACForAffect(config).train().to("meta")
    trainer.model, trainer.training_state = model, SemanticLabels(torch.rand(10), SENTIMENT, 16, device="meta")
    batch = {name: value.to("meta") for name, value in next(iter(trainer.get_train_dataloader())).items()}
    assert {"input_ids", "audio_embeds", "vision_embeds"} <= batch.keys()
    loss = trainer.training_loss(model, batch, batch.pop("clip_index"))
    loss.total.backward()
    trainer.observe()
    assert loss.total.device.type == "meta" and loss.parts.keys() >= {"M", "S", "T", "A", "V", "intra", "inter"}


@pytest.mark.parametrize("name", ["self_mm", "mmim", "misa"])
def test_losses_and_states_of_comparison_systems(name, monkeypatch):
    """Three epochs with missing modalities and clips that only fill up a batch.

    Recurrences do wait, for the lengths of their sequences: their states are replaced here.
    """
    monkeypatch.setattr(PackedLSTM, "states", lambda self, x, mask: _states(self.lstm, x))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for "meta"
    fusion = system_model(name).fusion.train().to("meta")
    state = None if fusion.state is None else fusion.state(torch.rand(9), SENTIMENT, fusion.options, device="meta")
    index, counts = (torch.zeros(4, dtype=kind, device="meta") for kind in (torch.long, torch.bool))
    for epoch in (1, 2, 3):
        streams = _meta_streams(fusion.widths, labels=torch.rand(4, device="meta"), counts=counts)
        if state is not None:
            assert isinstance(state.begin_epoch(epoch if name == "mmim" else min(epoch, 2)), dict)  # the third reports
            streams.targets = state.targets(index)
        fused = fusion(streams)
        (fused.logits.sum() + sum(fused.losses.values())).backward()
        if state is not None:
            state.observe(index, streams.labels, Observed(streams.modality_mask, embeds=fused.embeds))
    assert all(loss.device.type == "meta" for loss in fused.losses.values()) and len(fused.losses) >= 3


def _states(lstm: torch.nn.LSTM, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    width = sum(weight.shape[1] for name, weight in lstm.named_parameters() if name.startswith("weight_hh_l0"))
    states = x @ x.new_zeros(x.shape[2], width) + 0.0 * sum(p.sum() for p in lstm.parameters())
    return states, states[:, 0]


def _meta_streams(widths: dict[str, int], **fields) -> Streams:
    with torch.device("meta"):
        values = {name: torch.rand(4, 5, width) for name, width in widths.items()}
        masks = {f"{name}_mask": torch.ones(4, 5, dtype=torch.bool) for name in (*widths, "content")}
        return Streams(**values, **masks, modality_mask=torch.ones(4, 3, dtype=torch.bool), **fields)


def test_clips_that_fill_up_a_batch_are_found_without_waiting():
    clips = SeenClips(10, "meta")
    assert clips.first_time(torch.zeros(4, dtype=torch.long, device="meta"), 0).shape == (4,)


def test_several_tensors_are_gathered_at_once():
    """Two processes with other values: every type comes back bit for bit, in one call."""
    generator = torch.Generator().manual_seed(0)
    first, second = (
        (
            torch.randint(1000, (3,), generator=generator),
            torch.randn(3, 2, generator=generator).half(),
            torch.rand(3, 3, generator=generator) > 0.5,
            torch.randn(3, 4, 5, generator=generator),
        )
        for _ in range(2)
    )
    sent = []
    gather_packed(second, lambda rows: sent.append(rows) or rows)
    found = gather_packed(first, lambda rows: sent.append(rows) or torch.cat([rows, sent[0]]))
    assert len(sent) == 2
    for value, one, two in zip(found, first, second):
        assert value.dtype == one.dtype and value.equal(torch.cat([one, two]))


def test_what_does_not_count_writes_no_row():
    """Clip 1 is there twice, the second time to fill up the batch; clip 2 has no sound."""
    state = SemanticLabels(torch.zeros(4), SENTIMENT, 2)
    embeds = {name: torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]) for name in "STAV"}
    mask = torch.tensor([[True, True, True], [True, False, True], [True, True, True]])
    state.observe(torch.tensor([1, 2, -1]), None, Observed(mask, embeds=embeds))
    assert state.features[0, :, 0].tolist() == [0, 1, 2, 0] and state.features[2, :, 0].tolist() == [0, 1, 0, 0]
    assert state.present.tolist() == [[False, True, True, False]] * 2 + [[False, True, False, False]] + [
        [False, True, True, False]
    ]
    assert state.state_dict()["features"].shape == (4, 4, 2)
