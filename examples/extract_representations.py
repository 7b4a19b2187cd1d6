"""Write the representations of clips to a Parquet file, one row a clip, for other work.

    python examples/extract_representations.py clips/ --model org/semanticmac-mosei --output representations.parquet
    datasets.load_dataset("parquet", data_files="representations.parquet")

Clips are media files, or folders of them. The text of `clip.mp4` comes from `clip.txt` beside it; without that file the
clip has no text. Columns:

    path               the file
    multimodal_embeds  F_M, d numbers: text, audio and vision together
    specific_embeds    z_S of text, audio, vision, 3 x d: specific to a modality; zeros where the clip lacks it
    shared_embeds      z_C of text, audio, vision, 3 x d: shared between modalities
    modality_mask      which of text, audio, vision the clip has
    audio_embeds       of the audio tower, one vector a sound window, T x D; empty without sound
    vision_embeds      of the vision tower, one vector a frame, T x D; empty without picture

A clip that cannot be used is named and left out; the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm.auto import tqdm
from transformers import AutoModel, AutoProcessor

import modeling_semanticmac  # noqa: F401  (registers the classes)
from modeling_semanticmac.clip_input import media_files
from modeling_semanticmac.files.atomic_files import write_whole

VECTORS, ROWS = pa.list_(pa.float32()), pa.list_(pa.list_(pa.float32()))
SCHEMA = pa.schema(
    {
        "path": pa.string(), "multimodal_embeds": VECTORS, "specific_embeds": ROWS, "shared_embeds": ROWS,
        "modality_mask": pa.list_(pa.bool_()), "audio_embeds": ROWS, "vision_embeds": ROWS,
    }
)  # fmt: skip
INPUTS = {"audio": "input_features", "vision": "pixel_values"}


@torch.no_grad()
def represent(model, processor, path: Path) -> dict:
    """Return the row of one clip.

    Raises:
        MediaError: the file cannot be used.
    """
    transcript = path.with_suffix(".txt")
    text = transcript.read_text(encoding="utf-8").strip() if transcript.is_file() else None
    batch = processor(text=text, media=str(path))
    row = {"path": str(path), "audio_embeds": [], "vision_embeds": []}
    for modality, name in INPUTS.items():
        if name in batch:
            batch[f"{modality}_embeds"] = model.encode_media(modality, batch.pop(name), batch[f"{modality}_mask"])
            row[f"{modality}_embeds"] = batch[f"{modality}_embeds"][0].tolist()
    output = model(**batch)
    names = ("multimodal_embeds", "specific_embeds", "shared_embeds", "modality_mask")
    return row | {name: getattr(output, name)[0].tolist() for name in names}


def represent_all(model, processor, paths: list[Path]) -> Iterator[dict]:
    """Yield the rows of the clips that can be used; name the others on standard error."""
    for path in tqdm(paths, desc="Representing clips", unit=" clips"):
        try:
            yield represent(model, processor, path)
        except ValueError as error:  # a MediaError is one
            print(error, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Write the table and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, help="media files, or folders of them")
    parser.add_argument("--model", required=True, help="a SemanticMAC model: a name on the Hub, or the folder of a run")
    parser.add_argument("--output", type=Path, required=True, help="the Parquet file to write")
    args = parser.parse_args(argv)
    paths = [Path(path) for given in args.clips for path in (media_files(given) if given.is_dir() else [given])]
    model, processor = AutoModel.from_pretrained(args.model), AutoProcessor.from_pretrained(args.model)
    done = 0

    def write(temporary: Path) -> None:
        nonlocal done
        with pq.ParquetWriter(temporary, SCHEMA) as table:
            for row in represent_all(model, processor, paths):
                table.write_table(pa.Table.from_pylist([row], SCHEMA))
                done += 1

    write_whole(args.output, write)
    print(f"{args.output} holds {done} of {len(paths)} clips.")
    return int(done < len(paths))


if __name__ == "__main__":
    raise SystemExit(main())
