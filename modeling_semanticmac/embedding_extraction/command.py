"""The command line of `semanticmac embed`: encode a corpus, or media files and folders, into an embedding store."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from datasets_scripts.split_list import SPLITS

from ..configuration_semanticmac import DTYPES, MEDIA_MODALITIES
from ..face_crops import face_options
from .clip_encoder import ClipEncoder
from .clip_sources import media_clips
from .engines import ENGINES, make_engine
from .extraction import default_workers, store_clips
from .towers import TowerChoice


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
        "Instead of a corpus: media files and folders, also in object storage (s3://, gs://, hf://), WebDataset .tar "
        "archives and .parquet files with bytes; ids are the paths within a folder or an archive."
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
    dtype: str = _option(
        "Number format of the towers: auto (the store's own, else what the device is fastest in), or one of these.",
        "auto",
        choices=["auto", *DTYPES],
    )
    device: str | None = _option("Device (default: cuda where there is one).")
    engine: str | None = _option(
        "Who encodes: local (this process), accelerate (the processes that accelerate launch or torchrun started, on "
        "one or more machines) or ray (actors of a Ray cluster). Default: accelerate where several processes were "
        "started, else local.",
        choices=ENGINES,
    )
    num_actors: int | None = _option("Actors of --engine ray (default: one a GPU, else one a core).")
    ray_address: str | None = _option("Ray cluster (default: RAY_ADDRESS, else one on this machine).")

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
        if self.engine != "ray" and (self.num_actors is not None or self.ray_address is not None):
            raise ValueError("--num_actors and --ray_address belong to --engine ray; add it, or leave them out.")
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
        engine = make_engine(args.engine, args.num_actors, args.ray_address)
        datasets = _datasets(args)
        encoder = ClipEncoder(
            tower_choice(args), device=args.device, dtype=args.dtype, batch_size=args.batch_size,
            num_workers=default_workers() if args.num_workers is None else args.num_workers,
            max_seconds=args.max_seconds,
        )  # fmt: skip
        for name, clips in datasets.items():
            report = store_clips(clips, encoder, args.embeddings_dir, args.shard_clips, engine)
            print(f"\n{name}\n{report}")
            for clip in report.clips:
                print("  " + ": ".join(filter(None, (clip["id"], clip["status"], clip["reason"], clip["note"]))))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def tower_choice(args: ExtractionArguments) -> TowerChoice:
    """Return the towers and the sampling that the arguments name."""
    if args.model:
        return TowerChoice(args.model)
    references = {}
    for modality in MEDIA_MODALITIES:
        name, revision = (getattr(args, f"{modality}_encoder{part}") for part in ("", "_revision"))
        if name is not None:
            references[modality] = {"name_or_path": name, "revision": revision}
    sampling = {
        name: getattr(args, name) for name in SAMPLING if name != "num_crops" and getattr(args, name) is not None
    }
    sampling |= face_options(*(getattr(args, name) for name in FACES))
    return TowerChoice(None, references, args.num_crops, args.audio_layers, sampling)


def _datasets(args: ExtractionArguments) -> dict:
    """Return the clips: split -> dataset, or "media" -> list of rows."""
    if args.media is not None:
        return {"media": media_clips(args.media)}
    from datasets_scripts.loading import load_corpus  # imported here: heavy, and not needed for --media

    options = json.loads(args.corpus_options) if args.corpus_options else {}
    corpus = load_corpus(args.corpus, args.data_dir, args.task, **options)
    return {split: corpus[split] for split in args.splits}
