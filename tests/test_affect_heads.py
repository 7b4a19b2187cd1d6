import pytest
import torch
from transformers import AutoModel, AutoModelForVideoClassification

from modeling_semanticmac import (
    SemanticMACForAffect,
    SemanticMACForEmotionRecognition,
    SemanticMACForHumorDetection,
    SemanticMACForSarcasmDetection,
    SemanticMACForSentimentAnalysis,
    SemanticMACModel,
)
from modeling_semanticmac.affect_heads import AffectPredictor, subtask_embeds
from modeling_semanticmac.configuration_semanticmac import SUBTASKS
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, random_batch, tiny_config

LENGTHS = [(6, 4, 5), (2, 1, 9), (4, 0, 3)]
LABELS = {
    "sentiment": torch.tensor([1.5, -2.0, 0.0]),
    "sarcasm": torch.tensor([1, 0, 1]),
    "emotion": torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
}
CLASSES = [
    (SemanticMACForSentimentAnalysis, SENTIMENT),
    (SemanticMACForEmotionRecognition, EMOTIONS),
    (SemanticMACForHumorDetection, SARCASM),
    (SemanticMACForSarcasmDetection, SARCASM),
]


def head(kind=SemanticMACForAffect, task=SENTIMENT):
    torch.manual_seed(0)
    return kind(tiny_config(task)).eval()


@pytest.mark.parametrize(("kind", "task"), CLASSES)
def test_five_predictions_and_a_loss(kind, task):
    output = head(kind, task)(**random_batch(LENGTHS), labels=LABELS[task.name])
    assert output.logits.shape == (3, task.num_labels)
    assert output.subtask_logits.shape == (3, 4, task.num_labels)
    assert output.loss.ndim == 0 and torch.isfinite(output.loss)
    logits, labels = output.logits, LABELS[task.name]
    if task is SENTIMENT:
        expected = (logits[:, 0] - labels).abs().mean()
    elif task is EMOTIONS:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    else:
        expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(output.loss, expected)


def test_predictor_is_equation_20():
    torch.manual_seed(0)
    predictor = AffectPredictor(4, 2, dropout=0.5).eval()
    x = torch.randn(3, 4)
    hidden = (x @ predictor.expand.weight.T + predictor.expand.bias).clamp(min=0)
    u = hidden @ predictor.contract.weight.T + predictor.contract.bias + x
    torch.testing.assert_close(predictor(x), u @ predictor.output.weight.T + predictor.output.bias)


def test_each_subtask_predicts_from_its_own_representation():
    model = head()
    output = model(**random_batch(LENGTHS))
    embeds = subtask_embeds(output)
    for position, subtask in enumerate(SUBTASKS):
        torch.testing.assert_close(model.predictors[subtask](embeds[subtask]), output.subtask_logits[:, position])
    torch.testing.assert_close(embeds["S"][0], output.shared_embeds[0].mean(0))
    torch.testing.assert_close(embeds["S"][2], output.shared_embeds[2, [0, 2]].mean(0))  # the third sample has no audio
    torch.testing.assert_close(embeds["V"], output.specific_embeds[:, 2])


@pytest.mark.parametrize(("kind", "task"), CLASSES)
def test_saved_and_loaded_gives_equal_outputs_through_every_door(kind, task, tmp_path):
    model, batch = head(kind, task), random_batch(LENGTHS)
    model.save_pretrained(tmp_path)
    expected = model(**batch)
    for loaded in (kind.from_pretrained(tmp_path), AutoModelForVideoClassification.from_pretrained(tmp_path)):
        assert isinstance(loaded, SemanticMACForAffect) and loaded.config.task == task
        assert all(value.equal(model.state_dict()[name]) for name, value in loaded.state_dict().items())
        for name, value in loaded.eval()(**batch).items():
            # Equal weights, yet the last bit may differ: mapped files lie at other alignments, and sums are cut there differently.
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert type(base) is SemanticMACModel
    torch.testing.assert_close(base(**batch).multimodal_embeds, expected.multimodal_embeds, atol=1e-6, rtol=1e-5)


def test_base_checkpoint_serves_a_new_head(tmp_path):
    torch.manual_seed(0)
    base = SemanticMACModel(tiny_config(SARCASM)).eval()
    base.save_pretrained(tmp_path)
    loaded, info = SemanticMACForSarcasmDetection.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] and all(key.startswith("predictors.") for key in info["missing_keys"])
    batch = random_batch(LENGTHS)
    found, expected = loaded.eval()(**batch).multimodal_embeds, base(**batch).multimodal_embeds
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        (SemanticMACForSentimentAnalysis, EMOTIONS, "one score or one class"),
        (SemanticMACForEmotionRecognition, SENTIMENT, "predicts classes"),
        (SemanticMACForHumorDetection, SENTIMENT, "one of two classes"),
        (SemanticMACForSarcasmDetection, EMOTIONS, "one of two classes"),
    ],
)
def test_a_task_that_does_not_fit_the_class_is_refused(kind, task, message):
    with pytest.raises(ValueError, match=message):
        kind(tiny_config(task))


def test_labels_outside_the_task_are_refused():
    with pytest.raises(ValueError, match="hold 4; expected scores"):
        head()(**random_batch(LENGTHS), labels=torch.tensor([0.0, 4.0, 0.0]))
    with pytest.raises(ValueError, match=r"expected \(3,\)"):
        head()(**random_batch(LENGTHS), labels=torch.zeros(2))


def test_every_parameter_learns_and_only_those_of_a_present_modality():
    model = head().train()
    batch = random_batch(LENGTHS)
    output = model(**batch)
    (output.logits.sum() + output.subtask_logits.sum()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    model.zero_grad()
    model(**{name: value for name, value in batch.items() if "audio" not in name}).logits.sum().backward()
    audio = [p.grad for n, p in model.named_parameters() if "audio_perceiver" in n]
    assert audio and all(grad is None for grad in audio)


def test_gradient_checkpointing_gives_the_same_gradients():
    model, batch = head().train(), random_batch(LENGTHS)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model(**batch).logits.sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(**batch).logits.sum().backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, gradient)
