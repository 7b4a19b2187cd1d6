"""Write one vector an utterance of a frozen language model to a Parquet file, a feature file of text.

    python examples/text_vectors.py --corpus meld --data_dir MELD \
        --language_model sentence-transformers/all-MiniLM-L6-v2 --output vectors.parquet
    semanticmac train meld_emotion_bc_lstm --data_dir MELD --modalities text --text features \
        --features text=vectors.parquet --normalize all --output_dir RUN

A vector is the mean of the last hidden states over the tokens of the utterance, special tokens included. The utterance
is read by itself, without context. Systems for dialogues train on such vectors for many epochs; with a feature file the
language model reads each utterance once and not once an epoch. Utterances without words are left out and counted.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from datasets_scripts import load_corpus
from modeling_semanticmac.files.atomic_files import write_whole
from modeling_semanticmac.input_scaling import masked_mean
from modeling_semanticmac.language_models import language_model_config, load_language_model
from modeling_semanticmac.text_encoding import encode_text, is_missing


def text_vectors(name: str, texts: list[str], max_length: int, batch_size: int) -> torch.Tensor:
    """Return the mean token of each text (N, D) in float32, in the order of the texts."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = load_language_model(name, language_model_config(name)).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # texts of like length: less padding
    vectors = torch.empty(len(texts), model.config.hidden_size)
    with torch.inference_mode(), tqdm(total=len(texts), desc="Reading texts", unit=" texts") as progress:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            inputs = encode_text(tokenizer, [texts[place] for place in places], max_length=max_length)
            states = model(**inputs).last_hidden_state
            vectors[places] = masked_mean(states, inputs["attention_mask"]).float()
            progress.update(len(places))
    return vectors


def main(argv: list[str] | None = None) -> None:
    """Read the texts of every split of the corpus and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--language_model", required=True, help="a model of the Hub or a folder")
    parser.add_argument("--output", type=Path, required=True, help="the Parquet file to write")
    parser.add_argument("--max_length", type=int, default=128, help="tokens; a longer text loses its end")
    parser.add_argument("--batch_size", type=int, default=64)
    args = parser.parse_args(argv)
    rows = [
        row
        for split in load_corpus(args.corpus, args.data_dir).values()
        for row in split.select_columns(["id", "text"])
    ]
    said = [row for row in rows if not is_missing(row["text"])]
    vectors = text_vectors(args.language_model, [row["text"] for row in said], args.max_length, args.batch_size)
    table = pa.table({"id": [row["id"] for row in said], "text": list(vectors.numpy())})
    write_whole(args.output, lambda path: pq.write_table(table, path))
    print(f"{len(said)} utterances in {args.output}; {len(rows) - len(said)} have no words")


if __name__ == "__main__":
    main()
