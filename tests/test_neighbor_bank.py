"""Nearest training clips: against brute force on the model's own representations, missing modalities, what is refused,
and what goes to the Hub.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import pipeline

from examples.analysis import case_study as case_script
from modeling_semanticmac import SemanticMACForAffect
from modeling_semanticmac.analyses.representations import represent_clips
from modeling_semanticmac.baselines.model_classes import classes_of
from modeling_semanticmac.commands import train
from modeling_semanticmac.hub.upload import files_to_upload
from modeling_semanticmac.neighbor_bank import BANK, NeighborBank, bank_probe, neighbor_rows
from modeling_semanticmac.runs.output_folder import OutputFolder
from modeling_semanticmac.training.argument_checks import check_architecture_arguments
from modeling_semanticmac.training.kept_bank import save_bank
from semanticmac import main
from tests.helpers.project import RECIPE
from tests.helpers.tiny import EMOTIONS, SARCASM, SENTIMENT, tiny_config
from tests.helpers.trainers import arguments, new_trainer

MODALITIES = ("text", "audio", "vision")


def brute_force(bank, modality, query, count):
    """Return (distance, row) of the nearest rows by one loop over all."""
    column = MODALITIES.index(modality)
    rows = [row for row in range(len(bank.ids)) if bank.present[row, column]]
    apart = [(float(np.linalg.norm(bank.embeds[row, column].numpy().astype(float) - query)), row) for row in rows]
    return [(distance / len(query) ** 0.5, row) for distance, row in sorted(apart)][:count]


def random_bank(task, labels, count=40, width=6):
    generator = torch.Generator().manual_seed(1)
    embeds = torch.randint(-1, 2, (count, 3, width), generator=generator).float()  # many are equally near
    present = torch.rand(count, 3, generator=generator) > 0.3
    return NeighborBank(task, [f"clip {n}" for n in range(count)], embeds, present, labels, torch.zeros(3, 1, width))


def test_the_nearest_are_those_of_brute_force_with_ties_in_order():
    bank = random_bank(SENTIMENT, torch.linspace(-3, 3, 40))
    for query in torch.randn(5, 6, generator=torch.Generator().manual_seed(2)).round():
        for modality in MODALITIES:
            found = bank.nearest(modality, query, 7)
            expected = brute_force(bank, modality, query.numpy().astype(float), 7)
            assert [clip["id"] for clip in found] == [f"clip {row}" for _, row in expected]
            assert [clip["distance"] for clip in found] == pytest.approx([distance for distance, _ in expected])
            assert [clip["label"] for clip in found] == [float(bank.labels[row]) for _, row in expected]
    assert len(bank.nearest("audio", query, 100)) == int(bank.present[:, 1].sum())
    first = bank.nearest("text", query, 1)[0]["id"]
    assert first not in [clip["id"] for clip in bank.nearest("text", query, 40, without=first)]


def test_labels_of_neighbours_are_named():
    embed = torch.zeros(3, 6)
    classes = random_bank(SARCASM, torch.arange(40) % 2)
    found = classes.neighbors(embed, torch.tensor([True, False, True]), 2)
    assert list(found) == ["text", "vision"]
    row = int(found["text"][0]["id"].split()[1])
    assert found["text"][0]["label"] == SARCASM.label_names[row % 2]
    several = random_bank(EMOTIONS, torch.tensor([[0, 1, 1]]).repeat(40, 1))
    found = several.neighbors(embed, torch.tensor([True, False, False]), 1)
    assert neighbor_rows({"neighbors": found})[0][0] == "words" and neighbor_rows({"neighbors": found})[0][2] == (
        f"{EMOTIONS.label_names[1]}, {EMOTIONS.label_names[2]}"
    )
    assert neighbor_rows({"score": 1.0}) == []


def test_a_trainer_keeps_what_the_chosen_model_represents(tmp_path):
    """Not the rows of label generation, which were made with dropout; resumed or not, to the last bit."""
    options = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
    trainer = new_trainer(tmp_path / "run", keep_bank=True, **options)
    trainer.train()
    trainer.save_model()
    expected = represent_clips(trainer.model, trainer.train_dataset, trainer.data_collator, progress=False)
    bank = trainer.bank
    assert bank.ids == expected.ids and bank.present.equal(expected.modality_mask) and not bank.present.all()
    torch.testing.assert_close(bank.embeds, expected.specific_embeds, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(bank.labels.float(), expected.labels.float())
    generated = trainer.label_state.features[1:].transpose(0, 1)
    assert (generated - bank.embeds).abs().max() > 0.01
    assert not list((tmp_path / "run").glob(f"checkpoint-*/{BANK}"))
    resumed = new_trainer(tmp_path / "resumed", keep_bank=True)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-4"))
    assert resumed.bank.embeds.equal(bank.embeds)
    trainer.model.save_pretrained(tmp_path / "alone")
    loaded = SemanticMACForAffect.from_pretrained(tmp_path / "run")
    assert NeighborBank.of_model(loaded).embeds.equal(bank.embeds)
    with pytest.raises(ValueError, match="--keep_bank"):
        NeighborBank.of_model(SemanticMACForAffect.from_pretrained(tmp_path / "alone"))
    for dtype in (torch.bfloat16, torch.float16):
        NeighborBank.of_model(SemanticMACForAffect.from_pretrained(tmp_path / "run", dtype=dtype))


def test_a_bank_of_other_weights_and_a_damaged_one_are_refused(tmp_path):
    torch.manual_seed(0)
    SemanticMACForAffect(tiny_config()).save_pretrained(tmp_path)
    model = SemanticMACForAffect.from_pretrained(tmp_path)
    width = model.config.hidden_size
    bank = NeighborBank(
        SENTIMENT, ["a", "b"], torch.ones(2, 3, width), torch.ones(2, 3).bool(), torch.zeros(2), bank_probe(model)
    )
    save_bank(bank, tmp_path)
    assert NeighborBank.of_model(model).ids == ["a", "b"]
    with torch.no_grad():
        model.predictors["A"].output.weight[0, 0] *= 1.05  # as some steps of training
    with pytest.raises(ValueError, match="other weights"):
        NeighborBank.of_model(model)
    (tmp_path / BANK).write_bytes((tmp_path / BANK).read_bytes()[:-20])
    with pytest.raises(ValueError, match="damaged"):
        NeighborBank.of_model(model)


def test_comparison_systems_have_none():
    classes = classes_of("lf_dnn")
    model = type(classes.model.__name__, (), {"config": classes.config(architecture="lf_dnn")})()
    with pytest.raises(ValueError, match="only SemanticMAC"):
        NeighborBank.of_model(model)
    with pytest.raises(ValueError, match="--keep_bank True: an argument of SemanticMAC"):
        check_architecture_arguments("mult", arguments("x", keep_bank=True))


@pytest.fixture(scope="module")
def kept(world, tmp_path_factory):
    """A run with a bank."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    words = ["--output_dir", str(folder), "--num_train_epochs", "1", "--keep_bank", "--report_to", "none"]
    train.main([RECIPE, *world["common"], *world["models"], *words])
    return folder


