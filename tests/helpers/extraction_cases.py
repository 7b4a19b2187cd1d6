"""What the tests of extraction share: tiny towers of the real architecture, a processor that fits them, small clips."""

from pathlib import Path

import torch

from modeling_semanticmac.configuration_imagebind import ImageBindAudioConfig, ImageBindVisionConfig
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.feature_extraction_imagebind import ImageBindFeatureExtractor
from modeling_semanticmac.image_processing_imagebind import ImageBindImageProcessor
from modeling_semanticmac.modeling_imagebind import ImageBindAudioModel, ImageBindVisionModel
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from tests.helpers.media_files import tone, write_media
from tests.helpers.tiny import word_tokenizer

TOWER_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
VISION_WIDTH, AUDIO_WIDTH = 8, 12


def tiny_towers(seed: int = 0) -> dict[str, torch.nn.Module]:
    """Random towers for pictures of 28 x 28 and 32 mel bins."""
    torch.manual_seed(seed)
    vision = ImageBindVisionModel(ImageBindVisionConfig(**TOWER_SIZES, image_size=28, projection_dim=VISION_WIDTH))
    audio = ImageBindAudioModel(ImageBindAudioConfig(**TOWER_SIZES, num_mel_bins=32, projection_dim=AUDIO_WIDTH))
    return {"vision": vision.eval(), "audio": audio.eval()}


def tiny_processor(**sampling) -> SemanticMACProcessor:
    """A processor whose front ends fit `tiny_towers`."""
    front_ends = ImageBindImageProcessor(size=28), ImageBindFeatureExtractor(num_mel_bins=32)
    return SemanticMACProcessor(*front_ends, word_tokenizer(), **sampling)


def clip(id: str, path, start: float | None = None, end: float | None = None, crop: str | None = None) -> dict:
    """A row of a dataset, as far as extraction reads it."""
    return {"id": id, "media": {"path": str(path), "start": start, "end": end, "crop": crop}}


def write_clips(folder: Path, seconds: list[float]) -> list[dict]:
    """One small file a duration, each with another tone; clip_0, clip_1, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.mp4" for number in range(len(seconds))]
    for number, (path, duration) in enumerate(zip(paths, seconds)):
        write_media(path, duration, sound=tone(200.0 + 40 * number))
    return [clip(f"clip_{number}", path) for number, path in enumerate(paths)]


def extract(clips, processor, towers, folder, **options):
    return extract_embeddings(clips, processor, towers, folder, **{"num_workers": 0, "device": "cpu", **options})


class Untouched(torch.nn.Module):
    """A tower that must not be used."""

    def __init__(self, tower):
        super().__init__()
        self.tower, self.config = tower, tower.config

    def state_dict(self, *args, **kwargs):
        return self.tower.state_dict(*args, **kwargs)

    def forward(self, *args, **kwargs):
        raise AssertionError("an encoder was used for a clip that the store holds")


def untouched(towers):
    return {modality: Untouched(tower) for modality, tower in towers.items()}


def index_rows(folder) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in (folder / "index").glob("*.parquet"))


def assert_adds_up(report, total):
    assert report.total == total == report.done + report.reused + report.num_failed
    assert report.num_failed == sum(row["status"] == "failed" for row in report.clips)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


PICTURES = {**SIZES, "image_size": 32, "patch_size": 8}


CONVOLUTIONS = {
    "conv_dim": (16, 16),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
