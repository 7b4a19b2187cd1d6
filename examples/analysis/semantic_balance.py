"""Measure semantic balance: how much of the multimodal representation each modality, and each pair, covers (Figures 2
and 6a of the paper).

    python examples/analysis/semantic_balance.py RUN --data_dir CORPUS --output_dir PICTURES
    python examples/analysis/semantic_balance.py RUN --features manual_features.safetensors

Writes `semantic_balance.png`, `.svg` and `.csv` (the curves) and `semantic_balance_areas.csv`. docs/analyses.md defines
what is compared.

`--features` takes a safetensors file with `text`, `audio` and `vision` (n, D), in the order of the clips of the split:
manual features instead of the semantic-specific representations.
"""

import sys
from pathlib import Path

from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command, run_parser  # noqa: E402
from modeling_semanticmac.analyses.analysis_pictures import SHOWN_NEIGHBORS, draw_balance  # noqa: E402
from modeling_semanticmac.analyses.semantic_balance import Balance, semantic_balance  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import MODALITIES  # noqa: E402
from modeling_semanticmac.files.atomic_files import write_csv  # noqa: E402
from modeling_semanticmac.files.markdown_tables import format_number, markdown_table  # noqa: E402
from modeling_semanticmac.files.picture_style import save_picture  # noqa: E402

HEADER = ("compared", "measure", "parameter", "precision", "recall")


def curve_rows(found: dict[str, Balance]) -> list[tuple]:
    """Return a row for every point of the picture: by clusters (number of the angle) and by neighbours (k)."""
    rows = []
    for name, balance in found.items():
        points = zip(balance.precision, balance.recall)
        rows += [(name, "clusters", angle, *point) for angle, point in enumerate(points, start=1)]
        improved = zip(balance.neighbors, balance.improved_precision, balance.improved_recall)
        rows += [(name, "neighbors", *point) for point in improved]
    return rows


def area_rows(found: dict[str, Balance]) -> tuple[list[str], list[list]]:
    """Return the header and one row a modality or pair: area, improved precision and recall."""
    header = ["compared", "area", f"improved precision (k={SHOWN_NEIGHBORS})", f"improved recall (k={SHOWN_NEIGHBORS})"]
    rows = []
    for name, balance in found.items():
        place = balance.neighbors.tolist().index(SHOWN_NEIGHBORS)
        rows.append([name, balance.area, balance.improved_precision[place], balance.improved_recall[place]])
    return header, rows


def read_features(path: Path) -> list:
    """Read features of text, audio and vision (n, D) from a safetensors file.

    Raises:
        ValueError: one of the three is missing.
    """
    held = load_file(path)
    if missing := [modality for modality in MODALITIES if modality not in held]:
        raise ValueError(
            f"{path} holds {', '.join(sorted(held))}; expected {', '.join(MODALITIES)}; {', '.join(missing)} missing."
        )
    return [held[modality] for modality in MODALITIES]


def main(argv: list[str] | None = None) -> dict[str, Balance]:
    """Draw the picture and print the areas."""
    parser = run_parser(__doc__)
    parser.add_argument("--features", type=Path, help="manual features instead of the representations (safetensors)")
    parser.add_argument(
        "--most_clips", type=int, default=4000, help="clips drawn from a larger split (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    run = TrainedRun.of(args)
    features = read_features(args.features) if args.features else None
    found = semantic_balance(run.representations, features, args.seed, args.most_clips)
    count = len(run.representations)
    drawn = f"{args.most_clips} of {count} clips (seed {args.seed})" if count > args.most_clips else f"{count} clips"
    source = "manual features" if features else "representations"
    figure = draw_balance(found, f"Semantic balance of {source}: {run.title}, {drawn}")
    save_picture(figure, run.output_dir / "semantic_balance", HEADER, curve_rows(found))
    header, rows = area_rows(found)
    write_csv(run.output_dir / "semantic_balance_areas.csv", header, rows)
    print(markdown_table(header, [[format_number(value, 3) for value in row] for row in rows]))
    return found


if __name__ == "__main__":
    run_command(main)
