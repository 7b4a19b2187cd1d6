"""Every recipe parses, says what the paper's Table II says, and trains a step on its corpus with tiny models."""

import json

import pytest
import torch
import yaml
from tokenizers import processors
from transformers import AutoModel, AutoTokenizer

from datasets_scripts import task_specification
from modeling_semanticmac import FusionConfig, SemanticMACForAffect
from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.language_model_adapter import AdapterOptions
from modeling_semanticmac.training.argument_checks import check_architecture_arguments
from modeling_semanticmac.training.run_arguments import parse_arguments
from modeling_semanticmac.training.run_model import new_model_fields
from tests.helpers.acted_folder import write_crema_d, write_ravdess
from tests.helpers.cmu_folder import write_mosei, write_mosi
from tests.helpers.iemocap_folder import write_iemocap
from tests.helpers.meld_folder import write_meld
from tests.helpers.mustard_folder import write_mustard
from tests.helpers.project import PROJECT
from tests.helpers.sims_folder import write_ch_sims, write_ch_sims_v2
from tests.helpers.tiny_language_models import save_language_model
from tests.helpers.ur_funny_folder import write_ur_funny

FOLDER = PROJECT / "modeling_semanticmac/training/recipes"
BERT, CHINESE = "google-bert/bert-base-uncased", "google-bert/bert-base-chinese"
XLNET, ROBERTA = "xlnet/xlnet-base-cased", "FacebookAI/roberta-base"
SBERT = "sentence-transformers/paraphrase-distilroberta-base-v1"
CONSTANT, COSINE = "constant_with_warmup", "cosine"

# Table II, typed from the paper: recipe -> models, epochs, batch, rate of the language model, rate of the rest,
# weight decay, schedule, dropout
TABLE_II = {
    "mosi_sentiment": ((BERT, XLNET), 20, 32, 4e-5, 5e-4, 5e-4, CONSTANT, 0.1),
    "mosei_sentiment": ((BERT, XLNET), 10, 128, 4e-5, 1e-4, 1e-3, COSINE, 0.1),
    "ch_sims_sentiment": ((CHINESE,), 20, 64, 3e-6, 1e-4, 1e-3, CONSTANT, 0.1),
    "ch_sims_v2_sentiment": ((CHINESE,), 20, 64, 3e-6, 1e-4, 1e-3, CONSTANT, 0.1),
    "mosei_emotion": ((SBERT,), 10, 64, 5e-6, 1e-4, 1e-2, CONSTANT, 0.3),
    "iemocap_emotion_utterance": ((SBERT,), 10, 64, 1e-5, 1e-4, 1e-2, CONSTANT, 0.2),
    "iemocap_emotion_conversation": ((SBERT,), 10, 64, 1e-5, 1e-4, 1e-2, CONSTANT, 0.2),
    "meld_emotion_conversation": ((SBERT,), 20, 64, 1e-5, 1e-4, 1e-3, COSINE, 0.2),
    "ur_funny_humor": ((BERT, ROBERTA), 10, 64, 1e-5, 1e-4, 1e-4, CONSTANT, 0.3),
    "mustard_sarcasm": ((BERT, ROBERTA), 20, 64, 5e-5, 1e-4, 1e-3, COSINE, 0.1),
}
NAMES = {BERT: "bert", CHINESE: "bert", XLNET: "xlnet", ROBERTA: "roberta", SBERT: "sbert"}
PAPER = {f"{column}_{NAMES[model]}": (column, model) for column, row in TABLE_II.items() for model in row[0]}
ACTED = {"ravdess_emotion_minilm", "crema_d_emotion_minilm"}
ENGLISH = ("mosi_sentiment", "mosei_sentiment", "meld_emotion", "mustard_sarcasm")
LATER = {f"{name}_modernbert" for name in ENGLISH} | {f"{name}_qwen3_lora" for name in (*ENGLISH, "ch_sims_sentiment")}
TEXT = {"synthetic_sentiment", "meld_emotion_text", "mosi_sentiment_text", "mustard_sarcasm_text"}
OTHERS = ACTED | LATER | TEXT
WRITERS = {
    "mosi": write_mosi, "mosei": lambda f, with_media: write_mosei(f, "mmsa+csd", with_media),
    "ch_sims": write_ch_sims, "ch_sims_v2": write_ch_sims_v2,
    "iemocap": write_iemocap, "meld": write_meld, "ur_funny": write_ur_funny, "mustard": write_mustard,
    "ravdess": write_ravdess, "crema_d": write_crema_d,
}  # fmt: skip


