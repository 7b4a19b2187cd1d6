"""Measure what each part of the method contributes, by leaving out one at a time (Table X of the paper).

Two more rows, which the paper does not have, say what the scale of the input and the linear start contribute, where the
recipe uses them.

    python examples/ablations/components.py --recipe mosei_sentiment_bert --data_dir MOSEI --output_dir ablations

Writes `components.md` and `components.json`. Finished runs are not repeated.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.ablations import ablation_runs as runs  # noqa: E402
from modeling_semanticmac import SemanticMACConfig  # noqa: E402

BLOCKS = {
    "Affective Perceiver": {
        "without frame embedding": ["--use_frame_embeddings", "false"],
        "without layer normalisation": ["--perceiver_norm", "none"],
        "without residual connection": ["--perceiver_residual", "false"],
    },
    "Semantic-centric interaction": {
        "without modality embedding": ["--use_modality_embeddings", "false"],
        "without multi-query": ["--multi_query", "false"],
        "without bridge tokens": ["--use_bridge_tokens", "false"],
        "without gated ReLU": ["--gate", "none"],
    },
    "Label generation": {
        "without momentum": ["--label_momentum", "false"],
        "ground truth in place of pseudo labels": ["--pseudo_labels", "ground_truth"],
        "sub-task M alone": ["--pseudo_labels", "off"],
    },
    "Contrastive learning": {
        "without the loss within samples": ["--intra_weight", "0"],
        "without the loss between samples": ["--inter_weight", "0"],
        "without both": ["--intra_weight", "0", "--inter_weight", "0"],
    },
}

# Our own: how the streams are scaled, and the state from which the training starts.
BEGINNING = {
    "without standardised input": ["--input_scaling", "unit"],
    "without the linear start": ["--linear_start", "false"],
}


def blocks(args) -> dict[str, dict[str, list[str]]]:
    """Return title -> name -> arguments of the rows: those of the paper, and of ours those that turn something off."""

    def config(arguments: list[str]) -> dict:
        return SemanticMACConfig(**runs.resolved(args, arguments)[0].config_fields()).to_dict()

    full = config([])
    own = {name: arguments for name, arguments in BEGINNING.items() if config(arguments) != full}
    return {**BLOCKS, "Beginning (not in the paper)": own} if own else BLOCKS


def main(argv: list[str] | None = None) -> None:
    """Train what is missing, then write the tables."""
    args = runs.parse(runs.ablation_parser(__doc__), argv)
    tables_of = blocks(args)
    settings = {runs.FULL: [], **{name: words for block in tables_of.values() for name, words in block.items()}}
    folders = runs.train(args, settings)
    results = {name: runs.read_result(name, folder, args.seeds) for name, folder in folders.items()}
    full, family = results[runs.FULL], runs.task_of(runs.resolved(args)[1]).metrics
    tables = {}
    for title, block in tables_of.items():
        tables[title] = runs.result_table([(full, None), *((results[name], full) for name in block)], family)
    note = runs.table_note(args, "the full model", len(full.predictions.ids))
    runs.write_tables(args.output_dir / "components", tables, note)


if __name__ == "__main__":
    main()
