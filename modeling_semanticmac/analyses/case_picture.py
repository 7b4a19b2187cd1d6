"""A case as one picture: frames and sound with attention, labels and predictions of all heads, contributions."""

import re
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..clip_sampling import frame_times, window_starts
from ..configuration_semanticmac import MODALITIES
from ..files.picture_style import COLORS, MARKERS, new_figure, picture_style, save_picture
from .case_media import CaseMedia
from .case_study import HEAD_NAMES, HEADS, Case

WIDTH, TIME_HEIGHT, HEADS_HEIGHT = 10.0, 4.8, 4.2  # inches
LINE = 100  # columns of text
LINES = 3
STRIP_ASPECT = 8.0  # ratio of width to height of the row of frames
ANNOTATED = {"T": "label_text", "A": "label_audio", "V": "label_vision"}


def draw_case(case: Case, media: CaseMedia, sampling) -> Figure:
    """Draw the picture of one case.

    Args:
        media: what could be read of its file.
        sampling: a processor, or any object with its `frames_per_second`, `num_frames` and `audio_window`.
    """
    has_time = media.duration is not None or bool(case.attention)
    with picture_style():
        figure = new_figure(WIDTH, HEADS_HEIGHT + TIME_HEIGHT * has_time)
        figure.suptitle(_heading(case), x=0.01, ha="left", fontsize=11)
        ratios = [1.25, 0.8, 0.9, 0.8, 2.4] if has_time else [1]
        grid = figure.add_gridspec(len(ratios), 2, height_ratios=ratios, width_ratios=[1.15, 1])
        if has_time:
            _draw_time([figure.add_subplot(grid[row, :]) for row in range(4)], case, media, sampling)
        _draw_heads(figure.add_subplot(grid[-1, 0]), case)
        _draw_contribution(figure.add_subplot(grid[-1, 1]), case)
    return figure


def save_case(case: Case, media: CaseMedia, sampling, stem: Path) -> Path:
    """Write the picture and its numbers, and return the path of the PNG file."""
    return save_picture(draw_case(case, media, sampling), stem, ["what", "of", "output", "value"], case_numbers(case))


def case_numbers(case: Case) -> list[list]:
    """Return all drawn numbers as rows: what, sub-task or modality, output, value."""
    rows = []
    for index, name in enumerate(case.task.label_names):
        rows.append(["ground truth", "", name, float(case.truth[index])])
        rows += [["prediction", head, name, float(value[index])] for head, value in case.predictions.items()]
        rows += [["pseudo label", s, name, float(found.label[index])] for s, found in case.pseudo_labels.items()]
        rows.append(["base", "", name, float(case.contribution.base[0, index])])
        shapley = zip(MODALITIES, case.contribution.shapley[0, :, index].tolist())
        rows += [["contribution", modality, name, value] for modality, value in shapley]
    for modality, shares in case.attention.items():
        rows += [["attention", modality, f"time step {step}", float(share)] for step, share in enumerate(shares)]
    return rows


def _heading(case: Case) -> str:
    """Return id and text in a few lines, with dollar signs escaped: matplotlib reads them as formulas."""
    words = wrap_text(case.clip["text"] or "(no words)", LINE)
    if len(words) > LINES:
        words = [*words[: LINES - 1], wrap_text(words[LINES - 1], LINE - 4)[0] + " ..."]
    reason = f": {case.reason}" if case.reason else ""
    return "\n".join([*wrap_text(f"{case.clip['id']}{reason}", LINE), *words]).replace("$", r"\$")


def wrap_text(text: str, columns: int) -> list[str]:
    """Return the text in lines of at most `columns` columns.

    Letters of Chinese, Japanese and Korean take two columns, and a line may end after any of them.
    """
    lines, used = [""], 0
    for piece in re.findall(r"\s+|[\u1100-\u11ff\u2e80-\U0010ffff]|[^\s\u1100-\u11ff\u2e80-\U0010ffff]+", text):
        for part in (piece[start : start + columns] for start in range(0, len(piece), columns)):
            part = " " if part.isspace() else part
            width = sum(2 if east_asian_width(letter) in "WF" else 1 for letter in part)
            if used + width > columns:
                lines, used = [*lines, ""], 0
            if part != " " or used:
                lines[-1], used = lines[-1] + part, used + width
    return lines


def _draw_time(rows: list, case: Case, media: CaseMedia, sampling) -> None:
    """Draw four rows over the seconds of the clip: frames, attention to them, sound, attention to it."""
    duration = media.duration or _guessed_duration(case, sampling)
    _draw_strip(rows[0], media, duration)
    _draw_frames(rows[1], case, duration, sampling)
    _draw_sound(rows[2], media, duration)
    _draw_windows(rows[3], case, duration, sampling)
    for axes in rows:
        axes.set_xlim(0, duration)
        axes.tick_params(labelbottom=axes is rows[3])
    rows[3].set_xlabel("seconds of the clip")


