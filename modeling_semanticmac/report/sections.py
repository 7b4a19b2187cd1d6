"""The sections of the report of a run; each function reads a run folder and returns a section."""

import shlex

import numpy as np

from datasets_scripts.split_list import SPLITS

from ..configuration_semanticmac import SUBTASKS
from ..embedding_extraction.report import ON_ERROR
from ..files.markdown_tables import format_number, markdown_table
from ..metrics.definitions import definition, is_of_one_class, selection_metric
from ..runs.folder import SEMANTICMAC, RunFolder, split_results
from .paper_figures import paper_row
from .pictures import pseudo_label_picture, training_picture
from .section import PICTURES, Section, picture_link

SYMBOLS = (
    "p predictions, y labels, [.] 1 where the condition holds and else 0, rint rounds half to even, clip(x, c) clips "
    "to [-c, c]; TP, FP, FN and TN of one class, P clips with the class and N without, n_c clips of class c by their "
    "labels, n all clips. See docs/metrics.md."
)
ORDER = (
    "loss", "acc7", "acc5", "acc3", "acc2_neg_pos", "f1_neg_pos", "acc2_neg_nonneg", "f1_neg_nonneg", "mae", "pearson",
    "polarity_acc", "polarity_f1", "polarity_macro_f1",
    "sims_acc2", "sims_f1", "sims_acc3", "sims_acc5", "sims_mae", "sims_pearson",
    "w_acc", "w_precision", "w_recall", "w_f1", "macro_f1", "n_acc", "s_acc", "b_f1",
)  # fmt: skip


def clips_section(run: RunFolder) -> Section:
    """Return the counts of clips of every split: expected, found, used, and why rows or media were not used."""
    counts, used = run.json("corpus.json"), run.json("splits.json")
    splits = {}
    for split in SPLITS:
        media = run.json(f"media_{split}.json")
        splits[split] = {
            **{name: counts.get(name, {}).get(split) for name in ("table_ii", "expected", "found")},
            "used": len(used[split]) if split in used else None,
            "dropped_rows": counts.get("dropped", {}).get(split, {}),
            "media_failed": media.get("failed", {}),
            "media_partial": media.get("partial", {}),
        }
    names = {"table_ii": "the paper", "expected": "expected", "found": "found", "used": "used"}
    names = {name: title for name, title in names.items() if any(row[name] is not None for row in splits.values())}
    rows = [[split, *(_count_cell(row[name]) for name in names)] for split, row in splits.items()]
    text = markdown_table(["split", *names.values()], rows) + "\n"
    text += "The paper: its Table II. " if "table_ii" in names else ""
    text += (
        "Expected: what the public annotation files hold. "
        if "expected" in names
        else "No public count is known for these splits. "
    )
    kinds = {"media_*.json": "whose media cannot be read", "features_*.json": "without features"}
    which = " or ".join(words for name, words in kinds.items() if any(run.path.glob(name)))
    media = f"; a clip {which} {ON_ERROR[run.record['data']['on_error']]}." if which else ", only their text."
    text += f"Found: what the files here hold. Used: what the run read{media}\n"
    reasons = [
        [split, kind, reason, count]
        for split, row in splits.items()
        for kind, group in (
            ("row not used", "dropped_rows"), ("media failed", "media_failed"), ("media in part", "media_partial"),
        )
        for reason, count in row[group].items()
    ]  # fmt: skip
    if reasons:
        text += "\n" + markdown_table(["split", "what", "reason", "clips"], reasons)
    if any(row["media_failed"] or row["media_partial"] for row in splits.values()):
        text += "\n`media_<split>.json` names the clips; a report may be published and names none.\n"
    return Section("clips", "Clips", text, splits)


def _count_cell(value: int | None) -> str:
    """Return a count as text; empty where it is unknown."""
    return "" if value is None else f"{value:,}"


