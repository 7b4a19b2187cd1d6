"""Shared parts of the ablations: train a recipe with extra arguments over seeds, test again, write tables.

Runs lie in `<output_dir>/<setting>/seed_<n>`, so that scripts with the same `--output_dir` train the full model once.
Finished runs are kept, an interrupted run is resumed; a folder that holds a run with other arguments is refused.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from datasets_scripts import task_specification  # noqa: E402
from modeling_semanticmac.commands import train as train_command  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import TaskSpecification  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_json, write_text  # noqa: E402
from modeling_semanticmac.files.markdown_tables import markdown_table, mean_and_deviation  # noqa: E402
from modeling_semanticmac.runs.comparison import RunPredictions, compare_runs  # noqa: E402
from modeling_semanticmac.runs.folder import split_results  # noqa: E402
from modeling_semanticmac.runs.record import recorded_arguments  # noqa: E402
from modeling_semanticmac.runs.seeds import SeedRun, summarize  # noqa: E402
from modeling_semanticmac.training import main as training_main  # noqa: E402
from modeling_semanticmac.training.run_arguments import ModelArguments, parse_arguments  # noqa: E402

FULL = "full model"
# Metrics shown in a table, by family; the JSON holds all.
SHOWN = {
    "mosi": ("mae", "pearson", "acc7", "acc2_neg_pos", "f1_neg_pos"),
    "sims": ("sims_mae", "sims_pearson", "sims_acc5", "sims_acc2", "sims_f1"),
    "scores": ("mae", "pearson", "polarity_acc", "polarity_f1"),
    "multi_label": ("w_f1", "n_acc", "b_f1"),
    "conversation": ("w_f1", "w_acc"),
    "weighted": ("w_f1", "w_acc"),
}
NOTE = (
    "Mean and standard deviation (n - 1) over seeds {seeds}, test split. Differences are to {reference}; the interval "
    "is the 95 % one of the paired "
    "bootstrap over {clips} clips, seeds pooled: what other clips might give. `same sign`: the number of seeds whose "
    "difference has the sign of "
    "the mean. `*`: 0 lies outside the interval and all seeds agree; everything else is within noise."
)


@dataclass(frozen=True)
class Result:
    """One row of a table.

    Args:
        name: the name of the row.
        values: metric -> one value a seed.
        predictions: of the test clips, a row a seed, in the order of the values.
    """

    name: str
    values: dict[str, list[float]]
    predictions: RunPredictions


def ablation_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every script of this folder has."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="Other arguments are passed on to `semanticmac train` for all runs, e.g. --bf16 true.",
    )
    parser.add_argument("--recipe", required=True, help="name of a recipe of the package, or a YAML file of arguments")
    parser.add_argument("--data_dir", required=True, help="folder of the corpus")
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="folder of runs and tables; scripts may share it"
    )
    parser.add_argument("--embeddings_dir", help="the embedding store (default: <output_dir>/embeddings)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; those for `semanticmac train` are in `train_arguments`."""
    args, args.train_arguments = parser.parse_known_args(argv)
    args.embeddings_dir = args.embeddings_dir or str(args.output_dir / "embeddings")
    return args


def run_arguments(args: argparse.Namespace, arguments: Sequence[str] = ()) -> list[str]:
    """Return the arguments of `semanticmac train` for a setting; where a name is given twice, the later one counts."""
    common = ["--data_dir", args.data_dir, "--embeddings_dir", args.embeddings_dir]
    return [args.recipe, *common, *args.train_arguments, *arguments]


def slug(name: str) -> str:
    """Return the name of a setting as the name of a folder."""
    return "".join(letter if letter.isalnum() or letter in "=.-" else "_" for letter in name)


def train(args: argparse.Namespace, settings: dict[str, Sequence[str]]) -> dict[str, Path]:
    """Train and test every setting with every seed, keep finished runs, and return the folder of each setting.

    Args:
        settings: name -> arguments of `semanticmac train` beside those of the recipe.
    """
    folders = {name: args.output_dir / slug(name) for name in settings}
    for name, arguments in (bar := tqdm(settings.items(), desc="Settings", unit=" settings")):
        bar.set_postfix_str(name)
        seeds = ["--seeds", *map(str, args.seeds)]
        train_command.main([*run_arguments(args, arguments), "--output_dir", str(folders[name]), *seeds])
    return folders


