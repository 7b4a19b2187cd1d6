"""Write the timeline of a long video in a few lines: python examples/timeline.py talk.mp4 talk.srt RUN out/"""

import sys

from transformers import pipeline

import modeling_semanticmac  # noqa: F401  (registers "video-affect")
from modeling_semanticmac.timeline import write_timeline
from modeling_semanticmac.timeline.transcripts import read_transcript

video, transcript, model, folder = sys.argv[1:]
predict = pipeline("video-affect", model=model)  # the folder of a run, or a name on the Hub
summary = write_timeline(predict, video, read_transcript(transcript), folder)
print(
    f"{summary['segments']} segments, {summary['contradicting']} with modalities that contradict each other: {folder}"
)