def metrics_section(run: RunFolder) -> Section:
    """Return validation and test metrics with their definitions, beside the figures of the paper."""
    validation, test = (split_results(run.results, split) for split in ("eval", "test"))
    names = sorted((name for name in validation | test if definition(name) and not is_of_one_class(name)), key=_place)
    data = run.record["data"]
    row, same_model = paper_row(
        data["corpus"], run.task.name, run.language_model, data["use_context"], names or None, run.architecture
    )
    printed = row.metrics if row else {}
    header = ["metric", "validation", "test", *(["the paper"] if row else []), "definition"]
    rows = [
        [
            f"`{name}`", format_number(validation.get(name)), format_number(test.get(name)),
            *([f"{printed[name]:g}" if name in printed else ""] if row else []), definition(name),
        ]
        for name in names
    ]  # fmt: skip
    opened = run.results.get("test_opened")
    text = (
        f"The test split was opened after the choice: {opened}.\n\n" if opened else "The test split was not opened.\n\n"
    )
    symbols = SYMBOLS + (" Every figure is the mean over the labels." if run.task.is_multi_label else "")
    text += (markdown_table(header, rows) + f"\n{symbols}\n") if rows else "Nothing was measured.\n"
    comparison = None
    if row:
        comparison = _about_the_row(run, row, same_model)
        text += f"\n**The paper's row.** {comparison}\n"
    data = {
        name: {
            "validation": validation.get(name), "test": test.get(name), "paper": printed.get(name),
            "definition": definition(name),
        }
        for name in names
    }  # fmt: skip
    return Section("metrics", "Metrics", text, {"opened": opened, "metrics": data, "paper_row": comparison})


def _place(name: str) -> tuple[bool, int]:
    """Return the key that sorts a metric into `ORDER`, tuned ones last."""
    plain = name.removesuffix("_tuned")
    return name != plain, ORDER.index(plain) if plain in ORDER else len(ORDER)


def _about_the_row(run: RunFolder, row, same_model: bool) -> str:
    """Return which row of the paper is shown, and how the run differs from its experiment."""
    if run.architecture == SEMANTICMAC:
        words = [
            f"{row.title}, SemanticMAC with {row.language_model}, the mean of five runs according to the paper; this "
            "is one run."
        ]
    else:
        words = [
            f"{row.title}, {row.model} as printed, from other audio and visual features than those of this run: what "
            "can be compared is the fusion among the systems that were run here."
        ]
    if not same_model:
        words.append(f"The language model is `{run.language_model or 'not recorded'}`, for which no row is known here.")
    missing = {"audio", "vision"} - set(run.record["data"]["modalities"])
    if missing:
        words.append(f"The paper's model also has {' and '.join(sorted(missing))}; this run does not.")
    if row.use_context is not None and row.use_context != run.record["data"]["use_context"]:
        words.append(
            f"The paper's figure was measured {'with' if row.use_context else 'without'} earlier utterances, this "
            "run's was not."
        )
    counts = run.json("corpus.json")
    there = counts.get("table_ii", {}).get("test")
    here = len(run.json("splits.json").get("test", run.predictions))
    if here and there not in (None, here):
        words.append(f"Its test split has {there:,} clips, this run's {here:,}: not the same clips.")
    elif here and not counts.get("expected"):
        words.append("An option of the corpus changes the split: not the same test clips.")
    return " ".join([*words, *([row.note] if row.note else [])])


def _selected_by(run: RunFolder) -> str:
    """Return the validation figure that selected the model.

    Version 0.1 recorded "loss" where it used the figure of the task; the best value in the state of the Trainer tells
    the two apart.
    """
    recorded = str(run.record["training"].get("metric_for_best_model")).removeprefix("eval_")
    if recorded == "None":
        return selection_metric(run.task)
    losses = [row["eval_loss"] for row in run.history if "eval_loss" in row]
    best = run.state.get("best_metric")
    return selection_metric(run.task) if recorded == "loss" and best is not None and best not in losses else recorded


def training_section(run: RunFolder) -> Section | None:
    """Return the training curves and the last logged figures of every epoch; None where nothing was logged."""
    metric = _selected_by(run)
    best = run.state.get("best_global_step")
    chosen = next((row["epoch"] for row in run.history if row["step"] == best), None)
    if training_picture(run.path / PICTURES / "training", run.history, chosen, metric) is None:
        return None
    columns = {"loss": "training loss, all terms", "loss_M": "training loss of M", "eval_loss": "validation loss of M"}
    if metric != "loss":
        columns[f"eval_{metric}"] = f"validation {metric}"
    epochs: dict[int, dict] = {}
    for row in run.history:
        epochs.setdefault(int(np.ceil(row["epoch"])), {}).update({name: row[name] for name in columns if name in row})
    epochs = {epoch: row for epoch, row in epochs.items() if row}
    text = picture_link("training", "Losses by epoch") + "\n"
    text += "Means over the steps since the previous log entry; validation at the end of the epoch.\n\n"
    table = [
        [f"**{epoch}** (chosen)" if chosen == epoch else epoch, *(format_number(row.get(name)) for name in columns)]
        for epoch, row in sorted(epochs.items())
    ]
    text += markdown_table(["epoch", *columns.values()], table)
    data = {
        "chosen_epoch": chosen,
        "chosen_by": f"validation {metric}",
        "epochs": {str(e): row for e, row in epochs.items()},
    }
    return Section("training", "Training", text, data)


