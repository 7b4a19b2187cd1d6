"""Measure how many frames and sound windows a clip needs: 5, 100, or a number by its length (Table XII of the paper).

    python examples/ablations/frame_counts.py --recipe mosei_sentiment_bert --data_dir MOSEI --output_dir ablations

Each setting has its own embedding store, because other frames have other embeddings: `--embeddings_dir` is the store of
the varying number, `<output_dir>/embeddings_5_frames` and `..._100_frames` are created. Where the frame embedding of
the recipe has fewer than 100 rows, all settings get 100. Writes `frame_counts.md` and `frame_counts.json`. Finished
runs are not repeated.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.ablations import ablation_runs as runs  # noqa: E402

COUNTS = (5, 100)
VARYING = "varying number of frames"


def settings(args) -> dict[str, list[str]]:
    """Return setting -> arguments of `semanticmac train`."""
    found = {f"{count} frames": ["--num_frames", str(count)] for count in COUNTS}
    for name, arguments in found.items():
        arguments += ["--embeddings_dir", str(args.output_dir / f"embeddings_{runs.slug(name)}")]
    found[VARYING] = []
    rows = runs.resolved(args)[0].max_frames
    if rows is not None and rows < max(COUNTS):
        found = {name: [*arguments, "--max_frames", str(max(COUNTS))] for name, arguments in found.items()}
    return found


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, then write the table."""
    args = runs.parse(runs.ablation_parser(__doc__), argv)
    folders = runs.train(args, settings(args))
    results = {name: runs.read_result(name, folder, args.seeds) for name, folder in folders.items()}
    reference = results[VARYING]
    rows = [(result, None if result is reference else reference) for result in results.values()]
    table = runs.result_table(rows, runs.task_of(runs.resolved(args)[1]).metrics)
    note = runs.table_note(args, f"the {VARYING}", len(reference.predictions.ids))
    runs.write_tables(args.output_dir / "frame_counts", {"Frames a clip": table}, note)


if __name__ == "__main__":
    main()
