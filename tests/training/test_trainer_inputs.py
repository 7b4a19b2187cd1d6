"""The defaults of the Trainer, and its messages where something is missing or not supported."""

import datasets
import pytest
import torch
import yaml
from transformers import TrainingArguments

from modeling_semanticmac import SemanticMACForAffect, SemanticMACModel, SemanticMACProcessor
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.training.collator import SemanticMACCollator
from modeling_semanticmac.training.global_batch import SeenClips
from modeling_semanticmac.training.sharding import with_every_modality
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from modeling_semanticmac.training.trainer_inputs import refuse_unsupported_parallelism, resolve_arguments
from modeling_semanticmac.training.training_args import SemanticMACTrainingArguments
from tests.helpers.project import PROJECT
from tests.helpers.tiny import SENTIMENT, tiny_config, word_corpus
from tests.helpers.trainers import WordProcessor, arguments, new_trainer

LABELLED_ONCE = word_corpus(3).remove_columns("label").add_column("label", [0.5, None, None])


def plain_arguments(folder, **changes) -> SemanticMACTrainingArguments:
    """Return the default arguments, for few steps on the CPU."""
    return SemanticMACTrainingArguments(str(folder), use_cpu=True, max_steps=2, disable_tqdm=True, **changes)


def tiny_model() -> SemanticMACForAffect:
    torch.manual_seed(0)
    return SemanticMACForAffect(tiny_config())


def text_trainer(folder, clips, **options) -> SemanticMACTrainer:
    collator = SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"])
    return SemanticMACTrainer(tiny_model(), plain_arguments(folder), clips, data_collator=collator, **options)


def test_a_saved_model_trains_on_clips_with_nothing_else_given(world, tmp_path):
    """Processor from the saved model, task from its configuration, media encoded once into the output folder."""
    clips = world["clips"]["train"].select(range(4))
    model = SemanticMACForAffect.from_pretrained(world["run"])
    trainer = SemanticMACTrainer(model, plain_arguments(tmp_path / "out"), clips)
    assert isinstance(trainer.processing_class, SemanticMACProcessor) and trainer.task == model.config.task
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(4)])
    run_store = EmbeddingStore.open(world["folder"] / "embeddings")
    for row, clip in enumerate(clips["id"]):
        for modality, expected in zip(("audio", "vision"), run_store[clip]):
            length = len(expected)
            assert length > 0 and batch[f"{modality}_mask"][row].sum() == length
            torch.testing.assert_close(batch[f"{modality}_embeds"][row, :length], expected)
    trainer.train()
    assert trainer.state.global_step == 2 and (tmp_path / "out" / "checkpoint-2" / "processor_config.json").is_file()
    others = world["clips"]["validation"].select(range(2))  # their media are encoded when they are predicted
    assert trainer.predict(others).predictions[0].shape == (2, 1)
    assert sorted(EmbeddingStore.open(tmp_path / "out" / "embeddings")) == sorted([*clips["id"], *others["id"]])


def test_without_validation_clips_the_model_of_the_last_step_is_kept(tmp_path, caplog):
    trainer = text_trainer(tmp_path, word_corpus(10))
    assert "No eval_dataset: nothing is evaluated in training, and the model of the last step is kept." in caplog.text
    assert trainer.args.eval_strategy == "no" and not trainer.args.load_best_model_at_end
    trainer.train()
    assert trainer.state.global_step == 2 and trainer.state.best_model_checkpoint is None
    with pytest.raises(ValueError, match="metric_for_best_model is 'mae'.*there is no eval_dataset"):
        collator = SemanticMACCollator(WordProcessor(), SENTIMENT, modalities=["text"])
        SemanticMACTrainer(
            tiny_model(),
            plain_arguments(tmp_path, metric_for_best_model="mae"),
            word_corpus(10),
            data_collator=collator,
        )


def test_a_new_model_without_processor_is_told_what_to_give(tmp_path):
    with pytest.raises(
        ValueError, match=r"no processor, which turns text into tokens.*processing_class=SemanticMACProcessor"
    ):
        SemanticMACTrainer(tiny_model(), plain_arguments(tmp_path), word_corpus(4))


def test_a_processor_is_enough_for_a_model_of_text(tmp_path):
    trainer = SemanticMACTrainer(
        tiny_model(), plain_arguments(tmp_path), word_corpus(6), processing_class=WordProcessor()
    )
    assert trainer.data_collator.modalities == ("text",)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    assert (
        set(batch) >= {"input_ids", "attention_mask", "labels", "clip_index"} and not (tmp_path / "embeddings").exists()
    )


@pytest.mark.parametrize(
    ("clips", "error", "message"),
    [
        ([{"id": "a"}], TypeError, r"train_dataset is list; expected a datasets.Dataset of clips"),
        (datasets.Dataset.from_list([{"id": "a", "text": "b"}]), ValueError, "train_dataset lacks context, label; its"),
        (word_corpus(3).select([]), ValueError, "train_dataset holds no clips"),
        (LABELLED_ONCE, ValueError, "2 of 3 clips of train_dataset have no label, the first is 'clip_1'"),
    ],
)  # fmt: skip
def test_clips_that_cannot_be_trained_on(tmp_path, clips, error, message):
    with pytest.raises(error, match=message):
        text_trainer(tmp_path, clips)


