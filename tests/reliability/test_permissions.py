"""Weights are written with the permissions that the umask allows, so that a group can share checkpoints and towers."""

import os
import stat

import pytest

from tests.helpers.tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(params=[(0o022, 0o644), (0o007, 0o660)], ids=["all", "group"])
def mode(request):
    umask, mode = request.param
    before = os.umask(umask)
    yield mode
    os.umask(before)


def weights(folder) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.safetensors")}


def test_a_checkpoint(tmp_path, mode):
    names = ["model.safetensors", "audio_encoder/model.safetensors", "vision_encoder/model.safetensors"]
    assert weights(save_tiny_checkpoint(tmp_path)) == dict.fromkeys(names, mode)
