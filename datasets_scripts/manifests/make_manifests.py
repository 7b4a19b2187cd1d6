"""Write the manifests beside this file from annotation files; nothing in them is typed by hand.

    python -m datasets_scripts.manifests.make_manifests counts CORPUS DATA_DIR [--options JSON] [--source WHERE]
    python -m datasets_scripts.manifests.make_manifests folds mosi FOLDER_OF_LISTS --source WHERE

`counts` writes `<corpus>.json`: clips of each task and split, labels, known bad media. `folds` writes
`<corpus>_folds.json`: the videos of each split, from three text files of ids. They hold no text and no media.
"""

import argparse
import json
from pathlib import Path

from modeling_semanticmac.files.atomic_files import write_json

from ..check import label_histogram
from ..loading import corpus_builder
from ..split_list import read_split_list

FOLDER = Path(__file__).parent
SDK_LICENCE = "MIT-style licence of A2Zadeh/CMU-MultimodalSDK (LICENSE.txt)"


def counts(name: str, data_dir: Path, source: str, options: dict) -> dict:
    """Count the clips and labels of each task; tasks whose files are absent are left out."""
    builder_class = corpus_builder(name)
    tasks = {}
    for config in builder_class.BUILDER_CONFIGS:
        try:
            builder = builder_class(config.name, data_dir, **options)
        except FileNotFoundError as error:
            print(f"{config.name}: left out, {error}")
            continue
        corpus = builder.build()
        tasks[config.name] = {
            "counts": {split: len(clips) for split, clips in corpus.items()},
            "labels": {split: label_histogram(clips, config.task.label_names) for split, clips in corpus.items()},
            "label_names": list(config.task.label_names),
            "label_range": config.task.label_range,
        }
    return {"source": source, "options": options, "tasks": tasks, "known_bad_media": builder_class.KNOWN_BAD_MEDIA}


def main(argv: list[str] | None = None) -> None:
    """Write one manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("counts", "folds"))
    parser.add_argument("corpus")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--source", default="the corpus's annotation files")
    args = parser.parse_args(argv)
    if args.kind == "folds":
        path = FOLDER / f"{args.corpus}_folds.json"
        write_json(path, {"source": args.source, "licence": SDK_LICENCE, "folds": read_split_list(args.data_dir)})
    else:
        path = FOLDER / f"{args.corpus}.json"
        write_json(path, counts(args.corpus, args.data_dir, args.source, args.options))
    print(path)


if __name__ == "__main__":
    main()
