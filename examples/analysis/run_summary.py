"""Put the main pictures of a run on its report.

    python examples/analysis/run_summary.py RUN
    python examples/analysis/run_summary.py RUN --data_dir CORPUS --split validation

Runs the other scripts of this folder into `RUN/analysis`: pseudo labels over epochs, the balance of modalities, their
contributions, the embedding space, and a page of the clips whose modalities disagree most. Then writes `RUN/report.md`
again, with four of the pictures. An analysis for which the run lacks the material (e.g. generated pseudo labels) is
left out and named.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.analysis import (  # noqa: E402
    case_study,
    embedding_space,
    label_curves,
    modality_contribution,
    semantic_balance,
)
from modeling_semanticmac.report import write_report  # noqa: E402

ANALYSES = {
    "pseudo labels over epochs": label_curves,
    "semantic balance": semantic_balance,
    "contributions": modality_contribution,
    "embedding space": embedding_space,
    "cases": case_study,
}


def main(argv: list[str] | None = None) -> dict[str, str]:
    """Run the analyses; return those that were left out, with the reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="arguments of every analysis, e.g. --data_dir CORPUS"
    )
    args = parser.parse_args(argv)
    if not (args.run / "run.json").is_file():
        parser.error(f"there is no run.json in {args.run}; expected the folder of a run.")
    left_out = {}
    for name, analysis in ANALYSES.items():
        try:
            analysis.main([str(args.run), *args.arguments])
        except (FileNotFoundError, ValueError) as error:
            left_out[name] = str(error)
            print(f"{name}: left out. {error}", file=sys.stderr)
    write_report(args.run)
    print(args.run / "report.md")
    return left_out


if __name__ == "__main__":
    main()
