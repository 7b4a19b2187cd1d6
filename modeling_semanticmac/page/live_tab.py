"""The tab that predicts a camera and a microphone while they record: its fields, and the web socket behind them."""

from collections import deque
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, WebSocket

from ..pipeline_semanticmac import SemanticMACPipeline
from ..serving.live import SECONDS, LiveClip
from ..serving.live_capacity import capacity_words, encoding_seconds
from ..serving.stream import serve_stream
from .result_html import bars, block, error_html, headline_html, in_words, notes_html, remarks, tone, used_html

MOST_VISITORS = 4  # who record at the same time
KEPT = 240  # results of the line over time
FULL = f"{MOST_VISITORS} visitors record at the moment, as many as this page serves at once. Try again later."
SCRIPT = Path(__file__).with_name("live.js")
FIELDS = """<div class="smac smac-live" data-rate="{rate:g}">
<p class="smac-quiet">The last {seconds:.0f} seconds are predicted again and again. {capacity}</p>
<div class="smac-columns"><div>
<video class="smac-preview" muted playsinline aria-label="Camera"></video>
<div class="smac-controls"><button type="button" class="smac-start">Start</button>
<label><input type="checkbox" class="smac-camera" checked> camera</label>
<label><input type="checkbox" class="smac-microphone" checked> microphone</label></div>
<label>What is being said (optional)<input type="text" class="smac-live-words"></label>
</div><div class="smac-live-result"><p class="smac-empty">Nothing is recorded yet.</p></div></div></div>"""


def add_live_tab(pipe: SemanticMACPipeline) -> None:
    """Add the fields to the page that is being built, or why this model cannot predict live."""
    try:
        LiveClip(pipe)
    except ValueError as error:
        gr.HTML(error_html(str(error)))
        return
    rate = pipe.processor.frames_per_second
    capacity = escape(capacity_words(encoding_seconds(pipe), rate))
    fields = FIELDS.format(rate=rate, seconds=SECONDS, capacity=capacity)
    gr.HTML(fields, js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_id="live")


def add_live_socket(app: FastAPI, pipe: SemanticMACPipeline, lock) -> None:
    """Add the web socket `/live` to an application: messages of stream.py come in, results go out as HTML.

    Pictures and sound are not kept, only the embeddings of the last seconds.

    Args:
        app: the application.
        pipe: the pipeline.
        lock: held while the pipeline predicts.
    """
    visitors: set[WebSocket] = set()

    @app.websocket("/live")
    async def live(socket: WebSocket):
        """Serve one visitor, or turn the visitor away where too many are there."""
        if len(visitors) >= MOST_VISITORS:
            await socket.accept()
            await socket.send_json({"error": FULL})
            await socket.close(1013)
            return
        visitors.add(socket)
        results: deque = deque(maxlen=KEPT)

        def answer(result: Mapping) -> dict:
            results.append((result["media"]["end"], result["smoothed"].get("score")))
            return {"html": live_html(result, results)}

        try:
            await serve_stream(socket, pipe, answer, lock, keep_up=True)
        finally:
            visitors.discard(socket)


def live_html(result: Mapping, results: Sequence[tuple[float, float]]) -> str:
    """Return the smoothed prediction, what each modality says now, and the line over time, as HTML.

    Args:
        result: of `LiveClip.result`.
        results: the latest ones as (seconds, smoothed score).
    """
    smoothed, media = result["smoothed"], result["media"]
    told = f"averaged over the latest results; seconds {media['start']:.0f} to {media['end']:.0f}"
    parts = [headline_html(result["task"], in_words(smoothed), tone(smoothed))]
    parts += [f'<p class="smac-quiet">{told}</p>', bars({"multimodal": smoothed, **result["subtasks"]})]
    if "range" in smoothed:
        parts.append(line(results, *smoothed["range"]))
    parts += [used_html(result), notes_html(remarks(result))]
    return block("".join(parts))


def line(results: Sequence[tuple[float, float]], low: float, high: float) -> str:
    """Return a drawing of the scores over time; empty for fewer than two."""
    if len(results) < 2:
        return ""
    begin, end = results[0][0], max(results[-1][0], results[0][0] + 1e-6)
    points = " ".join(
        f"{1000 * (seconds - begin) / (end - begin):.0f},{120 * (high - min(max(score, low), high)) / (high - low):.0f}"
        for seconds, score in results
    )
    return (
        '<svg class="smac-strip smac-line" viewBox="0 0 1000 120" preserveAspectRatio="none" role="img" '
        'aria-label="The smoothed score over time"><rect class="smac-axis" x="0" y="59.5" width="1000" height="1">'
        f'</rect><polyline points="{points}"></polyline></svg><p class="smac-times" aria-hidden="true">'
        f"<span>{begin:.0f} s</span><span>{end:.0f} s</span></p>"
    )


__all__ = ["add_live_socket", "add_live_tab", "live_html"]