def pseudo_label_section(run: RunFolder) -> Section | None:
    """Return how pseudo labels were generated first and last; None where they were not."""
    made = [row for row in run.history if any(name.startswith("labels/") for name in row)]
    if not made:
        return None
    # Logged before the first step of the epoch that learns from them.
    epochs = [int(row["epoch"]) + 1 for row in made]
    rows = [
        {name.removeprefix("labels/"): value for name, value in row.items() if name.startswith("labels/")}
        for row in made
    ]
    pseudo_label_picture(run.path / PICTURES / "pseudo_labels", epochs, rows)
    text = (
        "The labels of the sub-tasks S, T, A and V; M learns the ground truth. Weight: mean exp(-D^2) of the "
        "neighbours, 1 for equal representations. Movement: mean distance from the ground truth to the labels of the "
        f"neighbours. Last column: share of the clips whose label has another "
        f"{'polarity' if run.task.is_regression else 'class'} than the ground truth.\n\n"
        + picture_link("pseudo_labels", "Label generation by epoch")
        + "\n"
    )
    table = [
        [
            subtask,
            *(
                " -> ".join(format_number(row.get(f"{name}_{subtask}"), 3) for row in (rows[0], rows[-1]))
                for name in ("weight", "movement", "differs")
            ),
        ]
        for subtask in SUBTASKS
    ]
    text += markdown_table(["sub-task", "weight", "movement", "share that differs"], table)
    text += f"\nFirst and last generation, epochs {epochs[0]} and {epochs[-1]}.\n"
    return Section("pseudo_labels", "Pseudo labels", text, {"epochs": epochs, "generations": rows})


def cost_section(run: RunFolder) -> Section:
    """Return parameters, time and memory."""
    costs = run.json("costs.json")
    parameters = costs.get("parameters", {})
    named = {
        "language_model": "language model", "new_modules": "perceivers, interaction, heads",
        "trained": "of these two, trained", "vision_tower": "vision tower, frozen, not part of the model",
        "audio_tower": "audio tower, frozen, not part of the model",
    }  # fmt: skip
    rows = [[words, f"{parameters[name]:,}"] for name, words in named.items() if name in parameters]
    text = markdown_table(["parameters", "number"], rows) + "\n" if rows else ""
    times = {
        "training": run.results.get("train_runtime"),
        "last validation": run.results.get("eval_runtime"),
        "prediction of the test split": run.results.get("test_runtime"),
        **{f"embedding of {split}": run.json(f"media_{split}.json").get("wall_seconds") for split in SPLITS},
    }
    times = {name: value for name, value in times.items() if value is not None}
    table = [[name, f"{value:,.1f} s"] for name, value in times.items()]
    for name, key in (
        ("peak memory of the main process", "peak_memory_bytes"),
        ("peak memory of the GPU", "peak_gpu_memory_bytes"),
    ):
        if costs.get(key):
            table.append([name, f"{costs[key] / 2**20:,.0f} MiB"])
    text += markdown_table(["time and memory", ""], table)
    if costs.get("gpu"):
        text += f"\nGPU: {costs['gpu']}.\n"
    return Section("costs", "Size, time and memory", text, {**costs, "seconds": times})


def circumstances_section(run: RunFolder) -> Section:
    """Return what is needed to reproduce the run."""
    record = run.record
    told = {name: record[name] for name in ("command", "seed", "git_revision", "versions")}
    told["changed_settings"] = run.changed_settings
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    text = (
        f"- command: `{shlex.join(map(str, record['command']))}`\n"
        f"- seed {record['seed']}, git revision {record['git_revision'] or 'unknown'}\n- {versions}\n"
        "- all arguments: `run.json`; ids of the clips: `splits.json`; "
        "a row for each test clip: `predictions_test.csv`\n"
    )
    return Section("circumstances", "Circumstances", text, told)


__all__ = [
    "circumstances_section", "clips_section", "cost_section", "metrics_section", "pseudo_label_section",
    "training_section",
]  # fmt: skip
