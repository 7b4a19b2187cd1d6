"""Predict one clip from its file.

python examples/predict.py clip.mp4 --model RUN
python examples/predict.py clip.mp4 --model RUN --text "I did not expect that." --start 3.5 --end 7
python examples/predict.py --model RUN --text "Words alone."
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoModelForVideoClassification, AutoProcessor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import modeling_semanticmac  # noqa: E402, F401  (registers the classes)
from modeling_semanticmac.affect_heads import SUBTASKS  # noqa: E402
from modeling_semanticmac.run_record import predicted  # noqa: E402
from modeling_semanticmac.semantic_interaction import MODALITIES  # noqa: E402

VIEWS = {"S": "shared by all", "T": "text alone", "A": "voice alone", "V": "face alone"}


@torch.no_grad()
def predict(model, processor, text: str | None, media: dict | None) -> dict:
    """The prediction, those of the sub-tasks, and the modalities that were used.

    Raises:
        MediaError, ValueError: what was given cannot be used, said in one sentence.
    """
    output = model(**processor(text=text, media=media))
    task = model.config.task
    used = output.modality_mask[0].tolist()
    found = {
        "prediction": predicted(task, output.logits.numpy())[0],
        "modalities": [m for m, there in zip(MODALITIES, used) if there],
    }
    # What a modality "says" is asked only where the clip has it.
    has = {"S": True, **dict(zip("TAV", used))}
    subtasks = zip(SUBTASKS, output.subtask_logits[0])
    found["views"] = {VIEWS[s]: predicted(task, logits[None].numpy())[0] for s, logits in subtasks if has[s]}
    return found


def main() -> int:
    """Print the prediction, or one sentence that says why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", nargs="?", help="a video or sound file")
    parser.add_argument("--model", required=True, help="a checkpoint's folder or its name on the Hub")
    parser.add_argument("--text", help="what is said")
    parser.add_argument("--start", type=float, help="seconds")
    parser.add_argument("--end", type=float, help="seconds")
    args = parser.parse_args()
    model = AutoModelForVideoClassification.from_pretrained(args.model).eval()
    processor = AutoProcessor.from_pretrained(args.model)
    media = {"path": args.media, "start": args.start, "end": args.end, "crop": None} if args.media else None
    try:
        found = predict(model, processor, args.text, media)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{model.config.task_name}: {found['prediction']}   (from {', '.join(found['modalities'])})")
    for view, value in found["views"].items():
        print(f"  {view:<14} {value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