def _guessed_duration(case: Case, sampling) -> float:
    """Return the seconds by the number of time steps, for clips whose file is missing."""
    steps = max(map(len, case.attention.values()), default=1)
    return steps / sampling.frames_per_second


def _absent(axes, words: str) -> None:
    """Write why a row is empty."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.35")
    axes.set_yticks([])
    axes.grid(False)


def _draw_strip(axes, media: CaseMedia, duration: float) -> None:
    """Draw the row of frames."""
    axes.set_ylabel("picture")
    if media.frames is None:
        _absent(axes, _why(media, "picture"))
        return
    count, height, width = media.frames.shape[:3]
    shown = int(np.clip(STRIP_ASPECT * height // width, 1, count))
    chosen = media.frames[((np.arange(shown) + 0.5) * count / shown).astype(int)]
    # Each frame has its own part of the time axis, with grey beside it: it is neither stretched nor cut.
    slot = max(width, round(STRIP_ASPECT * height / shown))
    canvas = np.full((height, slot * shown, 3), 235, np.uint8)
    for number, frame in enumerate(chosen):
        left = number * slot + (slot - width) // 2
        canvas[:, left : left + width] = frame
    axes.imshow(canvas, extent=(0, duration, 0, 1), aspect="auto", interpolation="bilinear")
    axes.set_yticks([])
    axes.grid(False)


def _draw_frames(axes, case: Case, duration: float, sampling) -> None:
    """Draw the share of each frame, relative to even attention."""
    axes.set_ylabel("attention\n(1 = even)")
    shares = case.attention.get("vision")
    if shares is None:
        _absent(axes, "the model has no picture of this clip")
        return
    times = np.array(frame_times(duration, sampling.frames_per_second, sampling.num_frames))
    if len(times) != len(shares):  # the file differs from the embedded one, or was cut
        times = np.array(frame_times(duration, num_frames=len(shares)))
    edges = np.concatenate([[0], (times[1:] + times[:-1]) / 2, [duration]])  # a frame represents the nearest times
    width = np.diff(edges)
    height = shares * len(shares)
    axes.bar(edges[:-1] + 0.04 * width, height, 0.92 * width, align="edge", color=COLORS["vision"])
    _mark_even(axes, height.max())


def _draw_sound(axes, media: CaseMedia, duration: float) -> None:
    """Draw the outline of the waveform."""
    axes.set_ylabel("sound")
    if media.outline is None:
        _absent(axes, _why(media, "sound"))
        return
    times = (np.arange(len(media.outline)) + 0.5) * duration / len(media.outline)
    axes.fill_between(times, media.outline[:, 0], media.outline[:, 1], color="0.35", linewidth=0.3)
    bound = max(0.05, 1.1 * float(np.abs(media.outline).max()))
    axes.set_ylim(-bound, bound)


def _draw_windows(axes, case: Case, duration: float, sampling) -> None:
    """Draw the shares of the windows of sound, relative to even attention.

    Windows overlap, so the share of each is distributed evenly over the seconds that it covers.
    """
    axes.set_ylabel("attention\n(1 = even)")
    shares = case.attention.get("audio")
    if shares is None:
        _absent(axes, "the model has no sound of this clip")
        return
    edges, found = window_density(shares, duration, sampling)
    _, even = window_density(np.full(len(shares), 1 / len(shares)), duration, sampling)
    height = found / even
    axes.stairs(height, edges, fill=True, color=COLORS["audio"])
    _mark_even(axes, height.max())


def window_density(shares: np.ndarray, duration: float, sampling) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares (T,) of overlapping sound windows as a density over time, which integrates to their sum.

    Returns:
        Edges in seconds (n + 1,) and the density between them, per second, (n,).
    """
    starts = window_starts(duration, sampling.audio_window, sampling.frames_per_second, sampling.num_frames)
    if len(starts) != len(shares):
        starts = window_starts(duration, sampling.audio_window, num_frames=len(shares))
    starts = np.array(starts)
    ends = np.minimum(starts + sampling.audio_window, duration)
    edges = np.unique(np.concatenate([starts, ends]).round(6))  # a microsecond apart is the same moment
    middles = (edges[1:] + edges[:-1]) / 2
    covers = (starts[:, None] < middles) & (ends[:, None] > middles)  # (T, n)
    return edges, (shares / (ends - starts)) @ covers


