"""How many frames and sound windows a clip needs: 5, 100, or as many as it is long (the paper's Table XII).

    python examples/ablations/frame_counts.py --recipe examples/recipes/mosei_sentiment_bert.yaml --data_dir MOSEI --output_dir ablations

Each setting has an embedding store of its own, because other frames are other embeddings: `--embeddings_dir` is that of the varying number,
`<output_dir>/embeddings_5_frames` and `..._100_frames` are made. Where the recipe's frame embedding has fewer than 100 rows all settings get 100.
Writes `frame_counts.md` and `frame_counts.json`. Finished runs are not repeated.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.ablations import ablation_runs as runs  # noqa: E402

COUNTS = (5, 100)
VARYING = "varying number of frames"


def settings(args) -> dict[str, list[str]]:
    """Setting -> words for run_mac.py."""
    found = {f"{count} frames": ["--num_frames", str(count)] for count in COUNTS}
    for name, words in found.items():
        words += ["--embeddings_dir", str(args.output_dir / f"embeddings_{runs.slug(name)}")]
    found[VARYING] = []
    rows = runs.resolved(args)[0].max_frames
    if rows is not None and rows < max(COUNTS):
        found = {name: [*words, "--max_frames", str(max(COUNTS))] for name, words in found.items()}
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
