"""Train the Self-MM of MMSA and print the seconds of each epoch as JSON.

Run by `bench_self_mm.py` with the interpreter of an environment that has MMSA. Nothing of MMSA is changed on disk. In
memory: the validation of an epoch is left out, since only training is timed.

    python mmsa_self_mm.py FEATURES LANGUAGE_MODEL WIDTH EPOCHS
"""

import json
import logging
import sys
import time

import torch
from MMSA.config import get_config_regression
from MMSA.data_loader import MMDataLoader
from MMSA.models.AMIO import AMIO
from MMSA.trains.ATIO import ATIO


def main(features: str, language_model: str, width: int, epochs: int) -> list[float]:
    """Return the seconds of each epoch but the first, which also sets up the labels."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    args = get_config_regression("self_mm", "mosi")
    args.update(
        featurePath=features, pretrained=language_model, text_out=width, early_stop=epochs, train_mode="regression",
        device=torch.device("cpu"), custom_feature="", feature_T="", feature_A="", feature_V="",
    )  # fmt: skip
    loaders = MMDataLoader(args, 0)
    args["train_samples"] = len(loaders["train"].dataset)
    trainer, times = ATIO().getTrain(args), []

    def note_time(*_, **__) -> dict:
        times.append(time.process_time())
        return {args["KeyEval"]: 1e9}  # never better: no weights are saved

    trainer.do_test = note_time
    trainer.do_train(AMIO(args), loaders)
    return [after - before for before, after in zip(times, times[1:])]


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
