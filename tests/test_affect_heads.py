import copy
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForVideoClassification, pipeline

from modeling_semanticmac import (
    SemanticMACForAffect,
    SemanticMACForEmotionRecognition,
    SemanticMACForHumorDetection,
    SemanticMACForSarcasmDetection,
    SemanticMACForSentimentAnalysis,
    SemanticMACModel,
    TaskSpecification,
)
from modeling_semanticmac.affect_heads import AffectPredictor, subtask_embeds
from modeling_semanticmac.configuration_semanticmac import SUBTASKS
from semanticmac import main
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, random_batch, tiny_config
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

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
            # Equal weights, yet the last bit may differ: mapped files are aligned differently, which reorders sums.
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)
    base = AutoModel.from_pretrained(tmp_path).eval()
    assert type(base) is SemanticMACModel
    torch.testing.assert_close(base(**batch).multimodal_embeds, expected.multimodal_embeds, atol=1e-6, rtol=1e-5)


def test_base_checkpoint_serves_a_new_head(tmp_path):
    torch.manual_seed(0)
    base = SemanticMACModel(tiny_config(SARCASM)).eval()
    base.save_pretrained(tmp_path)
    loaded, info = SemanticMACForSarcasmDetection.from_pretrained(tmp_path, output_loading_info=True, new_heads=True)
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


def test_activation_checkpointing_gives_the_same_gradients():
    model, batch = head().train(), random_batch(LENGTHS)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model(**batch).logits.sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.activation_checkpointing_enable()
    model(**batch).logits.sum().backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, gradient)


def damage(folder, change) -> None:
    """Rename the tensors of a saved model by `change(name)`; None removes one."""
    path = folder / "model.safetensors"
    tensors = {change(name): tensor for name, tensor in load_file(path).items()}
    tensors.pop(None, None)
    save_file(tensors, path, metadata={"format": "pt"})