SYSTEM_RECIPES = sorted(path.stem for path in (FOLDER / "baselines").glob("*.yaml"))


def test_recipes_of_comparison_systems_say_which_system_on_which_corpus(tmp_path):
    """Their options are options of the system, and nothing in them belongs to SemanticMAC."""
    assert SYSTEM_RECIPES
    for name in SYSTEM_RECIPES:
        model_args, data_args, args = parse_arguments([name, "--data_dir", "x", "--output_dir", str(tmp_path)])
        task = task_specification(data_args.corpus, data_args.task, data_dir="x", **data_args.options)
        config = FusionConfig(**new_model_fields(model_args), **task.config_fields())
        check_architecture_arguments(config.architecture, args)
        assert name.startswith(f"{data_args.corpus}_") and config.architecture in name, name
        assert args.do_train and args.do_eval and args.do_predict and args.seed == 1111, name


def one_step(name: str, models: list[str], folder) -> list[str]:
    """Write the corpus of a recipe into a folder; return arguments that train it there for an epoch, of one step."""
    recipe = FOLDER / f"{name}.yaml"
    WRITERS[yaml.safe_load(recipe.read_text())["corpus"]](folder / "corpus", with_media=True)
    quick = ["--num_train_epochs", "1", "--hidden_size", "32", "--extraction_workers", "0", "--disable_tqdm", "true"]
    data = ["--data_dir", str(folder / "corpus"), "--output_dir", str(folder / "run"), "--use_cpu"]
    return [str(recipe), *models, *data, *quick]


@pytest.mark.parametrize("name", ["mosi_ef_lstm", "mosei_emotion_lf_transformer"])
def test_a_step_of_a_comparison_system(tmp_path, models, name):
    corpus = yaml.safe_load((FOLDER / f"baselines/{name}.yaml").read_text())["corpus"]
    WRITERS[corpus](tmp_path / "corpus", with_media=True)
    arguments = [name, *models, "--data_dir", str(tmp_path / "corpus"), "--output_dir", str(tmp_path / "run")]
    quick = ["--num_train_epochs", "1", "--extraction_workers", "0", "--disable_tqdm", "true", "--use_cpu"]
    train_command.main([*arguments, *quick, "--class_weight", "none"])
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert results["train_loss"] > 0 and results["test_opened"].startswith("checkpoint-1 is chosen by validation")


def test_no_recipe_is_left_out():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == PAPER.keys() | OTHERS


@pytest.mark.parametrize("name", PAPER)
def test_it_says_what_the_paper_says(name, tmp_path):
    column, model = PAPER[name]
    _, epochs, batch, language_rate, rate, decay, schedule, dropout = TABLE_II[column]
    arguments = [str(FOLDER / f"{name}.yaml"), "--data_dir", "x", "--output_dir", str(tmp_path), "--use_cpu"]
    model_args, data_args, args = parse_arguments(arguments)
    found = (model_args.language_model, args.num_train_epochs, args.per_device_train_batch_size,
             args.language_model_learning_rate,
             args.learning_rate, args.weight_decay, args.lr_scheduler_type, model_args.dropout)  # fmt: skip
    assert found == (model, epochs, batch, language_rate, rate, decay, schedule, dropout)
    assert args.warmup_epochs == 1 and args.optim.startswith("adamw") and args.load_best_model_at_end
    assert f"{data_args.corpus}_{data_args.task}" == column.removesuffix("_utterance").removesuffix("_conversation")
    assert data_args.use_context == ("conversation" in name or data_args.task in ("humor", "sarcasm"))


