"""The scale of tower embeddings: statistics of the training set, kept with the weights; the linear start."""

import json

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LinearRegression

from modeling_semanticmac import SemanticMACConfig, SemanticMACForAffect, SemanticMACModel
from modeling_semanticmac.input_scaling import ColumnMoments, InputScaling, StreamSummary, TextSummary, time_summary
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.scaling_statistics import fit_input_scaling
from tests.helpers.project import PROJECT
from tests.helpers.tiny import random_batch, tiny_config
from tests.helpers.trainers import new_trainer

LENGTHS = [(3, 4, 2), (5, 1, 3), (2, 6, 1)]


def statistics(model) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if "scaling" in name}


def test_moments_are_those_of_numpy_whatever_the_pieces():
    """Also far from zero. A column that is constant, or nearly so, has the deviation 1."""
    rows = np.random.default_rng(0).normal(1e4, [1e-3, 1.0, 3.0, 0.0], (500, 4))
    moments = ColumnMoments(4)
    for piece in np.split(rows, [0, 1, 200]):
        moments.add(torch.from_numpy(piece))
    mean, deviation = moments.mean_and_deviation()
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation[1:3], rows.std(axis=0)[1:3], rtol=1e-6)
    assert moments.count == 500 and deviation[0] == deviation[3] == 1


def test_each_scaling_by_hand():
    """Columns (1, 3) and (10, 10): means 2 and 10, deviations 1 and (none) 1. A row (3, 4) of length 5 has sqrt(2)."""
    moments = ColumnMoments(2)
    moments.add(torch.tensor([[1.0, 10.0], [3.0, 10.0]]))
    rows = torch.tensor([[3.0, 4.0]])
    expected = {"standardize": [[1.0, -6.0]], "unit": [[0.6 * 2**0.5, 0.8 * 2**0.5]], "none": [[3.0, 4.0]]}
    for kind, values in expected.items():
        scaling = InputScaling(2, kind)
        assert scaling.is_fitted == (kind != "standardize")
        scaling.fit(moments)
        assert scaling.is_fitted
        torch.testing.assert_close(scaling(rows), torch.tensor(values))


def test_time_summary_by_hand_and_its_gradient_for_one_frame():
    embeds = torch.tensor([[[1.0], [5.0], [77.0]], [[2.0], [0.0], [0.0]], [[9.0], [9.0], [9.0]]], requires_grad=True)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    found = time_summary(embeds, mask)
    assert found.tolist() == [[3.0, 2.0], [2.0, 0.0], [0.0, 0.0]]
    found.sum().backward()
    assert torch.isfinite(embeds.grad).all()


