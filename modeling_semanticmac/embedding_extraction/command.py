"""The command line of `semanticmac embed`: encode a corpus, or media files and folders, into an embedding store."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from torch import nn
from transformers import AutoModelForVideoClassification, HfArgumentParser, PreTrainedTokenizerFast
from transformers.utils.logging import get_logger

from datasets_scripts.split_list import SPLITS

from ..clip_input import MEDIA_SUFFIXES
from ..configuration_semanticmac import DTYPES, MEDIA_MODALITIES
from ..encoders import load_towers
from ..face_crops import face_options
from ..processing_semanticmac import SemanticMACProcessor
from .extraction import extract_embeddings

logger = get_logger(__name__)


def _option(help_text: str, default=None, **more):
    return field(default=default, metadata={"help": help_text, **more})


@dataclass
class ExtractionArguments:
    """Arguments of `semanticmac embed`: the clips, the encoders, and the store."""

    embeddings_dir: str = field(metadata={"help": "Folder of the embedding store."})

    corpus: str | None = _option("Name of a corpus, e.g. mosi, meld, synthetic.")
    data_dir: str | None = _option("Folder of the corpus.")
    task: str | None = _option("Task of the corpus where its tasks have different clips.")
    corpus_options: str | None = _option('Options of the corpus as JSON, e.g. {"fold": 0}.')
    splits: list[str] = field(default_factory=lambda: list(SPLITS), metadata={"help": "Splits of the corpus."})
    media: list[str] | None = _option(
        "Media files and folders, instead of a corpus; ids are the paths within a folder."
    )

    model: str | None = _option("A saved model whose towers, front ends and sampling to use; or name towers:")
    vision_encoder: str | None = _option("The frozen vision tower (name or folder).")
    vision_encoder_revision: str | None = _option("Revision of the vision tower on the Hub.")
    audio_encoder: str | None = _option("The frozen audio tower (name or folder).")
    audio_encoder_revision: str | None = _option("Revision of the audio tower on the Hub.")
    audio_layers: str | None = _option(
        "Hidden layers of the audio tower whose mean is used: last (default), last4, 6-12 or all."
    )

    frames_per_second: float | None = _option("Frames and audio windows a second (default 2).")
    num_frames: int | None = _option("A fixed number of frames and windows a clip, instead of frames_per_second.")
    vision_window: str | None = _option("image (one still a token) or clip (two frames of one second).")
    audio_window: float | None = _option("Length of an audio window in seconds (default 2.0).")
    audio_stream: int | None = _option("Sound track of the files, 0 is the first (default: FFmpeg's choice).")
    num_crops: int | None = _option("1 (centre), 2 (both ends) or 3 crops a frame.")
    vision_crop: str | None = _option("none (default), face, or frame_and_face: two tokens a time step.")
    face_choice: str | None = _option("Of several faces the largest (default), or the speaking one.")
    face_detector: str | None = _option("ONNX file of YuNet, or its repository (default: OpenCV's on the Hub).")
    face_detector_revision: str | None = _option("Revision of the face detector on the Hub.")

    batch_size: int = _option("Frames or windows encoded at once.", 32)
    num_workers: int | None = _option("Processes that decode (default: by the number of cores).")
    shard_clips: int = _option("Clips a shard, at most: what an interruption can lose.", 256)
    max_seconds: float | None = _option("Longer clips fail.")
    dtype: str | None = _option(
        "Number format (default: the store's own, else bfloat16 on a GPU, float32 on a CPU).", choices=DTYPES
    )
    device: str | None = _option("Device (default: cuda where there is one).")

    def __post_init__(self):
        if (self.corpus is None) == (self.media is None):
            raise ValueError("give either --corpus (with --data_dir) or --media.")
        if self.corpus is not None and self.data_dir is None:
            raise ValueError("--corpus needs --data_dir, the folder of the corpus.")
        if (self.model is None) == (self.vision_encoder is None and self.audio_encoder is None):
            raise ValueError("give either --model, or --vision_encoder and/or --audio_encoder.")
        unknown = set(self.splits) - set(SPLITS)
        if unknown:
            raise ValueError(f"unknown split(s) {', '.join(sorted(unknown))}; expected {', '.join(SPLITS)}.")
        given = [name for name in (*SAMPLING, *FACES, "audio_layers") if getattr(self, name) is not None]
        if self.model is not None and given:
            raise ValueError(f"--{given[0]} is set by the model; leave it out, or name towers instead of --model.")
        if any(getattr(self, name) for name in FACES) and self.vision_encoder is None:
            raise ValueError("--vision_crop needs --vision_encoder, the tower that sees the crops.")
        if self.audio_layers is not None and self.audio_encoder is None:
            raise ValueError("--audio_layers needs --audio_encoder, the tower whose layers they are.")


FACES = ("vision_crop", "face_choice", "face_detector", "face_detector_revision")
SAMPLING = ("frames_per_second", "num_frames", "vision_window", "audio_window", "audio_stream", "num_crops")


def main(argv: Sequence[str] | None = None) -> int:
    """Embed the requested clips.

    Returns:
        0 where every clip is accounted for; 1, with one line on standard error, where that is not possible.
    """
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    try:
        parser = HfArgumentParser(ExtractionArguments, prog="semanticmac embed", allow_abbrev=False)
        (args,) = parser.parse_args_into_dataclasses(args=argv, look_for_args_file=False)
        datasets = _datasets(args)
        processor, encoders = load_model(args) if args.model else load_named(args)
        for name, clips in datasets.items():
            report = extract_embeddings(
                clips,
                processor,
                encoders,
                args.embeddings_dir,
                batch_size=args.batch_size,
                num_workers=args.num_workers,
                shard_clips=args.shard_clips,
                max_seconds=args.max_seconds,
                dtype=getattr(torch, args.dtype) if args.dtype else None,
                device=args.device,
            )
            print(f"\n{name}\n{report}")
            for clip in report.clips:
                print("  " + ": ".join(filter(None, (clip["id"], clip["status"], clip["reason"], clip["note"]))))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def load_model(args: ExtractionArguments) -> tuple[SemanticMACProcessor, dict[str, nn.Module]]:
    """Return the processor and the towers of a checkpoint."""
    model = AutoModelForVideoClassification.from_pretrained(args.model)
    named = [m for m in MEDIA_MODALITIES if getattr(model.config, f"{m}_encoder") is not None]
    return SemanticMACProcessor.from_pretrained(args.model), {m: model.get_encoder(m) for m in named}


def load_named(args: ExtractionArguments) -> tuple[SemanticMACProcessor, dict[str, nn.Module]]:
    """Return the towers that the arguments name, and a processor that fits them."""
    references = {}
    for modality in MEDIA_MODALITIES:
        name, revision = (getattr(args, f"{modality}_encoder{part}") for part in ("", "_revision"))
        if name is not None:
            references[modality] = {"name_or_path": name, "revision": revision}
    encoders, front_ends = load_towers(references, args.num_crops, args.audio_layers)
    sampling = {
        name: getattr(args, name) for name in SAMPLING if name != "num_crops" and getattr(args, name) is not None
    }
    sampling |= face_options(*(getattr(args, name) for name in FACES))
    # A processor needs a tokenizer, although there is no text to embed here.
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
    return SemanticMACProcessor(front_ends["vision"], front_ends["audio"], tokenizer, **sampling), encoders


def _datasets(args: ExtractionArguments) -> dict:
    """Return the clips: split -> dataset, or "media" -> list of rows."""
    if args.media is not None:
        return {"media": media_clips(args.media)}
    from datasets_scripts.loading import load_corpus  # imported here: heavy, and not needed for --media

    options = json.loads(args.corpus_options) if args.corpus_options else {}
    corpus = load_corpus(args.corpus, args.data_dir, args.task, **options)
    return {split: corpus[split] for split in args.splits}


def media_clips(paths: Sequence[str | os.PathLike]) -> list[dict]:
    """Return one clip for each given file, and for each file of given folders whose name says media or has no suffix.

    Args:
        paths: files and folders; the id of a clip is its path within the folder, or its name.

    Raises:
        ValueError: two files would have the same id.
        FileNotFoundError: there is no file or folder of that name.
    """
    clips, left = {}, []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"there is neither a file nor a folder {path}.")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if path.is_dir() and not _may_be_media(Path(name)):
                left.append(name)
                continue
            if name in clips:
                raise ValueError(f"{file} and {clips[name]} would both be clip {name!r}; extract them into two stores.")
            clips[name] = file
    if left:
        logger.info(f"{len(left)} file(s) are not media by their names and are left out: {', '.join(left)}")
    return [
        {"id": name, "media": {"path": str(file.absolute()), "start": None, "end": None, "crop": None}}
        for name, file in clips.items()
    ]


def _may_be_media(name: Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and (not name.suffix or name.suffix.lower() in MEDIA_SUFFIXES)
