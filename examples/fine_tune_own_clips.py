"""Fine-tune a trained model on clips of one's own, see whether it helped, and push it where asked.

    python examples/fine_tune_own_clips.py my_clips --model org/semanticmac-mosei --output_dir my_run
    python examples/fine_tune_own_clips.py my_clips --model some_run --output_dir my_run --push_to_hub me/my-model --private

`my_clips` holds media files and `clips.csv` with the columns file, text, label (docs/corpora.md, video_folder). The labels are those of the model's
task. Before and after are compared on validation; the test split is opened once, at the end. Media are encoded once for both.
"""

import argparse
import json
import sys
from pathlib import Path

from transformers import AutoConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modeling_semanticmac.commands import train as train_command  # noqa: E402
from modeling_semanticmac.files.markdown_tables import format_number, markdown_table  # noqa: E402
from modeling_semanticmac.runs.folder import split_results  # noqa: E402


def task_words(model: str) -> list[str]:
    """The arguments that give a table of clips the model's own task: its classes or its range of scores."""
    task = AutoConfig.from_pretrained(model).task
    options = {}
    if task.is_regression:
        options["label_range"] = list(task.label_range)
    elif task.name == "emotion":
        options |= {"label_names": list(task.label_names), "multi_label": task.is_multi_label}
    return ["--corpus", "video_folder", "--task", task.name, "--corpus_options", json.dumps(options)]


def print_change(before: Path, after: Path) -> None:
    """A table of the validation metrics of two runs."""
    results = [
        split_results(json.loads((folder / "eval_results.json").read_text(encoding="utf-8")), "eval")
        for folder in (before, after)
    ]
    rows = [[name, *(format_number(found[name]) for found in results)] for name in results[0]]
    print("\n" + markdown_table(["on validation", "before", "after"], rows))


def main(argv: list[str] | None = None) -> None:
    """Evaluate, train, evaluate and predict, and push; what is not named here goes to `run_mac.py` as it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", help="folder with media files and clips.csv")
    parser.add_argument("--model", required=True, help="a SemanticMAC model: a name on the Hub, or the folder of a run")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the new model goes")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning_rate", type=float, default=2e-5, help="of all parts; low, for they are trained")
    parser.add_argument("--push_to_hub", metavar="ORG/NAME", help="push the new model there")
    parser.add_argument("--private", action="store_true", help="only you see a repository that is made")
    args, others = parser.parse_known_args(argv)
    before, after = args.output_dir / "before", args.output_dir
    common = ["--model_name_or_path", args.model, "--data_dir", args.clips, *task_words(args.model), *others]
    common += ["--embeddings_dir", str(args.output_dir / "embeddings")]
    train_command.main([*common, "--do_eval", "--output_dir", str(before)])
    words = [
        "--do_train",
        "--do_eval",
        "--do_predict",
        "--num_train_epochs",
        str(args.epochs),
        "--output_dir",
        str(after),
    ]
    words += [f"--{name}={args.learning_rate}" for name in ("learning_rate", "language_model_learning_rate")]
    if args.push_to_hub:
        words += ["--push_to_hub", "--hub_model_id", args.push_to_hub, "--hub_private_repo", str(args.private)]
    train_command.main([*common, *words])
    print_change(before, after)


if __name__ == "__main__":
    main()