@pytest.mark.parametrize("name", sorted(LATER))
def test_recipes_of_later_language_models(name, tmp_path):
    """An adapter of a frozen base, or a model that is tuned whole; dialogues with their speakers."""
    model_args, data_args, args = parse_arguments([name, "--data_dir", "x", "--output_dir", str(tmp_path)])
    options = model_args.language_model_options()
    if name.endswith("qwen3_lora"):
        assert options["adapter"] == AdapterOptions(16, 32, 0.05) and options["dtype"] == torch.bfloat16
        found = (model_args.language_model, args.language_model_learning_rate, model_args.text_summary)
        assert found == ("Qwen/Qwen3-0.6B", 2e-4, "last")
    else:
        assert options == {"attention": None} and model_args.text_summary is None
        assert (model_args.language_model, args.language_model_learning_rate) == ("answerdotai/ModernBERT-base", 4e-5)
    task = task_specification(data_args.corpus, data_args.task, data_dir="x", **data_args.options)
    spoken = data_args.corpus in ("meld", "mustard")
    assert name.startswith(f"{data_args.corpus}_{task.name}") and args.seed == 1111
    assert (data_args.use_context, model_args.use_speakers, model_args.text_tokens) == (
        (True, True, "utterance") if spoken else (False, None, None)
    )
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 32
    text = (FOLDER / f"{name}.yaml").read_text()
    memory = ("1.7 GiB", "1.1 GiB", "9.4 GiB") if name.endswith("qwen3_lora") else ("2.5 GiB", "0.6 GiB")
    assert all(figure in text for figure in memory)


@pytest.fixture(scope="module")
def later_models(models, tmp_path_factory) -> dict[str, str]:
    """Tiny random language models of the recipes' architectures, by the ends of the recipes' names. Qwen3 pads on the
    left, and its tokenizer adds no special tokens.
    """
    folder, found = tmp_path_factory.mktemp("later"), {}
    for name in ("qwen3", "modernbert"):
        tokenizer = AutoTokenizer.from_pretrained(models[1])
        if name == "qwen3":
            tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
            tokenizer.padding_side = "left"
        save_language_model(name, folder / name, vocab_size=len(tokenizer), max_position_embeddings=256)
        tokenizer.save_pretrained(folder / name)
        found[name] = str(folder / name)
    return found


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_step_with_a_later_language_model(tmp_path, models, later_models, name):
    """The recipe with a tiny model of its architecture. Only the adapter of Qwen3 moves, all of ModernBERT."""
    base = later_models["qwen3" if "qwen3" in name else "modernbert"]
    train_command.main([*one_step(name, [*models, "--language_model", base], tmp_path), "--warmup_epochs", "0"])
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert results["train_loss"] > 0 and results["test_opened"].startswith("checkpoint-1 is chosen by validation")
    trained = SemanticMACForAffect.from_pretrained(tmp_path / "run").base_model.language_model
    found = {part.replace(".base_layer", ""): value for part, value in trained.state_dict().items()}
    start = AutoModel.from_pretrained(base).state_dict()
    moved = {part for part, value in start.items() if not value.to(found[part].dtype).equal(found[part])}
    if "qwen3" in name:
        added = {part: value for part, value in found.items() if part not in start}
        assert not moved and trained.dtype == torch.bfloat16
        assert added and all(value.any() for part, value in added.items() if "lora_B" in part)
    else:
        assert moved and found.keys() == start.keys()


@pytest.mark.parametrize("name", sorted([*PAPER, *ACTED]))
def test_a_step_on_a_small_corpus(tmp_path, models, name):
    """The recipe with tiny models in the place of its own; everything else as it stands."""
    train_command.main(one_step(name, models, tmp_path))
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert results["train_loss"] > 0 and results["test_opened"].startswith("checkpoint-1 is chosen by validation")
