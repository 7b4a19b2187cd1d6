"""EmoEmbs, FE2E and MESM: scores by hand, label names, the choice of frames, public numbers of weights."""

import pytest
import torch
from transformers import AutoTokenizer

from modeling_semanticmac import FusionForAffect
from modeling_semanticmac.baselines.emoembs import EmotionEmbeddings, EmotionEmbeddingsOptions
from modeling_semanticmac.baselines.end_to_end import (
    EndToEnd,
    EndToEndOptions,
    SparseEndToEnd,
    SparseEndToEndOptions,
    largest_shares,
)
from modeling_semanticmac.task_specification import TaskSpecification
from tests.helpers.clip_streams import WIDTHS, clip_streams
from tests.helpers.systems import system_model
from tests.helpers.tiny import EMOTIONS, word_tokenizer

SIX = TaskSpecification("emotion", "multi_label_classification", tuple("abcdef"))


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_emoembs_has_the_public_number_of_weights_for_any_number_of_labels():
    widths = {"text": 300, "audio": 144, "vision": 35}
    for task in (SIX, EMOTIONS):
        assert count(EmotionEmbeddings(EmotionEmbeddingsOptions(), widths, task)) == 5567903


def test_a_score_is_the_product_of_a_state_and_a_label():
    """The text's state is the second label, whose vectors are orthonormal; audio and vision are missing."""
    torch.manual_seed(0)
    module = EmotionEmbeddings(EmotionEmbeddingsOptions(8, 3, 3, 1), WIDTHS, EMOTIONS)
    module.labels.copy_(torch.eye(3, 8))
    module.weights.data = torch.tensor([0.7, 0.2, 0.1])
    final = torch.cat([module.labels[1] - 2.0, torch.full((8,), 2.0)])[None]  # of both directions
    module.recurrences["text"].register_forward_hook(lambda *_: final)
    found = module(clip_streams([(3, 0, 0)]))
    torch.testing.assert_close(found.logits, torch.tensor([[0.0, 0.7, 0.0]]))
    torch.testing.assert_close(found.modality_logits[0], torch.tensor([[0.0, 1.0, 0.0], [0.0] * 3, [0.0] * 3]))


def test_labels_are_read_from_the_language_model_and_saved():
    task = TaskSpecification("emotion", "multi_label_classification", ("good", "very_bad"))
    model = system_model("emoembs", task)
    tokenizer, table = word_tokenizer(), model.get_input_embeddings().weight
    model.fusion.read_labels(model.language_model, tokenizer)
    good, very, bad = (table[tokenizer.convert_tokens_to_ids(word)] for word in ("good", "very", "bad"))
    torch.testing.assert_close(model.fusion.labels, torch.stack([good, (very + bad) / 2]))
    assert "fusion.labels" in model.state_dict() and not model.fusion.labels.requires_grad


def test_labels_that_the_tokenizer_does_not_know_are_refused():
    """Both would have the vector of the unknown token, and the loss would stay at ln(C)."""
    task = TaskSpecification("emotion", "single_label_classification", ("good", "wistful", "bad", "jaded"))
    model = system_model("emoembs", task)
    with pytest.raises(ValueError, match="'wistful' and 'jaded' have the same vector"):
        model.fusion.read_labels(model.language_model, word_tokenizer())


def test_a_new_model_reads_its_labels_and_a_saved_one_keeps_them(models, tmp_path):
    options = {"text_hidden": 8, "audio_hidden": 6, "vision_hidden": 6, "num_layers": 1}
    known = TaskSpecification("emotion", "single_label_classification", ("good", "bad", "no_words"))
    sizes = {"audio_width": 12, "vision_width": 20, **known.config_fields()}
    model = FusionForAffect.from_language_model(models[1], architecture="emoembs", options=options, **sizes)
    tokenizer, embed = AutoTokenizer.from_pretrained(models[1]), model.get_input_embeddings()
    expected = [embed(torch.tensor(tokenizer(name, add_special_tokens=False)["input_ids"])).mean(dim=0)
                for name in ("good", "bad", "no words")]  # fmt: skip
    torch.testing.assert_close(model.fusion.labels, torch.stack(expected))
    model.save_pretrained(tmp_path)
    assert FusionForAffect.from_pretrained(tmp_path).fusion.labels.equal(model.fusion.labels)


def test_the_smallest_set_of_frames_that_reaches_the_share():
    shares = torch.tensor([[0.1, 0.5, 0.1, 0.3]])
    assert largest_shares(shares, 0.8).tolist() == [[False, True, False, True]]
    assert largest_shares(shares, 0.81).sum() == 3 and largest_shares(shares, 1.0).all()
    assert largest_shares(shares, 0.0).tolist() == [[False, True, False, False]]


def test_mesm_that_keeps_all_frames_is_fe2e():
    torch.manual_seed(0)
    sparse = SparseEndToEnd(SparseEndToEndOptions(8, 1, 2, 0.0, keep=1.0), WIDTHS, EMOTIONS).eval()
    dense = EndToEnd(EndToEndOptions(8, 1, 2, 0.0), WIDTHS, EMOTIONS).eval()
    dense.load_state_dict(sparse.state_dict(), strict=False)
    streams = clip_streams([(4, 6, 5), (0, 3, 7)])
    assert sparse(streams).logits.equal(dense(streams).logits)


def test_mesm_reads_the_chosen_frames_alone():
    torch.manual_seed(0)
    module = SparseEndToEnd(SparseEndToEndOptions(8, 1, 2, 0.0, keep=0.6), WIDTHS, EMOTIONS).eval()
    streams = clip_streams([(4, 6, 5)])
    frames, text = module.projections["audio"](streams.audio), streams.text_vector
    _, kept = module.choose("audio", frames, streams.audio_mask, text)
    hidden = torch.tanh(module.frame_maps["audio"](frames) + module.text_maps["audio"](text)[:, None])
    shares = torch.softmax(hidden @ module.scores["audio"].weight[0], dim=1)[0]
    best = shares.sort(descending=True)
    number = int((best.values.cumsum(0) < 0.6).sum()) + 1
    assert 1 < number < 6 and kept[0].nonzero().flatten().tolist() == sorted(best.indices[:number].tolist())
    expected = module.transformers["audio"](frames, kept)
    torch.testing.assert_close(module(streams).embeds["audio"], expected)


def test_fe2e_has_the_public_transformer():
    module = EndToEnd(EndToEndOptions(), {"text": 768, "audio": 1024, "vision": 1024}, SIX)
    assert count(module.transformers["audio"]) == 1124672
    assert count(module) == 2 * (1124672 + 1025 * 64 + 65 * 6) + 769 * 6 + 3