BROKEN = "predictors.M.output.weight"
DAMAGES = {
    "renamed": (lambda name: name.replace(BROKEN, "predictors.M.output.wieght"), BROKEN),
    "removed": (lambda name: None if name == BROKEN else name, BROKEN),
    "of the base": (lambda name: name.replace("interaction.fusion.bias", "x"), "semanticmac.interaction.fusion.bias"),
    "foreign prefix": (lambda name: f"wrapped.{name}", "holds .*'wrapped.*, not known to the model"),
    "too many": (lambda name: name, ""),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_checkpoint_that_lacks_a_weight_is_refused(kind, tmp_path):
    """A prediction with random weights would look like any other."""
    change, message = DAMAGES[kind]
    head().save_pretrained(tmp_path)
    options = {}
    if kind == "too many":  # a model with fewer layers than the checkpoint's would answer, and wrongly
        options, message = {"num_perceiver_layers": 1}, r"holds 28 weights \(.*, not known to the model"
    else:
        damage(tmp_path, change)
    for load in (SemanticMACForAffect, AutoModelForVideoClassification):
        with pytest.raises(ValueError, match=message):
            load.from_pretrained(tmp_path, **options)
    if kind in ("of the base", "foreign prefix"):
        with pytest.raises(ValueError, match=message.removeprefix("semanticmac.")):
            AutoModel.from_pretrained(tmp_path)
        with pytest.raises(ValueError, match=message):  # new predictors excuse nothing else
            SemanticMACForAffect.from_pretrained(tmp_path, new_heads=True)
    elif kind != "too many":
        assert AutoModel.from_pretrained(tmp_path)


def test_a_base_model_does_not_predict(tmp_path, capsys):
    """Saved through AutoModel it has no predictors: refused in from_pretrained, pipeline and command line."""
    checkpoint = save_tiny_checkpoint(tmp_path)
    base = AutoModel.from_pretrained(checkpoint)
    base.save_pretrained(checkpoint)
    message = r"lacks 30 weights \('predictors.A.contract.bias', .* and 25 more\), which would be random"
    with pytest.raises(ValueError, match=message):
        AutoModelForVideoClassification.from_pretrained(checkpoint)
    with pytest.raises(ValueError, match=message):
        pipeline("video-affect", model=str(checkpoint), device="cpu")
    assert main(["predict", "--model", str(checkpoint), "--text", "good day"]) == 1
    assert re.search(f"^semanticmac: .*{message}.*$", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize("new", [{"new_heads": True}, {"ignore_mismatched_sizes": True}])
def test_new_heads_are_allowed_on_request(new, tmp_path):
    base = head(task=SARCASM).semanticmac
    base.save_pretrained(tmp_path)
    loaded = SemanticMACForAffect.from_pretrained(tmp_path, **new)
    assert all(value.equal(base.state_dict()[name]) for name, value in loaded.semanticmac.state_dict().items())
    assert loaded.predictors.M.output.weight.std() > 0


@pytest.mark.parametrize("automatic", [False, True], ids=["class", "auto"])
def test_transfer_to_another_task(automatic, tmp_path):
    """From MOSEI's emotions to MUStARD's sarcasm: all but the output layers is kept, and nothing of the old task."""
    model = head(task=EMOTIONS)
    model.config.label_thresholds = [0.1, 0.2, 0.3]
    model.save_pretrained(tmp_path)
    load = AutoModelForVideoClassification if automatic else SemanticMACForSarcasmDetection
    loaded = load.from_pretrained(tmp_path, **SARCASM.config_fields(), ignore_mismatched_sizes=True)
    assert loaded.config.task == SARCASM and loaded.config.label_thresholds is None
    kept, before = loaded.state_dict(), model.state_dict()
    assert kept["predictors.S.output.weight"].shape == (2, 16)
    same = {
        name
        for name in kept
        if name in before and kept[name].shape == before[name].shape and kept[name].equal(before[name])
    }
    assert set(kept) - same == {f"predictors.{s}.output.{part}" for s in "MSTAV" for part in ("weight", "bias")}
    loaded.train()(**random_batch(LENGTHS), labels=LABELS["sarcasm"]).loss.backward()
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):  # the library's own refusal
        load.from_pretrained(tmp_path, **SARCASM.config_fields())


def test_num_labels_as_in_every_model_of_transformers(tmp_path):
    head(task=SENTIMENT).save_pretrained(tmp_path)
    loaded = SemanticMACForAffect.from_pretrained(tmp_path, num_labels=3, ignore_mismatched_sizes=True)
    task = loaded.config.task
    assert (task.problem_type, task.label_range, task.metrics) == ("single_label_classification", None, "weighted")
    assert task.label_names == ("LABEL_0", "LABEL_1", "LABEL_2") and loaded(**random_batch(LENGTHS)).logits.shape == (
        3,
        3,
    )
    loaded.save_pretrained(tmp_path)
    again = AutoModelForVideoClassification.from_pretrained(tmp_path, num_labels=1, ignore_mismatched_sizes=True)
    assert again.config.task.is_regression and again.config.num_labels == 1


def test_predictors_of_another_task_never_answer_under_its_name(tmp_path):
    """Humour has as many classes as sarcasm: the shapes fit, and the answers would be those of sarcasm."""
    humor = TaskSpecification("humor", "single_label_classification", ("no", "yes"), None, "weighted")
    model = head(task=SARCASM)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="its predictors cannot answer"):
        AutoModelForVideoClassification.from_pretrained(tmp_path, **humor.config_fields())
    loaded, info = SemanticMACForAffect.from_pretrained(
        tmp_path, **humor.config_fields(), new_heads=True, output_loading_info=True
    )
    assert loaded.config.task == humor and "predictors.V.output.weight" in info["missing_keys"]
    assert not loaded.predictors.M.output.weight.equal(model.predictors.M.output.weight)
    assert loaded.predictors.M.expand.weight.equal(model.predictors.M.expand.weight)