def _mark_even(axes, highest: float) -> None:
    """Draw the line of even attention, with room above the highest value."""
    axes.axhline(1, color="0.2", linestyle=(0, (4, 3)), linewidth=1)
    axes.set_ylim(0, 1.2 * max(1, highest))


def _why(media: CaseMedia, what: str) -> str:
    """Return why picture or sound is missing."""
    return next((words for words in media.missing if what in words or "file" in words), f"no {what}")


def _color(head: str) -> str:
    """Return the colour of a head."""
    return COLORS[HEAD_NAMES[head]]


def _draw_heads(axes, case: Case) -> None:
    """Draw a row for each head: prediction, pseudo label, annotation of its modality; the ground truth as a line."""
    shown, task = case.shown, case.task
    truth = float(case.truth[shown])
    axes.axvline(truth, color="0.2", linewidth=1.2, zorder=1)
    for row, head in enumerate(HEADS):
        if head in case.predictions:
            value, name = float(case.predictions[head][shown]), HEAD_NAMES[head]
            axes.plot(value, row, MARKERS[name], color=_color(head), markersize=9, zorder=3)
        if head in case.pseudo_labels:
            value = float(case.pseudo_labels[head].label[shown])
            ring = {"fillstyle": "none", "markeredgewidth": 1.6, "markersize": 15}
            axes.plot(value, row, "o", color=_color(head), zorder=2, **ring)
        annotated = case.clip.get(ANNOTATED.get(head, ""))
        if annotated is not None and task.is_regression:
            axes.plot(annotated, row, "|", color=_color(head), markersize=18, markeredgewidth=2.2, zorder=2)
    lacking = {head: "\n(no prediction)" for head in HEADS if head not in case.predictions}
    axes.set_yticks(range(len(HEADS)), [f"{head}  {HEAD_NAMES[head]}{lacking.get(head, '')}" for head in HEADS])
    axes.set_ylim(len(HEADS) - 0.5, -0.5)
    low, high = task.label_range if task.is_regression else (0.0, 1.0)
    predicted = [float(value[shown]) for value in case.predictions.values()]  # a score may lie outside the range
    low, high = min(low, *predicted), max(high, *predicted)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.set_xlabel(output_name(case))
    axes.set_title("Labels and predictions of the heads", loc="left")
    _heads_legend(axes, case)


def _heads_legend(axes, case: Case) -> None:
    """Add the legend of `_draw_heads`."""
    grey = {"color": "0.35", "linestyle": "none"}
    handles = [
        Line2D([], [], color="0.2", linewidth=1.2, label="ground truth"),
        Line2D([], [], marker="o", markersize=8, label="prediction", **grey),
    ]
    if case.pseudo_labels:
        label = f"pseudo label, epoch {case.epoch}"
        handles.append(
            Line2D([], [], marker="o", fillstyle="none", markersize=12, markeredgewidth=1.5, label=label, **grey)
        )
    if case.task.is_regression and any(case.clip.get(name) is not None for name in ANNOTATED.values()):
        label = "annotated for the modality"
        handles.append(Line2D([], [], marker="|", markersize=13, markeredgewidth=2, label=label, **grey))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9)


def output_name(case: Case) -> str:
    """Return the label of the axis of predictions: the name of the score, or of the probability that is shown."""
    name = case.task.label_names[case.shown]
    return f"{name}, score" if case.task.is_regression else f"probability of {name}"


def _draw_contribution(axes, case: Case) -> None:
    """Draw the way from the base to the prediction, one step for each modality."""
    shown = case.shown
    reached = float(case.contribution.base[0, shown])
    path = [reached]
    labels = [f"base {reached:+.2f}"]
    for row, modality in enumerate(MODALITIES, start=1):
        step = float(case.contribution.shapley[0, row - 1, shown])
        axes.barh(row, step, left=reached, height=0.55, color=COLORS[modality])
        reached += step
        path.append(reached)
        labels.append(f"{modality} {step:+.2f}")
    for row, value in enumerate(path):
        axes.plot([value, value], [row, row + 1], color="0.45", linewidth=1)
    axes.plot(path[0], 0, "o", color="0.45", markersize=7)
    axes.plot(path[-1], 4, MARKERS["multimodal"], color=COLORS["multimodal"], markersize=9)
    labels.append(f"prediction {reached:+.2f}")
    axes.set_yticks(range(5), labels)
    axes.set_ylim(4.5, -0.5)
    room = 0.12 * max(max(path) - min(path), 0.02)
    axes.set_xlim(min(path) - room, max(path) + room)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(output_name(case))
    axes.set_title("What each modality adds to the prediction", loc="left")


__all__ = ["case_numbers", "draw_case", "output_name", "save_case", "window_density", "wrap_text"]
