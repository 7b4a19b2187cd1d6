"""Convert the official ImageBind checkpoint to two `from_pretrained` folders, vision and audio.

    semanticmac convert imagebind_huge.pth OUT

ImageBind's weights are licensed CC BY-NC-SA 4.0; this project ships none of them.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm.auto import tqdm

from ..encoders import follow_umask
from ..feature_extraction_imagebind import ImageBindFeatureExtractor
from ..image_processing_imagebind import ImageBindImageProcessor
from ..modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from .checkpoint import LOGIT_SCALE, check_original, original_names

LICENSE_NOTE = (
    "The weights in this folder are converted, unchanged in value, from the ImageBind checkpoint of Meta Platforms, "
    "Inc. "
    "and affiliates\n(https://github.com/facebookresearch/ImageBind). They are licensed under Creative Commons "
    "Attribution-NonCommercial-ShareAlike 4.0\nInternational (CC BY-NC-SA 4.0, "
    "https://creativecommons.org/licenses/by-nc-sa/4.0/): no commercial use, share alike, with attribution.\n"
)


def from_original(
    state_dict: Mapping[str, torch.Tensor], vision_heads: int = 16, audio_heads: int = 12
) -> tuple[ImageBindVisionModel, ImageBindAudioModel]:
    """Return the two frozen towers, in float32 and eval mode, with the weights of an original ImageBind state dict.

    The towers share memory with float32 tensors of the state dict instead of copying them.

    Args:
        state_dict: key -> tensor with the original names; the keys of other modalities are ignored.
        vision_heads, audio_heads: attention heads; every other size is read from the shapes.

    Raises:
        ValueError: keys are missing, unexpected or misshapen; the message lists them all.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in state_dict.items()}
    vision_config, audio_config = check_original(shapes, vision_heads, audio_heads)
    audio_config.logit_scale = state_dict[LOGIT_SCALE].double().exp().item()
    towers = []
    for tower, config in ((ImageBindVisionModel, vision_config), (ImageBindAudioModel, audio_config)):
        with torch.device("meta"):
            model = tower(config)
        names = original_names(config.model_type.removeprefix("imagebind_"), config.num_hidden_layers)
        weights = {
            ours: state_dict[names[ours]].to(torch.float32).reshape(parameter.shape)
            for ours, parameter in model.state_dict().items()
        }
        model.load_state_dict(weights, assign=True)
        towers.append(model.eval())
    return tuple(towers)


def read_checkpoint(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Read the state dict of a `.pth` (only tensors are unpickled) or `.safetensors` file, memory-mapped where
    possible.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}. Download imagebind_huge.pth from the ImageBind repository first."
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state_dict = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # the unpickler can raise anything on another file
        raise ValueError(
            f"{path} is not a checkpoint of tensors only ({type(error).__name__}). Expected "
            "imagebind_huge.pth, or a .pth or .safetensors file with the same names."
        ) from error
    if not isinstance(state_dict, Mapping):
        raise ValueError(f"{path} holds {type(state_dict).__name__}; expected a state dict: key -> tensor.")
    for key, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{path} holds {type(value).__name__} under the key {key!r}; expected a state dict: key -> tensor."
            )
    return state_dict


def file_sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 (hex) of a file, read in pieces with a progress bar."""
    digest = hashlib.sha256()
    total = os.path.getsize(path)
    with open(path, "rb") as file, tqdm(total=total, unit="B", unit_scale=True, desc="Hashing the checkpoint") as bar:
        while piece := file.read(1 << 22):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def convert(
    checkpoint: str | os.PathLike, folder: str | os.PathLike, vision_heads: int = 16, audio_heads: int = 12
) -> None:
    """Write `folder/vision` and `folder/audio`: weights, configuration (with the source's hash), preprocessor, licence
    note.

    Everything is written under a temporary name beside `folder` and renamed at the end: a folder that exists is
    complete.

    Raises:
        FileExistsError: `folder` exists and is not empty.
        FileNotFoundError, ValueError: as for `read_checkpoint` and `from_original`.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty. Give a new folder, or remove this one first.")
    vision, audio = from_original(read_checkpoint(checkpoint), vision_heads, audio_heads)
    image_processor = ImageBindImageProcessor(size=vision.config.image_size)
    feature_extractor = ImageBindFeatureExtractor(
        num_mel_bins=audio.config.num_mel_bins, num_mel_frames=audio.config.num_mel_frames
    )
    source = {"file": Path(checkpoint).name, "sha256": file_sha256(checkpoint)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        for name, model, preprocessor in (("vision", vision, image_processor), ("audio", audio, feature_extractor)):
            part = Path(temporary, "towers", name)
            model.config.source = source
            model.save_pretrained(part)
            follow_umask(part)
            preprocessor.save_pretrained(part)
            (part / "LICENSE").write_text(LICENSE_NOTE)
            (part / "README.md").write_text(
                f"---\nlicense: cc-by-nc-sa-4.0\n---\n\n# ImageBind, {name} tower\n\n{LICENSE_NOTE}"
            )
        os.replace(Path(temporary, "towers"), folder)


def main(arguments: list[str] | None = None) -> int:
    """Convert; return 0 when the folders are written, else 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="semanticmac convert", description=convert.__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="imagebind_huge.pth, or a .pth or .safetensors file with the same names")
    parser.add_argument("folder", help="new folder; from_pretrained reads its sub-folders vision and audio")
    parser.add_argument(
        "--vision_heads", type=int, default=16, help="attention heads of the vision tower (default: %(default)s)"
    )
    parser.add_argument(
        "--audio_heads", type=int, default=12, help="attention heads of the audio tower (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        convert(options.checkpoint, options.folder, options.vision_heads, options.audio_heads)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"Wrote {options.folder}/vision and {options.folder}/audio. The weights are CC BY-NC-SA 4.0: see LICENSE there."
    )
    return 0
