"""Files and a recogniser that timeline tests share."""

import av

FILES = [f"timeline.{ending}" for ending in ("csv", "json", "jsonl", "png", "srt", "svg", "vtt")]


class Recognizer:
    """Recogniser in the form of transformers' pipeline; it says the number of its call, with odd times of Whisper."""

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


def with_tracks(path, *sources):
    """Write a file that holds the streams of all sources."""
    opened = [av.open(str(source)) for source in sources]
    with av.open(str(path), "w") as out:
        copies = [{s.index: out.add_stream_from_template(s) for s in source.streams} for source in opened]
        for source, copy in zip(opened, copies):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copy[packet.stream_index]
                    out.mux(packet)
            source.close()
    return path
