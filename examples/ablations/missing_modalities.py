"""Test a trained model with missing modalities: all seven subsets, without and with modality dropout in training.

    python examples/ablations/missing_modalities.py --recipe mosei_sentiment_bert --data_dir MOSEI \\
        --output_dir ablations

Every clip loses the same modalities. A test clip that has none of the modalities of a subset (no sound track where only
audio is used) has no prediction; the run stops and names it, so test on clips that have all three. Writes
`missing_modalities.md` and `missing_modalities.json`. Finished runs are not repeated.
"""

import sys
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.ablations import ablation_runs as runs  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import MODALITIES  # noqa: E402

SUBSETS = [subset for size in (3, 2, 1) for subset in combinations(MODALITIES, size)]


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, test every subset, then write the tables."""
    parser = runs.ablation_parser(__doc__)
    parser.add_argument("--modality_dropout", type=float, default=0.3, help="of the second model")
    args = runs.parse(parser, argv)
    dropout = f"modality_dropout={args.modality_dropout:g}"
    models = runs.train(args, {runs.FULL: [], dropout: ["--modality_dropout", str(args.modality_dropout)]})
    results = {}
    for model, folder in models.items():
        for subset in SUBSETS:
            name = " + ".join(subset)
            place = runs.test_again(args, folder, folder / runs.slug(f"test_{name}"), ["--modalities", *subset])
            results[model, name] = runs.read_result(name, place, args.seeds)
    names = [" + ".join(subset) for subset in SUBSETS]
    whole = results[runs.FULL, names[0]]
    rows = {
        runs.FULL: [(results[runs.FULL, name], None if name == names[0] else whole) for name in names],
        dropout: [(results[dropout, name], results[runs.FULL, name]) for name in names],
    }
    family = runs.task_of(runs.resolved(args)[1]).metrics
    tables = {model: runs.result_table(pairs, family) for model, pairs in rows.items()}
    reference = "the full model with all modalities, in the second table to the full model with the same modalities"
    note = runs.table_note(args, reference, len(whole.predictions.ids))
    runs.write_tables(args.output_dir / "missing_modalities", tables, note)


if __name__ == "__main__":
    main()
