"""Train on one corpus and test on another of the same task, in both directions.

    python examples/ablations/cross_corpus.py --recipe mosi_sentiment_bert --data_dir MOSI \\
        --other_corpus mosei --other_data_dir MOSEI --output_dir ablations

The recipe trains on either corpus, with all else the same. Both must have the same task specification: a model trained
on scores in [-3, 3] (MOSI, MOSEI) is refused for CH-SIMS in [-1, 1], because its error would mix two scales; scores are
not rescaled. Each corpus has its own embedding store, since their clips may share ids: `--embeddings_dir` is the store
of the recipe's corpus. Writes `cross_corpus.md` and `cross_corpus.json`. Finished runs are not repeated.
"""

import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from examples.ablations import ablation_runs as runs  # noqa: E402
from modeling_semanticmac.configuration_semanticmac import TaskSpecification  # noqa: E402


def check_same_task(names: list[str], tasks: list[TaskSpecification]) -> None:
    """Raise ValueError, naming the differences, where metrics on two corpora are not comparable."""
    one, two = (asdict(task) for task in tasks)
    different = [f"{name} is {one[name]} and {two[name]}" for name in one if one[name] != two[name]]
    if different:
        raise ValueError(
            f"{names[0]} and {names[1]} cannot be crossed: {'; '.join(different)}. Metrics need the same task, classes "
            "and range of scores, and nothing "
            "is rescaled here; give another corpus or --other_task."
        )


def main(argv: list[str] | None = None) -> None:
    """Train on both, test on both, then write the tables."""
    parser = runs.ablation_parser(__doc__)
    parser.add_argument("--other_corpus", required=True, help="name of the second corpus")
    parser.add_argument("--other_data_dir", required=True, help="folder of the second corpus")
    parser.add_argument("--other_task", help="task of the second corpus (default: the recipe's)")
    parser.add_argument(
        "--other_corpus_options", default="{}", help='options of the second corpus as JSON, e.g. {"seed": 1}'
    )
    args = runs.parse(parser, argv)
    data = runs.resolved(args)[1]
    task = args.other_task or data.task
    other = [
        "--corpus",
        args.other_corpus,
        "--data_dir",
        args.other_data_dir,
        "--corpus_options",
        args.other_corpus_options,
    ]
    other += ["--embeddings_dir", str(args.output_dir / "embeddings_other_corpus"), *(["--task", task] if task else [])]
    corpora = [runs.resolved(args, arguments)[1] for arguments in ([], other)]
    first, second = (f"{corpus.corpus} ({Path(corpus.data_dir).name})" for corpus in corpora)
    check_same_task([first, second], [runs.task_of(corpus) for corpus in corpora])
    folders = runs.train(args, {runs.FULL: [], f"trained on {second}": other})
    one, two = folders.values()
    crossed = {
        (one, second): runs.test_again(args, one, one / "test_other_corpus", other),
        (two, first): runs.test_again(args, two, two / "test_other_corpus"),
    }
    family, tables = runs.task_of(data).metrics, {}
    for tested, own, foreign, name in ((first, one, two, second), (second, two, one, first)):
        native = runs.read_result(f"trained on {tested}", own, args.seeds)
        found = runs.read_result(f"trained on {name}", crossed[foreign, tested], args.seeds)
        tables[f"Tested on {tested}"] = runs.result_table([(native, None), (found, native)], family)
    note = runs.table_note(
        args, "the model that was trained on the corpus it is tested on", len(native.predictions.ids)
    )
    runs.write_tables(args.output_dir / "cross_corpus", tables, note)


if __name__ == "__main__":
    main()
