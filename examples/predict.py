"""Predict a video in a few lines: python examples/predict.py clip.mp4 RUN what is said in it"""

import sys

from transformers import pipeline

import modeling_semanticmac  # noqa: F401  (registers "video-affect")

video, model, *words = sys.argv[1:]
predict = pipeline("video-affect", model=model)  # the folder of a run, or a name on the Hub
result = predict({"video": video, "text": " ".join(words)})
for view, found in {"all together": result, **result["subtasks"]}.items():
    print(f"{view}: {found.get('label') or found.get('labels') or found.get('score')}")