def test_thresholds_are_kept_with_their_task(tmp_path):
    model = head(task=EMOTIONS)
    model.config.label_thresholds = [0.1, 0.2, 0.3]
    model.save_pretrained(tmp_path)
    loaded = SemanticMACForAffect.from_pretrained(tmp_path, **EMOTIONS.config_fields())
    assert loaded.config.label_thresholds == [0.1, 0.2, 0.3] and loaded.config.task == EMOTIONS


def test_the_predictors_are_a_module_that_can_be_wrapped():
    """PEFT's `modules_to_save` refuses containers, and calls what it wraps through `forward`."""
    model, batch = head(), random_batch(LENGTHS)
    expected, names = model(**batch).subtask_logits, set(model.state_dict())
    containers = torch.nn.ModuleDict | torch.nn.ModuleList | torch.nn.ParameterDict | torch.nn.ParameterList
    assert not isinstance(model.predictors, containers)
    assert {f"predictors.{subtask}.output.bias" for subtask in ("M", *SUBTASKS)} <= names
    assert model.predictors["T"] is model.predictors.T
    copied = copy.deepcopy(model.predictors)
    model.predictors = torch.nn.Sequential(copied)  # as a wrapper: nothing but forward
    torch.testing.assert_close(model(**batch).subtask_logits, expected)


def test_a_copy_shares_the_loaded_towers():
    model = head()
    tower = torch.nn.Linear(2, 2)
    model.semanticmac.set_encoders(vision=tower)
    copied = copy.deepcopy(model)
    assert copied.semanticmac.get_encoder("vision") is tower and copied.get_encoder("vision") is tower
    assert copied.semanticmac.interaction.fusion.weight is not model.semanticmac.interaction.fusion.weight
    copied.semanticmac.set_encoders(audio=torch.nn.Linear(2, 2))
    assert "audio" not in model.semanticmac._encoders


def test_forward_takes_what_models_of_transformers_take():
    model, batch = head(), random_batch(LENGTHS)
    expected = model(**batch)
    embeds = model.get_input_embeddings()(batch["input_ids"])
    others = {name: value for name, value in batch.items() if name != "input_ids"}
    found = model(**others, inputs_embeds=embeds, num_items_in_batch=3, output_hidden_states=True)
    torch.testing.assert_close(found.logits, expected.logits)
    assert expected.hidden_states is None and len(found.hidden_states) == 3 and found.attentions is None
    assert found.hidden_states[0].shape == (3, 6, 32)
    model.set_attn_implementation("eager")
    attentions = model(**batch, output_attentions=True).attentions
    assert [weights.shape for weights in attentions] == [(3, 4, 6, 6)] * 2
    with pytest.raises(TypeError, match="no argument 'audio_embed'"):  # a typing error never goes unnoticed
        model(**batch, audio_embed=None)
    with pytest.raises(ValueError, match="both input_ids and inputs_embeds"):
        model(**batch, inputs_embeds=embeds)


def test_a_model_can_be_spread_over_devices(tmp_path):
    """With part of it on disk, as `device_map="auto"` does with what does not fit."""
    model, batch = head(), random_batch(LENGTHS)
    model.save_pretrained(tmp_path / "model")
    assert {"AffectivePerceiver", "SemanticInteraction", "AffectPredictors", "BertLayer"} <= set(
        model._no_split_modules
    )
    # FSDP wraps these classes, and refuses a name that the model does not have.
    assert "AffectPredictors" not in model.semanticmac._no_split_modules
    parts = {
        "semanticmac.language_model": "cpu",
        "semanticmac.text_projection": "cpu",
        "semanticmac.text_summary": "cpu",
        "semanticmac.audio_perceiver": "disk",
        "semanticmac.vision_perceiver": "cpu",
        "semanticmac.audio_summary": "disk",
        "semanticmac.vision_summary": "cpu",
        "semanticmac.interaction": "disk",
        "predictors": "disk",
    }
    spread = SemanticMACForAffect.from_pretrained(
        tmp_path / "model", device_map=parts, offload_folder=tmp_path / "disk"
    )
    torch.testing.assert_close(spread(**batch).logits, model(**batch).logits, atol=1e-6, rtol=1e-5)
