"""A run, its models, its card and its corpus pushed to a Hub, and loaded by somebody else in fresh processes, with and
without the package.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.helpers.card_metadata import FRONT_MATTER, metadata_errors
from tests.helpers.fake_hub import FakeHub
from tests.helpers.project import PROJECT

pytestmark = pytest.mark.slow

SECRETS = (".pt", ".pth", ".bin", ".pkl")


class World:
    """The server of the fake Hub, and the output of the writer and the two readers."""

    def __init__(self, hub, root):
        self.hub, self.root = hub, root
        self.written = self.wait(self.start("home", "-m", "tests.helpers.hub_writer", str(root / "work")))
        clip = str(root / "work" / "my clips" / "anna.mp4")
        reader = str(PROJECT / "tests" / "helpers" / "hub_reader.py")
        readers = {mode: self.start(mode, reader, clip, mode) for mode in ("package", "trust")}
        self.read = {mode: self.wait(process) for mode, process in readers.items()}

    def start(self, home: str, *words: str) -> subprocess.Popen:
        """Run a process that uses the fake Hub, with a cache of its own."""
        environment = {**os.environ, **self.hub.environment(self.root / home), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(PROJECT)
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=PROJECT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @staticmethod
    def wait(process: subprocess.Popen) -> dict:
        out, errors = process.communicate(timeout=280)
        assert process.returncode == 0, errors[-4000:]
        return json.loads(out.strip().splitlines()[-1])

    def text(self, name: str, repo_id: str = "org/first") -> str:
        return self.hub.files(repo_id)[name].decode()

    def card(self, repo_id: str = "org/first") -> dict:
        return yaml.safe_load(FRONT_MATTER.match(self.text("README.md", repo_id))[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with FakeHub() as hub:
        yield World(hub, tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize("mode", ["package", "trust"])
def test_others_get_what_was_pushed(world, mode):
    """Head, base model, processor and pipeline; towers by reference and included; with the package and by the
    repository's own code.
    """
    for name, expected in (("first", world.written["after"]), ("complete", world.written["before"])):
        found = world.read[mode][name]
        for key in ("logits", "multimodal"):
            torch.testing.assert_close(torch.tensor(found[key]), torch.tensor(expected[key]), atol=1e-6, rtol=1e-5)
        assert found["pipeline"] == pytest.approx(expected["logits"][0], abs=1e-5)


def test_a_second_push_updates_weights_and_card(world):
    commits = world.hub.repositories["models", "org/first"].commits
    assert len(commits) == 3  # made, first run, fine-tuned run
    first, second = commits[1][1], commits[2][1]
    assert first["model.safetensors"] != second["model.safetensors"] and first["README.md"] != second["README.md"]
    assert world.written["before"]["logits"] != pytest.approx(world.written["after"]["logits"], abs=1e-3)
    results = json.loads(second["all_results.json"])
    metrics = world.card()["model-index"][0]["results"][0]["metrics"]
    found = {metric["name"].split(":")[0]: metric["value"] for metric in metrics}
    assert found["mae"] == pytest.approx(results["test_mae"], abs=1e-6)
    assert "pearson" not in found  # undefined for one clip


def test_only_what_others_can_use_goes_up(world):
    names = set(world.hub.files("org/first"))
    assert {
        "README.md",
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "run.json",
        "report.md",
    } <= names
    assert {"modeling_semanticmac.py", "affect_heads.py", "pipeline_semanticmac.py"} <= names
    local = {path.name for path in (world.root / "work" / "tuned").iterdir()}
    assert {"embeddings", "splits.json", "predictions_test.csv", "trainer_state.json"} <= local
    assert not names & {"splits.json", "predictions_test.csv", "trainer_state.json", "training_args.json"}
    for repository in ("org/first", "org/alone", "org/complete"):
        names = set(world.hub.files(repository))
        assert not [
            name
            for name in names
            if name.endswith(SECRETS) or name.startswith(("checkpoint-", "embeddings/", "before/"))
        ]


def test_no_folder_of_this_machine_goes_up(world):
    """Neither the scratch folder nor anything else that is absolute; people are file names here, so no name of a clip
    either.
    """
    folder = str(world.root)
    for (kind, name), repository in world.hub.repositories.items():
        for _, files, _ in repository.commits:
            for path, data in files.items():
                assert folder.encode() not in data, f"{kind}/{name}: {path}"
    record = json.loads(world.text("run.json"))
    assert record["data"]["data_dir"] == "my clips" and record["training"]["output_dir"] == "tuned"
    for path in ("run.json", "report.md", "README.md", "config.json", "tokenizer_config.json"):
        assert not re.search(r"(?:^|[\s\"'`(=])/(?:home|root|tmp|work|usr|var)/", world.text(path)), path


def test_cards_are_valid_and_say_what_is_known(world):
    """The reader uses huggingface_hub's own check; here the specification is checked."""
    assert world.read["package"]["a bad card is refused"]
    for repository in ("org/first", "org/alone", "org/twice"):
        card = world.card(repository)
        assert metadata_errors(world.text("README.md", repository)) == []
        assert card["library_name"] == "transformers" and card["pipeline_tag"] == "video-affect"
        assert card["base_model"] == "org/words" and card["license"] == "other"
    assert world.read["package"]["cards"]["org/first"] == world.card()
    text = world.text("README.md")
    assert "| language model | [org/words](https://huggingface.co/org/words) |" in text and "| apache-2.0 |" in text
    assert 'pipeline("video-affect", model="org/first")' in text
    assert "The towers do not hold ImageBind's weights" in text and "| train | 3 |" in text
    assert '"model":' not in world.text("README.md", "org/alone") and "uploaded by itself" in world.text(
        "README.md", "org/alone"
    )