def test_a_prediction_names_the_nearest_clips_of_each_modality(world, kept, capsys, tmp_path):
    pipe = pipeline("video-affect", model=str(kept), device="cpu")
    assert pipe.has_neighbors and len(pipe.neighbor_bank.ids) == len(world["clips"]["train"])
    clips = [
        {"video": clip["media"]["path"], "text": clip["text"]}
        for clip in (world["clips"]["train"][4], world["clips"]["test"][1])
    ]
    own, other = pipe(clips, neighbors=3, batch_size=2)
    for modality in MODALITIES:  # a training clip is nearest to itself; the bank was made from embeddings in float16
        assert own["neighbors"][modality][0]["id"] == world["clips"]["train"]["id"][4]
        assert own["neighbors"][modality][0]["distance"] < 1e-2
    with torch.no_grad():
        inputs = pipe.processor(text=clips[1]["text"], media=clips[1]["video"])
        embeds = pipe.model(**inputs).specific_embeds[0].numpy().astype(float)
    labels = dict(zip(world["clips"]["train"]["id"], world["clips"]["train"]["label"]))
    for modality, query in zip(MODALITIES, embeds):
        expected = brute_force(pipe.neighbor_bank, modality, query, 3)
        found = other["neighbors"][modality]
        assert [clip["id"] for clip in found] == [pipe.neighbor_bank.ids[row] for _, row in expected]
        assert [clip["distance"] for clip in found] == pytest.approx([apart for apart, _ in expected], abs=1e-4)
        assert [clip["label"] for clip in found] == pytest.approx([labels[clip["id"]] for clip in found])
    assert list(pipe({"text": "Well."}, neighbors=1)["neighbors"]) == ["text"] and "neighbors" not in pipe(clips[0])
    words = ["predict", clips[1]["video"], "--text", clips[1]["text"], "--model", str(kept), "--device", "cpu"]
    assert main([*words, "--neighbors", "3", "--json", str(tmp_path / "found.json")]) == 0
    printed, first = capsys.readouterr().out, other["neighbors"]["audio"][0]
    assert f"    voice   {first['id']}  {first['label']:+.2f}, distance {first['distance']:.3f}\n" in printed
    assert [len(found) for found in json.loads((tmp_path / "found.json").read_text())[0]["neighbors"].values()] == [
        3
    ] * 3
    with pytest.raises(ValueError, match="neighbors is -1"):
        pipe(clips[0], neighbors=-1)


