"""Fine-tune a trained model on your own clips, compare before and after, and push the new model if requested.

    python examples/fine_tune_own_clips.py my_clips --model org/semanticmac-mosei --output_dir my_run
    python examples/fine_tune_own_clips.py my_clips --model some_run --output_dir my_run --push_to_hub me/my-model
    --private

`my_clips` holds media files and `clips.csv` with the columns file, text, label (docs/corpora.md, video_folder). The
labels are those of the model's task. Before and after are compared on validation; the test split is opened once, at the
end. The media are encoded once for both.
"""

import argparse
import json
from pathlib import Path

from transformers import AutoConfig

from modeling_semanticmac.commands import train as train_command
from modeling_semanticmac.files.markdown_tables import format_number, markdown_table
from modeling_semanticmac.runs.folder import split_results


def task_arguments(model: str) -> list[str]:
    """Return the arguments that give a table of clips the task of the model: its classes or its range of scores."""
    task = AutoConfig.from_pretrained(model).task
    options = {}
    if task.is_regression:
        options["label_range"] = list(task.label_range)
    elif task.name == "emotion":
        options |= {"label_names": list(task.label_names), "multi_label": task.is_multi_label}
    return ["--corpus", "video_folder", "--task", task.name, "--corpus_options", json.dumps(options)]


def print_change(before: Path, after: Path) -> None:
    """Print the validation metrics of two runs."""
    results = [
        split_results(json.loads((folder / "eval_results.json").read_text(encoding="utf-8")), "eval")
        for folder in (before, after)
    ]
    rows = [[name, *(format_number(found[name]) for found in results)] for name in results[0]]
    print("\n" + markdown_table(["on validation", "before", "after"], rows))


def main(argv: list[str] | None = None) -> None:
    """Evaluate, train, evaluate, test and push. Other arguments are passed on to `semanticmac train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", help="folder with media files and clips.csv")
    parser.add_argument("--model", required=True, help="a SemanticMAC model: a name on the Hub, or the folder of a run")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the new model")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument(
        "--learning_rate",
        type=float,
        default=2e-5,
        help="of all parts; low, because they are trained (default %(default)s)",
    )
    parser.add_argument("--push_to_hub", metavar="ORG/NAME", help="push the new model there")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    args, others = parser.parse_known_args(argv)
    before, after = args.output_dir / "before", args.output_dir
    common = ["--model_name_or_path", args.model, "--data_dir", args.clips, *task_arguments(args.model), *others]
    common += ["--embeddings_dir", str(args.output_dir / "embeddings")]
    train_command.main([*common, "--do_eval", "--output_dir", str(before)])
    arguments = [
        "--do_train",
        "--do_eval",
        "--do_predict",
        "--num_train_epochs",
        str(args.epochs),
        "--output_dir",
        str(after),
    ]
    arguments += [f"--{name}={args.learning_rate}" for name in ("learning_rate", "language_model_learning_rate")]
    if args.push_to_hub:
        arguments += ["--push_to_hub", "--hub_model_id", args.push_to_hub, "--hub_private_repo", str(args.private)]
    train_command.main([*common, *arguments])
    print_change(before, after)


if __name__ == "__main__":
    main()
