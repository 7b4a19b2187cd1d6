import pytest
from transformers import AutoConfig

from modeling_semanticmac import SemanticMACConfig, TaskSpecification
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config


@pytest.mark.parametrize("task", [SENTIMENT, SARCASM, EMOTIONS], ids=lambda task: task.name)
def test_task_survives_saving_and_loading(task, tmp_path):
    tiny_config(task, gate="relu").save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.task == task
    assert loaded.gate == "relu"
    assert loaded.text_config.hidden_size == 32
    assert loaded.label2id == {name: index for index, name in enumerate(task.label_names)}


def test_defaults_are_those_of_the_method():
    config = SemanticMACConfig()
    assert (config.hidden_size, config.num_attention_heads, config.num_latents, config.num_bridge_tokens) == (
        256,
        8,
        16,
        8,
    )
    assert (config.num_perceiver_layers, config.num_interaction_layers, config.max_frames) == (2, 2, 256)
    assert config.task == TaskSpecification("sentiment", "regression", ("sentiment",), (-3.0, 3.0), "mosi")


def test_unknown_field_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="no field 'num_latent'.*'num_latents'"):
        SemanticMACConfig(num_latent=3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", 30, "not a multiple of num_attention_heads 8"),
        ("num_latents", 0, "num_latents must be at least 1"),
        ("gate", "tanh", "expected one of reglu, relu, none"),
        ("perceiver_norm", "post", "expected one of pre, none"),
        ("dropout", 1.0, "dropout is a probability"),
        ("label_range", [3, -3], "label_range"),
    ],
)
def test_values_that_cannot_work_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        SemanticMACConfig(**{field: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "ranking", ("x",)), "expected one of regression"),
        (("x", "regression", ("x", "y"), (-1, 1)), "found 2 label names"),
        (("x", "regression", ("x",)), "needs label_range"),
        (("x", "single_label_classification", ("x",), None, "weighted"), "at least two"),
        (("x", "single_label_classification", ("x", "y"), (0, 1), "weighted"), "label_range belongs to regression"),
        (("x", "multi_label_classification", ("x", "y"), None, "weighted"), "do not fit"),
        (("x", "regression", ("x",), (-1, 1), "best"), "expected one of mosi"),
    ],
)
def test_contradicting_tasks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskSpecification(*arguments)


def test_binary_and_selection():
    assert SARCASM.is_binary and not EMOTIONS.is_binary and not SENTIMENT.is_binary
    assert SENTIMENT.minimize and not SARCASM.minimize
    assert (SENTIMENT.num_labels, SARCASM.num_labels, EMOTIONS.num_labels) == (1, 2, 3)


@pytest.mark.parametrize("task, thresholds", [(SENTIMENT, [0.5]), (EMOTIONS, [0.5]), (EMOTIONS, [0.5, 0.5, 1.0])])
def test_thresholds_are_one_for_each_of_several_labels(task, thresholds):
    with pytest.raises(ValueError, match="label_thresholds"):
        tiny_config(task, label_thresholds=thresholds)
    assert tiny_config(EMOTIONS, label_thresholds=[0.1, 0.2, 0.3]).label_thresholds == [0.1, 0.2, 0.3]


def test_a_new_scale_is_measured_by_its_own_family():
    saved = SemanticMACConfig().to_dict()
    assert saved["metrics"] == "mosi"
    found = SemanticMACConfig.from_dict(saved, label_range=[0.0, 100.0])
    assert (found.metrics, found.scale_scores, found.task.score_range) == ("scores", True, (0.0, 100.0))
    assert SemanticMACConfig.from_dict(saved, task_name="mood").metrics == "mosi"


def test_what_a_model_was_trained_without_it_does_not_read():
    config = SemanticMACConfig(trained_modalities=["vision", "audio"])
    assert config.trained_modalities == ["audio", "vision"]
    assert config.unread_notes == {"text": "this model was trained without text"} and config.feature_notes == {}
    assert SemanticMACConfig().unread_notes == {}
    for wrong in ([], ["words"]):
        with pytest.raises(ValueError, match="trained_modalities is .*; expected some of text, audio, vision, or None"):
            SemanticMACConfig(trained_modalities=wrong)


def test_the_intended_use_is_a_sentence_that_belongs_to_a_task(tmp_path):
    SemanticMACConfig(intended_use="  Research on\nactors. ").save_pretrained(tmp_path)
    assert SemanticMACConfig.from_pretrained(tmp_path).intended_use == "Research on actors."
    assert SemanticMACConfig.from_pretrained(tmp_path, dropout=0.3).intended_use == "Research on actors."
    for task in ({"label_range": [0.0, 1.0]}, {"num_labels": 3}, {"task_name": "mood"}):
        assert SemanticMACConfig.from_pretrained(tmp_path, **task).intended_use is None
    assert SemanticMACConfig.from_pretrained(tmp_path, num_labels=3, intended_use="Play.").intended_use == "Play."
    for wrong in (" ", "x" * 1001):
        with pytest.raises(ValueError, match="intended_use has .* expected a sentence or two"):
            SemanticMACConfig(intended_use=wrong)