def test_again(args: argparse.Namespace, models: Path, folder: Path, arguments: Sequence[str] = ()) -> Path:
    """Test the trained models of a setting on other input without training, and return the folder of the results.

    Args:
        models: folder of a setting, with `seed_<n>` in it.
        folder: folder of the results.
        arguments: those that differ from training, e.g. `--modalities text`.
    """
    runs = []
    for seed in args.seeds:
        place = folder / f"seed_{seed}"
        _, data_args, training_args = parse_arguments(
            [*run_arguments(args, arguments), "--output_dir", str(place), "--seed", str(seed)]
        )
        training_args.do_train, training_args.do_eval, training_args.do_predict = False, False, True
        model = models / f"seed_{seed}"
        model_args = ModelArguments(model_name_or_path=str(model))
        with open(model / "model.safetensors", "rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        run = SeedRun(seed, place, (*recorded_arguments(model_args, data_args, training_args), f"weights={weights}"))
        runs.append(run)
        if not run.is_finished():
            training_main.run_once(
                model_args,
                data_args,
                training_args,
                lambda trainer, run=run: run.finish("loss", None, greater_is_better=False),
            )
    summarize(runs, folder)
    return folder


def read_result(name: str, folder: Path, seeds: Sequence[int]) -> Result:
    """Read the test metrics and predictions of the seeds of a setting."""
    folders = [folder / f"seed_{seed}" for seed in seeds]
    found = [
        split_results(json.loads((place / "all_results.json").read_text(encoding="utf-8")), "test") for place in folders
    ]
    values = {name: [row[name] for row in found] for name in found[0]}
    return Result(name, values, pool([RunPredictions.read(place) for place in folders], name))


def pool(seeds: Sequence[RunPredictions], name: str) -> RunPredictions:
    """Return the predictions of several seeds as those of one run."""
    thresholds = [found for seed in seeds for found in seed.thresholds]
    predictions = np.concatenate([seed.predictions for seed in seeds])
    return replace(seeds[0], name=name, predictions=predictions, thresholds=thresholds)


def compared(result: Result, reference: Result) -> dict[str, dict]:
    """Compare as `compare_runs` does; add the difference of each seed and how many have the sign of the mean."""
    one, two = reference.predictions, result.predictions
    found = compare_runs(one, two)
    first, second = (run.seed_metrics(np.arange(len(run.ids))) for run in (one, two))
    for metric, row in found.items():
        row["seed_differences"] = np.subtract(second[metric], first[metric]).tolist()
        row["same_sign"] = sum(value * row["difference"] > 0 for value in row["seed_differences"])
        row["beyond_noise"] = row["significant"] and row["same_sign"] == len(row["seed_differences"])
    return found


def result_table(rows: Sequence[tuple[Result, Result | None]], family: str) -> tuple[str, list[dict]]:
    """Return results as a Markdown table and as JSON.

    Args:
        rows: each result with the result that it is compared with; None: with nothing.
        family: family of metrics, as the task specification names it.
    """
    shown = SHOWN[family]
    metric = shown[0]
    lines, records = [], []
    for result, reference in rows:
        cells = [result.name, *(mean_and_deviation(result.values[name]) for name in shown), "", "", ""]
        record = {"name": result.name, "values": result.values, "reference": None, "differences": {}}
        if reference is not None:
            record |= {"reference": reference.name, "differences": compared(result, reference)}
            found = record["differences"][metric]
            mark, seeds = " *" if found["beyond_noise"] else "", len(found["seed_differences"])
            interval = f"{found['low']:+.3f} to {found['high']:+.3f}"
            cells[-3:] = f"{found['difference']:+.3f}{mark}", interval, f"{found['same_sign']} of {seeds}"
        lines.append(cells)
        records.append(record)
    return markdown_table(["", *shown, f"{metric}: difference", "interval", "same sign"], lines), records


def write_tables(path: Path, tables: dict[str, tuple[str, list[dict]]], note: str) -> None:
    """Write `<path>.md` and `<path>.json`, and print the former.

    Args:
        tables: title -> the result of `result_table`.
        note: the meaning of the columns.
    """
    parts = [f"## {title}\n\n{text}" for title, (text, _) in tables.items()]
    text = "\n".join([*parts, note]) + "\n"
    write_json(path.with_suffix(".json"), {title: records for title, (_, records) in tables.items()})
    write_text(path.with_suffix(".md"), text)
    print(text)


def table_note(args: argparse.Namespace, reference: str, clips: int) -> str:
    """Return the note on the columns of `result_table`; `reference` names what the differences are relative to."""
    return NOTE.format(seeds=" ".join(map(str, args.seeds)), reference=reference, clips=clips)


def resolved(args: argparse.Namespace, arguments: Sequence[str] = ()):
    """Return the model, data and training arguments of a setting."""
    return parse_arguments([*run_arguments(args, arguments), "--output_dir", str(args.output_dir)])


def task_of(data_args) -> TaskSpecification:
    """Return the task that the data arguments name."""
    return task_specification(data_args.corpus, data_args.task, data_dir=data_args.data_dir, **data_args.options)
