"""Draw the representations of a split: a map of each kind, and the silhouette of the labels in it.

    python examples/analysis/embedding_space.py RUN --data_dir CORPUS --output_dir PICTURES
    python examples/analysis/embedding_space.py RUN --split test --method umap

Writes `embedding_space.png`, `.svg` and `.csv` (the points). On the training set the semantic-specific representations
are coloured by the pseudo labels of their sub-task, if the run kept them; all others by the ground truth.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis.trained_run import TrainedRun, run_command, run_parser  # noqa: E402
from modeling_semanticmac.analyses.analysis_pictures import draw_embedding_space  # noqa: E402
from modeling_semanticmac.analyses.embedding_space import METHODS, EmbeddingView, embedding_space  # noqa: E402
from modeling_semanticmac.files.markdown_tables import format_number, markdown_table  # noqa: E402
from modeling_semanticmac.files.picture_style import save_picture  # noqa: E402
from modeling_semanticmac.training.label_history import read_label_history  # noqa: E402

HEADER = ("representation", "id", "x", "y", "label", "label_of")


def point_rows(found: dict[str, EmbeddingView], ids: list[str]) -> list[tuple]:
    """Return a row for every point of the picture."""
    rows = []
    for name, view in found.items():
        of = "pseudo label" if view.pseudo else "ground truth"
        rows += [
            (name, ids[row], *point, label, of)
            for row, point, label in zip(view.rows, view.points.tolist(), view.labels.tolist())
        ]
    return rows


def main(argv: list[str] | None = None) -> dict[str, EmbeddingView]:
    """Draw the picture and print the silhouettes."""
    parser = run_parser(__doc__)
    parser.add_argument("--method", default="tsne", choices=METHODS, help="default: %(default)s")
    parser.add_argument("--epoch", type=int, help="of the pseudo labels (default: the last)")
    parser.add_argument(
        "--threshold", type=float, default=0.0, help="scores up to this size are neutral for the silhouette"
    )
    parser.add_argument(
        "--most_clips", type=int, default=2000, help="clips drawn from a larger split (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    run = TrainedRun.of(args)
    history = None
    if args.split == "train" and (Path(args.run) / "label_history").is_dir():
        history = read_label_history(args.run)
    representations = run.representations
    found = embedding_space(
        representations, run.task, history, args.epoch, args.method, args.most_clips, args.threshold, args.seed
    )
    count, shown = len(representations), min(len(representations), args.most_clips)
    drawn = f"{count} clips" if shown == count else f"{shown} of {count} clips (seed {args.seed})"
    method = "UMAP" if args.method == "umap" else "t-SNE"
    title = f"Representations by {method}: {run.title}, {drawn}"
    save_picture(
        draw_embedding_space(found, run.task, title),
        run.output_dir / "embedding_space",
        HEADER,
        point_rows(found, representations.ids),
    )
    rows = [
        [name, "pseudo label" if view.pseudo else "ground truth", format_number(view.silhouette, 3)]
        for name, view in found.items()
    ]
    print(markdown_table(["representation", "label", "silhouette"], rows))
    return found


if __name__ == "__main__":
    run_command(main)
