"""Files and a recogniser that timeline tests share."""

FILES = ["timeline.csv", "timeline.json", "timeline.jsonl", "timeline.png", "timeline.srt", "timeline.svg", "timeline.vtt"]  # fmt: skip


class Recognizer:
    """Says the number of its call, in the form of transformers' pipeline; its times are those of Whisper at its worst."""

    def __init__(self, kind="seq2seq_whisper"):
        self.type, self.heard, self.options = kind, [], []

    def __call__(self, sound, **options):
        self.heard.append(len(sound["raw"]) / sound["sampling_rate"])
        self.options.append(options)
        number = len(self.heard)
        chunks = [
            {"timestamp": (None, 0.5), "text": f" call {number} begins."},
            {"timestamp": (0.5, 99.0), "text": " goes on."},
            {"timestamp": (1.0, 0.2), "text": " turns back."},
            {"timestamp": (1.5, None), "text": " and ends."},
        ]
        return {"text": "all of it", **({"chunks": chunks} if options else {})}
