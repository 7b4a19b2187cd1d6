import json

import pytest

from modeling_semanticmac.training.run_arguments import parse_arguments


def recipe(folder, text: str, name="recipe.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_file_then_command_line(tmp_path):
    path = recipe(
        tmp_path,
        "corpus: meld\nlearning_rate: 1.0e-3\nuse_context: false\nmodalities: [text, audio]\nseed: 5\ngate: null\n",
    )
    model, data, training = parse_arguments(
        [path, "--output_dir", str(tmp_path), "--seed", "7", "--num_latents", "4", "--use_cpu"]
    )
    assert (data.corpus, data.use_context, data.modalities) == ("meld", False, ["text", "audio"])
    assert (training.seed, training.learning_rate, training.use_cpu) == (7, 1e-3, True)
    assert model.config_fields() == {"num_latents": 4}


def test_json_file_and_corpus_options(tmp_path):
    path = recipe(tmp_path, json.dumps({"corpus": "mustard", "corpus_options": {"fold": 3}}), "recipe.json")
    assert parse_arguments([path])[1].options == {"fold": 3}
    assert parse_arguments(["--corpus_options", '{"fold": 1}'])[1].options == {"fold": 1}
    with pytest.raises(ValueError, match="expected a JSON mapping"):
        parse_arguments(["--corpus_options", "3"])


def test_fields_go_to_the_configuration_and_the_processor():
    model = parse_arguments(
        "--gate relu --multi_query false --dropout 0.3 --num_crops 3 --audio_window 1.0 --num_frames 5".split()
    )[0]
    assert model.config_fields() == {"gate": "relu", "multi_query": False, "dropout": 0.3, "num_crops": 3}
    assert model.sampling_fields() == {"audio_window": 1.0, "num_frames": 5}


def test_unknown_names_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(
        ValueError, match="unknown argument 'num_latent' on the command line. Did you mean 'num_latents'"
    ):
        parse_arguments(["--num_latent", "3"])
    path = recipe(tmp_path, "learning_rat: 1.0e-3\n")
    with pytest.raises(
        ValueError, match="unknown argument 'learning_rat' in .*recipe.yaml. Did you mean 'learning_rate'"
    ):
        parse_arguments([path])


def test_a_file_that_is_none_or_no_mapping_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*, and no recipe of that name"):
        parse_arguments([str(tmp_path / "absent.yaml")])
    with pytest.raises(ValueError, match="holds list; expected a mapping"):
        parse_arguments([recipe(tmp_path, "- 1\n- 2\n")])


def test_method_defaults():
    training = parse_arguments([])[2]
    assert (training.eval_strategy.value, training.save_strategy.value, training.load_best_model_at_end) == (
        "epoch",
        "epoch",
        True,
    )
    assert (training.warmup_epochs, training.regression_loss, training.class_weight) == (1.0, "l1", "none")
    assert not training.dataloader_drop_last
