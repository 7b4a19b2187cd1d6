"""Predict one clip from each set of modalities: python examples/missing_modality.py clip.mp4 RUN what is said in it"""

import itertools
import sys

from transformers import pipeline

import modeling_semanticmac  # noqa: F401  (registers "video-affect")

video, model, *words = sys.argv[1:]
predict = pipeline("video-affect", model=model)  # the folder of a run, or a name on the Hub
for number in (1, 2, 3):
    for modalities in itertools.combinations(("text", "audio", "vision"), number):
        # A modality that is left out is treated as missing: nothing is filled in for it.
        result = predict({"video": video, "text": " ".join(words)}, modalities=list(modalities))
        print(f"{' + '.join(modalities)}: {result.get('label') or result.get('labels') or result.get('score')}")