def test_validation_clips_are_checked_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"eval_dataset\['b'\] holds no clips"):
        text_trainer(tmp_path, word_corpus(3), eval_dataset={"a": word_corpus(3), "b": word_corpus(3).select([])})


def test_models_and_arguments_of_another_kind(tmp_path):
    with pytest.raises(TypeError, match="model is Linear; expected a SemanticMAC with a head"):
        SemanticMACTrainer(torch.nn.Linear(2, 2), plain_arguments(tmp_path), word_corpus(3))
    with pytest.raises(TypeError, match="model is SemanticMACModel, which has no head to train"):
        SemanticMACTrainer(SemanticMACModel(tiny_config()), plain_arguments(tmp_path), word_corpus(3))
    with pytest.raises(TypeError, match="args is TrainingArguments; expected SemanticMACTrainingArguments"):
        SemanticMACTrainer(tiny_model(), TrainingArguments(str(tmp_path), use_cpu=True), word_corpus(3))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"even_batches": False}, "even_batches=False; expected True"),
        ({"split_batches": True}, "split_batches=True; expected False"),
        ({"use_seedable_sampler": False}, "use_seedable_sampler=False; expected True"),
        ({"dispatch_batches": True}, "dispatch_batches=True; expected False or None"),
    ],
)
def test_batches_that_processes_do_not_share_evenly_are_refused(tmp_path, config, message):
    with pytest.raises(ValueError, match=f"accelerator_config has {message}"):
        arguments(tmp_path, accelerator_config=config)
    assert arguments(tmp_path, accelerator_config={"non_blocking": True}).accelerator_config.even_batches


def test_data_parallel_is_refused(tmp_path):
    args = plain_arguments(tmp_path)
    args._n_gpu = 3
    with pytest.raises(ValueError, match=r"sees 3 GPUs and would use DataParallel.*torchrun --nproc_per_node 3"):
        SemanticMACTrainer(tiny_model(), args, word_corpus(3))


def test_fsdp_on_cpus_is_said_to_have_no_effect(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    new_trainer(tmp_path)
    assert "FSDP has no effect on CPUs: every process holds the whole model" in caplog.text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FSDP_VERSION": "1"}, "FSDP version 1 is not supported; set version: 2"),
        ({"FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"}, "set state_dict_type: FULL_STATE_DICT"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "ZeRO-3 of DeepSpeed is not"),
    ],
)
def test_forms_of_sharding_that_cannot_resume_are_refused(tmp_path, monkeypatch, variables, message):
    args = plain_arguments(tmp_path)
    monkeypatch.setattr(type(args), "device", torch.device("cuda:0"))
    for name, value in {"ACCELERATE_USE_FSDP": "true", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        refuse_unsupported_parallelism(args)


def test_absent_modalities_are_masked_where_processes_share_layers():
    """The outputs are those of the batch without them; what is there stays as it is."""
    model = tiny_model().eval()
    torch.manual_seed(1)
    batch = {"vision_embeds": torch.randn(2, 3, model.config.vision_width), "vision_mask": torch.ones(2, 3)}
    filled = with_every_modality(batch, model.config, ("text", "audio", "vision"))
    assert {"input_ids", "attention_mask", "audio_embeds", "audio_mask"} == filled.keys() - batch.keys()
    assert not filled["attention_mask"].any() and not filled["audio_mask"].any()
    assert with_every_modality(batch, model.config, ["vision"]) == batch
    with torch.no_grad():
        torch.testing.assert_close(model(**filled).logits, model(**batch).logits)


def test_sharding_that_is_supported(tmp_path, monkeypatch):
    """The configurations beside the examples."""
    args = plain_arguments(tmp_path)
    monkeypatch.setattr(type(args), "device", torch.device("cuda:0"))
    launch = PROJECT / "examples/launch"
    fsdp = yaml.safe_load((launch / "fsdp2.yaml").read_text())
    args.fsdp, args.fsdp_config = True, {n.removeprefix("fsdp_"): v for n, v in fsdp["fsdp_config"].items()}
    refuse_unsupported_parallelism(args)
    args.fsdp, args.deepspeed = False, str(launch / "zero2.json")
    refuse_unsupported_parallelism(args)


def test_clips_that_fill_up_a_batch_are_not_seen_for_the_first_time():
    seen = SeenClips(5, "cpu")
    assert seen.first_time(torch.tensor([3, 1, 3]), 0).tolist() == [True, True, False]
    assert seen.first_time(torch.tensor([0, 1]), 0).tolist() == [True, False]
    assert seen.first_time(torch.tensor([0, 1]), 1).tolist() == [True, True]  # another epoch
    restored = SeenClips(5, "cpu")
    restored.load_state_dict(seen.state_dict())
    assert restored.first_time(torch.tensor([1, 2]), 1).tolist() == [False, True]
    with pytest.raises(ValueError, match="saved with 5 training clips, this run has 4"):
        SeenClips(4, "cpu").load_state_dict(seen.state_dict())


def test_memory_is_pinned_for_accelerators_only(tmp_path):
    """On the CPU it would do nothing but warn; the arguments of the caller stay as they are."""
    args = arguments(tmp_path)
    args.dataloader_pin_memory = True
    assert not resolve_arguments(args, SENTIMENT, True).dataloader_pin_memory and args.dataloader_pin_memory
