"""Predict a video in a few lines, with the package installed: python examples/predict.py clip.mp4 RUN what is said in it"""

import sys

from transformers import pipeline

import modeling_semanticmac  # noqa: F401  (registers "video-affect")

video, model, *words = sys.argv[1:]
predict = pipeline("video-affect", model=model)  # a run's folder, or a name on the Hub
result = predict({"video": video, "text": " ".join(words)})
for view, said in {"all together": result, **result["subtasks"]}.items():
    print(f"{view}: {said.get('label') or said.get('labels') or said.get('score')}")