def test_a_model_without_a_bank_says_what_to_do(world, capsys):
    pipe = pipeline("video-affect", model=str(world["run"]), device="cpu")
    assert not pipe.has_neighbors
    with pytest.raises(ValueError, match=f"there is no {BANK} beside the model at .*--keep_bank"):
        pipe({"text": "Well."}, neighbors=2, on_error="skip")
    assert main(["predict", "--text", "Well.", "--model", str(world["run"]), "--neighbors", "2"]) == 1
    assert "--keep_bank" in capsys.readouterr().err


def test_the_bank_goes_to_the_hub_on_request_only(kept, tmp_path):
    assert BANK not in files_to_upload(kept)
    for name, content in files_to_upload(kept, include_bank=True).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(content, path)
    pushed, own = (pipeline("video-affect", model=str(folder), device="cpu") for folder in (tmp_path, kept))
    assert pushed({"text": "Well."}, neighbors=4) == own({"text": "Well."}, neighbors=4)
    (tmp_path / BANK).unlink()
    with pytest.raises(FileNotFoundError, match="no neighbor_bank"):
        files_to_upload(tmp_path, include_bank=True)


def test_a_case_names_other_training_clips(world, kept, tmp_path):
    folders = ["--embeddings_dir", str(world["folder"] / "embeddings"), "--output_dir", str(tmp_path)]
    case_script.main([str(kept), *folders, "--clips", "train_0003"])
    page = (tmp_path / "cases.html").read_text(encoding="utf-8")
    table = page.partition("<caption>Nearest training clips</caption>")[2].partition("</table>")[0]
    model = SemanticMACForAffect.from_pretrained(kept)
    bank = NeighborBank.of_model(model)
    row = bank.ids.index("train_0003")
    expected = [bank.ids[near] for _, near in brute_force(bank, "audio", bank.embeds[row, 1].numpy().astype(float), 6)]
    places = [table.index(f">{clip}<", table.index(">voice<")) for clip in expected[1:]]
    assert places == sorted(places) and ">train_0003<" not in table and table.count(">voice<") == 5


def test_a_new_run_in_the_folder_leaves_no_old_bank(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "run")
    OutputFolder(tmp_path / "run").clear()
    assert not (tmp_path / "run" / BANK).exists()
