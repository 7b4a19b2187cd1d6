"""Engines: Ray actors give the store that this process gives; accelerate's processes are those that were started."""

import sys

import pytest

from modeling_semanticmac.embedding_extraction.command import main
from modeling_semanticmac.embedding_extraction.engines import make_engine
from tests.helpers.processes import run_python


def test_ray():
    """In a process of its own: Ray's threads and signal handlers would reach the tests that fork and kill processes."""
    done = run_python(["-m", "pytest", "tests/embedding_extraction/ray_cases.py"])
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout[-5000:] + done.stderr[-2000:]


def test_engines_that_cannot_be(monkeypatch, tmp_path, capsys):
    with pytest.raises(ValueError, match="engine is 'spark'; expected local, accelerate, ray"):
        make_engine("spark")
    assert main([f"--embeddings_dir={tmp_path}", "--media=x", "--vision_encoder=v", "--num_actors=2"]) == 1
    assert "--num_actors and --ray_address belong to --engine ray" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ImportError, match=r"--engine ray needs Ray: pip install 'semanticmac\[scale\]'"):
        make_engine("ray")
