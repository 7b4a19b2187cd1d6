"""A model says nothing of modalities that it was trained without: its weights for them are as they were drawn."""

import pytest

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.commands import predict, train
from modeling_semanticmac.commands.info import model_info
from modeling_semanticmac.pipeline_semanticmac import SemanticMACPipeline
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.project import RECIPE

SHORT = ["--num_train_epochs", "1", "--pseudo_labels", "off"]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A run on sound alone."""
    folder = tmp_path_factory.mktemp("sound") / "run"
    sound = [*world["models"][:2], *world["models"][4:], "--modalities", "audio"]
    train.main([RECIPE, *world["common"], *sound, *SHORT, "--output_dir", str(folder)])
    return folder


def test_the_pipeline_leaves_them_out_and_says_why(trained, world):
    model = SemanticMACForAffect.from_pretrained(trained)
    assert model.config.trained_modalities == ["audio"] and model_info(str(trained))["modalities"] == ["audio"]
    pipe = SemanticMACPipeline(model=model, processor=SemanticMACProcessor.from_pretrained(trained))
    video = world["clips"]["test"]["media"][0]["path"]
    with_words, without = pipe([{"video": video, "text": "a wonderful film"}, {"video": video}])
    assert with_words["modalities"] == ["audio"] and with_words["subtasks"].keys() == {"shared", "audio"}
    assert with_words["score"] == pytest.approx(without["score"], abs=1e-6)
    assert with_words["media"]["missing"] == {
        "vision": "this model was trained without vision", "text": "this model was trained without text",
    }  # fmt: skip
    with pytest.raises(ValueError, match="the model reads audio here. This model was trained without text"):
        predict.main(["--model", str(trained), "--text", "good"])


def test_a_later_run_may_add_them_in_training_only(trained, world, tmp_path):
    again = [RECIPE, "--model_name_or_path", str(trained), *world["common"], "--output_dir", str(tmp_path / "run")]
    predicted = [*again, "--do_train", "false", "--modalities"]
    with pytest.raises(ValueError, match="was trained without text, of which .*; give --modalities audio"):
        train.main([*predicted, "text", "audio"])
    train.main([*predicted, "audio"])
    train.main([*again, *SHORT, "--modalities", "text", "audio", "--overwrite_output_dir"])
    assert SemanticMACForAffect.from_pretrained(tmp_path / "run").config.trained_modalities == ["text", "audio"]
    assert SemanticMACForAffect.from_pretrained(world["run"]).config.trained_modalities is None