def test_trainer_computes_the_statistics_of_all_valid_frames(tmp_path):
    trainer = new_trainer(tmp_path, num_train_epochs=1)
    store = trainer.data_collator.store
    trainer.train()
    model = trainer.model.semanticmac
    for modality, place in (("audio", 0), ("vision", 1)):
        clips = [store[name][place].double().numpy() for name in trainer.train_dataset["id"]]
        clips = [clip for clip in clips if len(clip)]
        frames, scaling = np.concatenate(clips), getattr(model, f"{modality}_perceiver").scaling
        np.testing.assert_allclose(scaling.mean, frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaling.deviation, frames.std(axis=0), rtol=1e-6)
        summary = getattr(model, f"{modality}_summary").scaling
        both = np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in clips])
        np.testing.assert_allclose(summary.mean, both.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(summary.deviation, both.std(axis=0), rtol=1e-5)
        assert (scaling.rows, summary.rows) == (len(frames), len(clips))


def test_a_fitted_model_keeps_its_statistics_and_another_scaling_needs_none(tmp_path):
    trainer = new_trainer(tmp_path)
    clips, collator = trainer.train_dataset, trainer.data_collator
    counts = fit_input_scaling(trainer.model, clips, collator)
    before = {name: value.clone() for name, value in statistics(trainer.model).items()}
    assert counts["audio"] == before["semanticmac.audio_perceiver.scaling.rows"] > 0
    assert fit_input_scaling(trainer.model, clips.select(range(3)), collator) == {}
    assert all(value.equal(before[name]) for name, value in statistics(trainer.model).items())
    assert fit_input_scaling(SemanticMACForAffect(tiny_config(input_scaling="unit")), clips, collator) == {}


def test_raw_sound_is_encoded_by_the_tower_first(monkeypatch):
    """Windows of 3 x 4 numbers, whose tower returns the 12 numbers; of three windows the last is padding."""
    model, raw = SemanticMACForAffect(tiny_config()), torch.randn(5, 3, 1, 3, 4)
    monkeypatch.setattr(model.semanticmac, "encode_media", lambda modality, inputs, mask: inputs.flatten(2))
    mask = torch.tensor([[1, 1, 0]] * 5)
    rows = [{"input_features": x, "audio_mask": m} for x, m in zip(raw, mask)]
    counts = fit_input_scaling(model, rows, torch.utils.data.default_collate)
    frames = raw[:, :2].flatten(2).flatten(0, 1).numpy()
    assert counts == {"audio": 10, "vision": 0}
    np.testing.assert_allclose(model.semanticmac.audio_perceiver.scaling.mean, frames.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.semanticmac.audio_perceiver.scaling.deviation, frames.std(axis=0), rtol=1e-5)


def test_statistics_are_saved_and_stay_in_single_precision(tmp_path):
    model = SemanticMACForAffect(tiny_config())
    for scaling in model.semanticmac.input_scalings("audio") + model.semanticmac.input_scalings("vision"):
        moments = ColumnMoments(len(scaling.mean))
        moments.add(1000 + torch.randn(50, len(scaling.mean)))
        scaling.fit(moments)
    model.save_pretrained(tmp_path)
    for options in ({}, {"dtype": torch.bfloat16}):
        loaded = SemanticMACForAffect.from_pretrained(tmp_path, **options)
        for name, value in statistics(loaded).items():
            assert value.equal(statistics(model)[name]) and value.dtype == statistics(model)[name].dtype, name


@pytest.mark.parametrize("kind", [SemanticMACForAffect, SemanticMACModel])
def test_a_checkpoint_from_before_is_unit_scaled_without_linear_start(tmp_path, kind):
    """Its config.json has none of the fields, its weights none of the buffers."""
    model = SemanticMACForAffect(tiny_config(input_scaling="unit", linear_start=False)).eval()
    assert not statistics(model) and not any("summary" in name for name in model.state_dict())
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    for name in ("input_scaling", "linear_start", "text_summary_norm"):
        del written[name]
    (tmp_path / "config.json").write_text(json.dumps(written))
    loaded, batch = kind.from_pretrained(tmp_path).eval(), random_batch(LENGTHS)
    assert (loaded.config.input_scaling, loaded.config.linear_start) == ("unit", False)
    torch.testing.assert_close(loaded(**batch).multimodal_embeds, model(**batch).multimodal_embeds)
    for name in ("audio_embeds", "vision_embeds"):  # the scale of a row does not matter
        batch[name] = batch[name] * 7
    torch.testing.assert_close(
        loaded(**batch).multimodal_embeds, model(**batch).multimodal_embeds, atol=1e-5, rtol=1e-5
    )


def test_a_new_model_begins_as_the_linear_probe():
    """With least squares on F_M, the model at its start predicts what linear regression on pooled embeddings does.

    Widths are small enough for F_M (d = 96) to hold mean and deviation of both streams (2 * 12 + 2 * 20 = 64).
    """
    torch.manual_seed(0)
    model = SemanticMACModel(tiny_config(hidden_size=96)).eval()
    batch = random_batch([(1, 2 + n % 4, 2 + n % 3) for n in range(200)])
    streams = {name: value for name, value in batch.items() if not name.startswith(("input_ids", "attention"))}
    summaries = []
    for modality in ("audio", "vision"):
        embeds, mask = streams[f"{modality}_embeds"], streams[f"{modality}_mask"].bool()
        for scaling, rows in zip(
            model.input_scalings(modality),
            (embeds[mask], time_summary(embeds.masked_fill(~mask.unsqueeze(-1), 0), mask)),
        ):
            moments = ColumnMoments(rows.shape[1])
            moments.add(rows)
            scaling.fit(moments)
        summaries.append(rows)
    target = torch.randn(200, 3)
    with torch.no_grad():
        found = model(**streams).multimodal_embeds
    probe = LinearRegression().fit(torch.cat(summaries, dim=1), target).predict(torch.cat(summaries, dim=1))
    ours = LinearRegression().fit(found, target).predict(found)
    np.testing.assert_allclose(ours, probe, atol=1e-3)
    assert abs(probe - target.numpy()).mean() > 0.3  # the labels are noise that no linear map reproduces


@pytest.mark.parametrize("kind", ["mean", "last"])
def test_the_view_of_a_text_does_not_depend_on_the_scale_of_the_language_model(kind):
    """Against the same view in numpy; padding and what stands under it do not count, and no text is 0."""
    torch.manual_seed(0)
    summary = TextSummary(8, 64, kind, dropout=0.5).eval()
    torch.nn.init.normal_(summary.projection.weight, std=8**-0.5)
    hidden, mask = torch.randn(300, 5, 8), torch.ones(300, 5).bool()
    mask[:150, 3:] = False
    mask[0] = False
    chosen = np.where(mask[:, -1:], hidden[:, 4], hidden[:, 2]) if kind == "last" else None
    if kind == "mean":
        chosen = np.stack([row[valid].mean(0) for row, valid in zip(hidden.numpy()[1:], mask.numpy()[1:])])
        chosen = np.concatenate([np.zeros((1, 8)), chosen])
    normal = (chosen - chosen.mean(1, keepdims=True)) / np.sqrt(chosen.var(1, keepdims=True) + 1e-5)
    expected = normal @ summary.projection.weight.detach().numpy().T + summary.projection.bias.detach().numpy()
    with torch.no_grad():
        found = summary(hidden, mask)
        np.testing.assert_allclose(found[1:], expected[1:], atol=1e-5)
        assert found[0].eq(0).all()
        assert found[1:].std() == pytest.approx(1, abs=0.15)
        for scale in (0.2, 30):  # MiniLM's mean token has a deviation of 0.2, a decoder's last one of 2 to 30
            torch.testing.assert_close(summary(hidden * scale, mask), found, atol=2e-2, rtol=2e-2)
        padded = hidden.masked_fill(~mask.unsqueeze(-1), 1e4)
        torch.testing.assert_close(summary(padded, mask), found)


def test_a_checkpoint_from_before_reads_the_projected_text_as_its_view(tmp_path):
    """Its config.json lacks the field; F_M at the start is then the mean of the text tokens themselves."""
    model = SemanticMACModel(tiny_config(text_summary_norm=False)).eval()
    assert not any(name.startswith("text_summary") for name in model.state_dict())
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written.pop("text_summary_norm") is False
    (tmp_path / "config.json").write_text(json.dumps(written))
    loaded = SemanticMACModel.from_pretrained(tmp_path).eval()
    batch = random_batch(LENGTHS)
    text = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        tokens = loaded.text_projection(loaded.language_model(**text).last_hidden_state)
        mask = text["attention_mask"].unsqueeze(-1)
        expected = (tokens * mask).sum(1) / mask.sum(1)  # (B, d)
        torch.testing.assert_close(loaded(**text).multimodal_embeds, expected, atol=1e-6, rtol=1e-5)
        new = SemanticMACModel(tiny_config()).eval()
        assert new.config.text_summary_norm and new(**text).multimodal_embeds.std() > expected.std()


def test_linear_start_is_left_by_the_first_steps(tmp_path):
    """The branches that start at zero receive gradients, and move."""
    trainer = new_trainer(tmp_path)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    zero = ["semanticmac.interaction.specific_scale", "predictors.M.contract.weight", "predictors.A.contract.weight"]
    assert all(not before[name].any() and after[name].any() for name in zero)
    stack = "semanticmac.interaction.specific.layers.0.feed_forward.expand.weight"
    assert not after[stack].equal(before[stack])


def test_the_command_line_turns_scaling_and_start():
    words = ["--corpus", "mosi", "--data_dir", "x", "--output_dir", "y", "--language_model", "z", "--use_cpu"]
    words += ["--input_scaling", "none", "--linear_start", "false"]
    assert parse_arguments(words)[0].config_fields() == {"input_scaling": "none", "linear_start": False}


def test_the_paper_s_recipes_do_without_the_linear_start():
    """It is not in the paper; their other fields are checked with the recipes."""
    folder = PROJECT / "modeling_semanticmac/training/recipes"
    found = {path.stem: yaml.safe_load(path.read_text()).get("linear_start") for path in folder.glob("*.yaml")}
    assert found["mosei_sentiment_bert"] is False and found["ravdess_emotion_minilm"] is None


def test_summary_dropout_is_for_training_only():
    summary = StreamSummary(8, 4, "none", 0.5)
    embeds, mask = torch.randn(3, 5, 8), torch.ones(3, 5)
    assert not summary(embeds, mask).equal(summary(embeds, mask))
    summary.eval()
    assert summary(embeds, mask).equal(summary(embeds, mask))


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match="input_scaling is 'l2'; expected one of standardize, unit, none"):
        SemanticMACConfig(input_scaling="l2")
