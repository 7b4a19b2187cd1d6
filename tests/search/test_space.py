"""The space of a search: the content of its YAML file, and what a trial draws from it."""

import optuna
import pytest

from modeling_semanticmac.search.space import Range, Values, load_space, searchable_names, suggest_values
from modeling_semanticmac.training.run_arguments import parse_arguments
from tests.helpers.project import PROJECT

SPACES = sorted((PROJECT / "modeling_semanticmac/search/spaces").glob("*.yaml"))


def written(folder, text: str):
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_entries_take_the_type_of_their_argument(tmp_path):
    text = "hidden_size: [16, 32]\nuse_bridge_tokens: [true, false]\ngate: [reglu, none]\n"
    text += "num_neighbors: {low: 3, high: 9, step: 2}\n"
    text += "learning_rate: {low: 1e-5, high: 1e-3, log: true}\ndropout: {low: 0, high: 1}\n"
    assert load_space(written(tmp_path, text)) == {
        "hidden_size": Values((16, 32)),
        "use_bridge_tokens": Values((True, False)),
        "gate": Values(("reglu", "none")),
        "num_neighbors": Range(3, 9, step=2),
        "learning_rate": Range(1e-5, 1e-3, log=True),  # text to YAML
        "dropout": Range(0.0, 1.0),  # not the whole numbers 0 and 1
    }
    assert isinstance(load_space(tmp_path / "space.yaml")["dropout"].low, float)


def test_a_trial_draws_what_the_file_says(tmp_path):
    text = (
        "gate: [reglu, none]\nnum_neighbors: {low: 3, high: 9, step: 2}\nnum_latents: {low: 1, high: 64, log: true}\n"
    )
    text += "learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true}\ndropout: {low: 0.0, high: 0.5}\n"
    space = load_space(written(tmp_path, text))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest_values(space, study.ask()) for _ in range(300)]
    assert {row["gate"] for row in drawn} == {"reglu", "none"}
    assert {row["num_neighbors"] for row in drawn} == {3, 5, 7, 9}
    assert all(0 <= row["dropout"] <= 0.5 and isinstance(row["num_latents"], int) for row in drawn)
    # Evenly in the logarithm: half of the draws lie below the geometric mean.
    assert 0.4 < sum(row["learning_rate"] < 1e-3 for row in drawn) / 300 < 0.6
    assert 0.4 < sum(row["num_latents"] < 8 for row in drawn) / 300 < 0.6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hiden_size: [16, 32]", "unknown argument 'hiden_size' in .*Did you mean 'hidden_size'"),
        ("num_frames: [5, 100]", "'num_frames' in .* cannot be searched: all trials share it"),
        ("seed: [1, 2]", "'seed' in .* cannot be searched"),
        ("metric_for_best_model: [loss, mae]", "cannot be searched"),
        ("num_crops: [1, 3]", "cannot be searched"),
        ("hidden_size: 16", "hidden_size in .* is 16: expected a list of values, or"),
        ("hidden_size: [16, wide]", "hidden_size in .*invalid literal"),
        ("hidden_size: [16.5, 32]", "hidden_size in .*invalid literal"),
        ("hidden_size: [16, null]", "a value is missing"),
        ("hidden_size: [16]", "two or more different values"),
        ("hidden_size: [16, 16]", "two or more different values"),
        ("label_momentum: [true, maybe]", "Truthy value expected"),
        ("gate: {low: 0, high: 1}", "is not a number; expected a list"),
        ("dropout: {low: 0.1}", "high missing"),
        ("dropout: {low: 0.1, hihg: 0.3}", "unknown key 'hihg', did you mean 'high'"),
        ("dropout: {low: 0.3, high: 0.1}", "expected low < high"),
        ("dropout: {low: 0.0, high: 0.1, log: true}", "log needs low > 0"),
        ("dropout: {low: 0.1, high: 0.3, log: true, step: 0.1}", "and no step"),
        ("dropout: {low: 0.1, high: 0.3, log: 1}", "log is true or false"),
        ("dropout: {low: 0.1, high: 0.3, step: 0.0}", "expected more than 0"),
        ("[hidden_size]", "expected a mapping of argument names"),
        ("", "expected a mapping of argument names"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_space(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no search space of that name"):
        load_space(tmp_path / "space.yaml")


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_draw_of_the_example_spaces_is_a_valid_run(path, tmp_path):
    space = load_space(path)
    assert space.keys() <= searchable_names()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        words = [f"--{name}={value}" for name, value in suggest_values(space, study.ask()).items()]
        model_args, _, _ = parse_arguments([*words, "--output_dir", str(tmp_path)])
        assert model_args.hidden_size % (model_args.num_attention_heads or 4) == 0


def test_ranges_of_method_4_2():
    """Copied from the table of ranges, without 12 heads, which divide only one of the widths."""
    space = load_space(PROJECT / "modeling_semanticmac/search/spaces/paper.yaml")
    assert {name: entry.values for name, entry in space.items() if isinstance(entry, Values) and name != "dropout"} == {
        "hidden_size": (128, 256, 768),
        "num_attention_heads": (4, 8),
        "num_latents": (8, 16, 32, 64),
        "num_perceiver_layers": (1, 2, 4),
        "num_interaction_layers": (1, 2, 3, 4),
        "num_bridge_tokens": (4, 8, 16),
        "num_neighbors": (3, 5, 10, 20, 50),
        "label_start_epoch": (1, 2, 3, 5),
        "intra_temperature": (0.07, 0.1, 0.2, 0.5, 1.0),
        "inter_temperature": (0.07, 0.1, 0.2, 0.5),
        "intra_weight": (0.01, 0.05, 0.1, 0.5, 1.0),
        "inter_weight": (0.01, 0.05, 0.1, 0.5, 1.0),
        "max_grad_norm": (0.0, 1.0, 5.0),
    }
