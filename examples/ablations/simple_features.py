"""Write a file of simple manual features for `linear_probe.py`: the colour and the loudness of each clip.

    python examples/ablations/simple_features.py --corpus synthetic --data_dir CORPUS --output features.npz

- vision (6): mean and standard deviation of red, green and blue, from 0 to 1, over the pixels of the frames (2 a
  second);
- audio (5): over windows of 0.5 s, mean, standard deviation and maximum of the loudness (log10 of the root mean
  square), mean and standard deviation of the zero crossings a sample.

Neither faces nor voices are detected: these features are a lower bound, not what the field calls manual features
(COVAREP, OpenFace). A clip without sound or picture has zeros; a clip whose file cannot be read is left out and named.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from datasets_scripts import load_corpus
from modeling_semanticmac.clip_sampling import MediaClip, frame_times, window_starts
from modeling_semanticmac.files.atomic_files import write_whole
from modeling_semanticmac.media_decoding import MediaError

SAMPLING_RATE = 16_000
WINDOW_SECONDS = 0.5
SILENCE = 1e-4  # the floor of loudness: -4


def colour(clip: MediaClip) -> np.ndarray:
    """Return mean and standard deviation of each colour (6,)."""
    if not clip.has("video"):
        return np.zeros(6)
    frames = torch.cat(list(clip.iter_frames(frame_times(clip.duration), chunk=16))).float() / 255  # (T, 3, H, W)
    pixels = frames.transpose(0, 1).flatten(1)  # (3, T * H * W)
    return torch.cat([pixels.mean(dim=1), pixels.std(dim=1)]).numpy()


def loudness(clip: MediaClip) -> np.ndarray:
    """Return mean, deviation and maximum of the loudness, mean and deviation of the zero crossings (5,)."""
    if not clip.has("audio"):
        return np.zeros(5)
    starts = window_starts(clip.duration, WINDOW_SECONDS)
    windows = [window for window in clip.iter_windows(starts, WINDOW_SECONDS, SAMPLING_RATE) if len(window) > 1]
    level = np.array([np.log10(max(window.square().mean().sqrt().item(), SILENCE)) for window in windows])
    crossings = np.array([(window[1:].sign() != window[:-1].sign()).float().mean().item() for window in windows])
    return np.array([level.mean(), level.std(), level.max(), crossings.mean(), crossings.std()])


def main(argv: list[str] | None = None) -> None:
    """Read every clip of the corpus and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--output", type=Path, required=True, help="the npz to write")
    args = parser.parse_args(argv)
    rows, failed = {}, []
    splits = load_corpus(args.corpus, args.data_dir)
    clips = [clip for split in splits.values() for clip in split.select_columns(["id", "media"])]
    for row in tqdm(clips, desc="Reading clips", unit=" clips"):
        try:
            with MediaClip(row["media"]) as clip:
                rows[row["id"]] = colour(clip), loudness(clip)
        except MediaError as error:
            failed.append(f"{row['id']}: {error}")
    vision, audio = (np.stack(columns) for columns in zip(*rows.values()))

    def save(path: Path) -> None:
        with open(path, "wb") as file:  # numpy adds .npz to a name, not to an open file
            np.savez(file, ids=np.array(list(rows)), audio=audio, vision=vision)

    write_whole(args.output, save)
    print(f"{len(rows)} clips in {args.output}; {len(failed)} could not be read", *failed, sep="\n")


if __name__ == "__main__":
    main()