def test_towers_are_pinned_to_the_commit_that_was_loaded(world):
    """The run was started from the name of a branch; its card holds the commit too."""
    for repository in ("org/first", "org/alone"):
        config = json.loads(world.text("config.json", repository))
        for modality in ("vision", "audio"):
            commit = world.hub.repositories["models", f"org/{modality}"].commits[-1][0]
            assert config[f"{modality}_encoder"]["name_or_path"] == f"org/{modality}"
            assert config[f"{modality}_encoder"]["revision"] == commit
            assert commit in world.text("README.md", repository)
    first = json.loads(world.hub.repositories["models", "org/first"].commits[1][1]["run.json"])
    assert first["language_model_commit"] == world.hub.repositories["models", "org/words"].commits[-1][0]


def test_a_self_contained_repository_and_back(world):
    """Included towers refer to the repository itself; a later push by reference deletes them."""
    config = json.loads(world.text("config.json", "org/complete"))
    expected = {"name_or_path": None, "subfolder": "vision_encoder"}
    assert {name: config["vision_encoder"][name] for name in expected} == expected
    assert set(config["auto_map"].values()) == {
        "configuration_semanticmac.SemanticMACConfig",
        "modeling_semanticmac.SemanticMACModel",
        "affect_heads.SemanticMACForAffect",
    }
    complete, referring = world.written["twice"]
    repository = world.hub.repositories["models", "org/twice"]
    # Four: the branch began as main was, so the first push to it changed nothing.
    assert set(repository.branches) == {"main", "trial"} and len(repository.commits) == 4
    assert repository.at("trial")[1] == repository.at("main")[1]
    towers = {
        f"{tower}_encoder/{name}" for tower in ("vision", "audio") for name in ("config.json", "model.safetensors")
    }
    assert set(complete) - set(referring) == towers and not set(referring) - set(complete)


def test_a_corpus_goes_up_and_comes_back(world):
    assert world.read["package"]["clips"] == ["good day"] * 3
    assert metadata_errors(world.hub.files("org/clips", "datasets")["README.md"].decode()) == []
    with pytest.raises(urllib.error.HTTPError, match="404"):  # private unless said otherwise
        urllib.request.urlopen(f"{world.hub.url}/datasets/org/clips/resolve/main/README.md")


def test_the_examples_left_what_they_promise(world):
    """The evaluation before fine-tuning is kept; representations are those of the pushed model."""
    before = json.loads((world.root / "work/tuned/before/eval_results.json").read_text())
    assert before["eval_mae"] > 0 and not (world.root / "work/tuned/before/model.safetensors").exists()
    rows = pq.read_table(world.root / "work/representations.parquet").to_pylist()
    assert [row["path"].rpartition("/")[2] for row in rows] == [
        f"{name}.mp4" for name in ("anna", "ben", "cem", "dana", "eve")
    ]
    assert rows[0]["modality_mask"] == [True, True, True] and rows[1]["modality_mask"] == [False, True, True]
    assert rows[0]["multimodal_embeds"] == pytest.approx(world.written["after"]["multimodal"], abs=1e-5)
    assert len(rows[0]["vision_embeds"]) == 2 and len(rows[0]["vision_embeds"][0]) == 64
