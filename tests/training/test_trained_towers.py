"""Runs that train their towers by adapters, after a training with frozen ones: media in every step, no store."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.commands import train
from modeling_semanticmac.commands.info import model_info
from modeling_semanticmac.embedding_store.fingerprint import FingerprintError
from modeling_semanticmac.training.checkpoints import checkpoint_faults
from modeling_semanticmac.training.trainer import SemanticMACTrainer
from tests.helpers.project import RECIPE
from tests.helpers.runs import content, record
from tests.helpers.trainers import arguments

# Two steps, a checkpoint after each.
EACH_STEP = (
    "--save_strategy", "steps", "--save_steps", "1", "--eval_strategy", "no", "--save_total_limit", "9", "--do_eval",
    "false", "--load_best_model_at_end", "false", "--max_train_samples", "8",
)  # fmt: skip
STAGE_2 = ("--trainable_encoders", "vision", "audio", "--encoder_lora_r", "2", "--encoder_learning_rate", "1e-2")


def command(world, start, folder, *more, common=None):
    quick = ["--num_train_epochs", "1", "--per_device_train_batch_size", "4", "--disable_tqdm", "true", "--use_cpu"]
    data = world["common"][: world["common"].index("--embeddings_dir")] if common is None else common
    return [RECIPE, *data, *quick, "--model_name_or_path", str(start), "--output_dir", str(folder), *more]


@pytest.fixture(scope="module")
def stage_2(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage_2") / "run"
    train.main(command(world, world["run"], folder, *STAGE_2, *EACH_STEP))
    return folder


def test_adapters_move_and_the_towers_do_not(world, stage_2):
    model, start = (SemanticMACForAffect.from_pretrained(folder) for folder in (stage_2, world["run"]))
    assert model.adapted_modalities == ("audio", "vision")
    assert not (stage_2 / "embeddings").exists()  # every step reads the media
    counts = record(stage_2, "costs.json")["parameters"]
    adapters = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    before = record(world["run"], "costs.json")["parameters"]
    assert counts["new_modules"] == before["new_modules"] and counts["trained"] == before["trained"] + adapters
    assert counts["vision_tower"] > before["vision_tower"]
    notes = {part["role"]: part["note"] for part in model_info(str(stage_2))["parts"]}
    assert all("with a low-rank adapter" in notes[f"{modality} tower"] for modality in model.adapted_modalities)
    for modality in model.adapted_modalities:
        frozen, adapted = start.get_encoder(modality), model.get_encoder(modality)
        weights = {name.replace(".base_layer", ""): value for name, value in adapted.state_dict().items()}
        assert all(value.equal(weights[name]) for name, value in frozen.state_dict().items())
        assert all(value.any() for name, value in weights.items() if "lora_B" in name and "out" not in name)
    # Statistics of the inputs are those of the training before, which the weights expect.
    old, new = load_file(world["run"] / "model.safetensors"), load_file(stage_2 / "model.safetensors")
    assert old.keys() == new.keys()
    scalings = [name for name in old if "scaling" in name]
    assert scalings and all(new[name].equal(old[name]) for name in scalings)


def test_a_resumed_run_equals_an_uninterrupted_one(world, stage_2, tmp_path):
    checkpoint = stage_2 / "checkpoint-1"
    assert checkpoint_faults(checkpoint) == []
    train.main(
        command(world, world["run"], tmp_path / "run", *STAGE_2, *EACH_STEP, "--do_predict", "false",
                "--resume_from_checkpoint", str(checkpoint))
    )  # fmt: skip
    for name in ("model.safetensors", *(f"{m}_encoder_adapter/adapter_model.safetensors" for m in ("vision", "audio"))):
        found, expected = load_file(tmp_path / "run" / name), load_file(stage_2 / name)
        assert all(value.equal(found[key]) for key, value in expected.items()), name
    weights = checkpoint / "vision_encoder_adapter/adapter_model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.unlink()
        assert checkpoint_faults(checkpoint) == ["no vision_encoder_adapter/adapter_model.safetensors"]
    finally:
        weights.write_bytes(kept)


def test_the_pipeline_uses_the_adapted_towers(world, stage_2):
    clip = world["clips"]["test"][0]
    given = {"video": clip["media"]["path"], "text": clip["text"]}
    pipe = pipeline("video-affect", model=str(stage_2))
    model, processor = pipe.model, pipe.processor
    streams = processor.encode_media(clip["media"])
    inputs = {**processor.encode_text([clip["text"]])}
    inputs |= {name: streams[name][None] for name in ("pixel_values", "input_features")}
    with torch.no_grad():
        expected = model(**inputs).logits.item()
    assert pipe(given)["score"] == pytest.approx(expected, abs=1e-5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    assert pipe(given)["score"] != pytest.approx(expected, abs=1e-5)


def test_a_store_of_the_frozen_towers_is_refused(world, stage_2, tmp_path):
    """The trained model makes a store of its own, for predictions on many clips."""
    before = content(world["folder"] / "embeddings")
    evaluate = ("--do_train", "false", *EACH_STEP)
    with pytest.raises(FingerprintError, match="vision.weights_hash: it has"):
        train.main(command(world, stage_2, tmp_path / "a", *evaluate, common=world["common"]))
    assert content(world["folder"] / "embeddings") == before
    train.main(command(world, stage_2, tmp_path / "b", *evaluate, "--extraction_workers", "0"))
    # Half precision of the store against none.
    scores = [record(folder, "test_results.json")["test_mae"] for folder in (tmp_path / "b", stage_2)]
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)


def test_what_does_not_go_together_is_refused(world, stage_2, tmp_path):
    for more, message in (
        (("--trainable_encoders", "text"), "expected some of audio, vision"),
        (("--encoder_lora_r", "4"), "no effect without --trainable_encoders"),
        (("--trainable_encoders", "vision", "--modalities", "text", "audio"), "reads no media with this tower"),
        (("--trainable_encoders", "vision", "--on_error", "skip"), "use raise or mask"),
        (("--trainable_encoders", "vision", "--max_seconds", "3"), "does not use; cut them"),
    ):
        with pytest.raises(ValueError, match=message):
            train.main(command(world, world["run"], tmp_path, *more))
    model = SemanticMACForAffect.from_pretrained(stage_2)
    clips = world["clips"]["train"]
    from modeling_semanticmac.training.collator import SemanticMACCollator

    collator = SemanticMACCollator(None, model.config.task, {})
    with pytest.raises(ValueError, match="is trained, so its embeddings change and no store can hold them"):
        SemanticMACTrainer(model, arguments(tmp_path), clips, data_collator=collator)
    model.freeze_encoders()
    SemanticMACTrainer(model, arguments(tmp_path), clips, data_collator=collator)


def test_media_that_cannot_be_read_are_named_or_masked(world, tmp_path):
    from modeling_semanticmac import SemanticMACProcessor
    from modeling_semanticmac.training.collator import SemanticMACCollator

    (tmp_path / "bad.mp4").write_bytes(b"no video")
    processor = SemanticMACProcessor.from_pretrained(world["run"])
    task = SemanticMACForAffect.from_pretrained(world["run"]).config.task
    rows = [dict(world["clips"]["train"][index]) for index in range(3)]
    rows[1]["media"] = {**rows[1]["media"], "path": str(tmp_path / "bad.mp4")}
    rows[2]["media"] = {**rows[2]["media"], "path": ""}
    options = dict(modalities=["text", "vision"], raw_modalities=["vision"])
    with pytest.raises(ValueError, match=f"media of clip '{rows[1]['id']}' cannot be read: .*use on_error mask"):
        SemanticMACCollator(processor, task, **options)(rows)
    batch = SemanticMACCollator(processor, task, on_error="mask", **options)(rows)
    alone = processor.encode_media(rows[0]["media"], ["vision"])["pixel_values"]
    assert batch["pixel_values"][0].equal(alone) and batch["vision_mask"].any(dim=1).tolist() == [True, False, False]
    assert "audio_mask" not in batch and batch["attention_mask"].any(dim=1).all()
