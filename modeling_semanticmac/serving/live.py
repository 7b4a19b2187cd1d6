"""A clip that grows while it is recorded: the last seconds of picture and sound, each frame and window encoded once."""

from collections import deque

import numpy as np
import torch

from ..affect_results import value_result
from ..clip_reading import as_frame
from ..feature_extraction_imagebind import is_silent, mix_channels
from ..image_processing_imagebind import is_one_colour
from ..media_pyav import resample
from ..pipeline_semanticmac import SemanticMACPipeline

SECONDS = 8.0
HALF_LIFE = 2.0  # seconds after which a result counts half in the smoothed one
GAP = 1.0  # seconds; sound that arrives so much later than it should follows a gap


class LiveClip:
    """The last seconds of a recording, and what the model predicts from them.

        live = LiveClip(pipe)
        live.push_frame(picture, time=0.25)
        live.push_sound(samples, sampling_rate=48000)
        live.result()

    Frames and windows lie on the grid of the processor, `frames_per_second` of each a second: frame i is the first one
    pushed at or after (i + 1/2) / frames_per_second, window i begins at i / frames_per_second and is encoded as soon
    as its end is there. The windows of a whole clip lie closer (`window_starts`), as its last one ends with it, so the
    result of a file differs a little.

    Args:
        pipe: the pipeline; its towers run with each new frame and window.
        seconds: what counts of the recording.
        half_life: of the smoothed result, in seconds.

    Raises:
        ValueError: the processor takes pairs of frames, a fixed number of frames, or follows the speaking face, which
            needs the whole clip.
    """

    def __init__(self, pipe: SemanticMACPipeline, seconds: float = SECONDS, half_life: float = HALF_LIFE):
        processor = pipe.processor
        if (
            processor.vision_window == "clip"
            or processor.num_frames is not None
            or (processor.vision_crop != "none" and processor.face_choice == "speaking")
        ):
            raise ValueError(
                "this model cannot predict live: its processor takes pairs of frames, a fixed number of frames, or the "
                "speaking face of the whole clip. Use one with single frames at a fixed rate."
            )
        if not seconds >= processor.audio_window:
            raise ValueError(f"seconds is {seconds}; a sound window alone has {processor.audio_window:g} s.")
        self.pipe, self.seconds, self.half_life = pipe, seconds, half_life
        self.hop = 1 / processor.frames_per_second
        self.text: str | None = None
        self.context: list[str] = []
        self._frames: deque = deque()  # (number on the grid, embeddings (crops, D), whether it has one colour)
        self._windows: deque = deque()  # (number, embeddings (1, D), whether it is silent)
        self._sound = torch.zeros(0)  # what no encoded window has passed yet
        self._sound_start, self._rate = 0, 0  # of `_sound`, in samples; samples a second
        self._next_frame = self._next_window = 0
        self._smoothed: tuple[float, np.ndarray] | None = None

    @property
    def now(self) -> float:
        """The seconds that were recorded so far."""
        return max(self._sound_end, self._next_frame * self.hop)

    @property
    def _sound_end(self) -> float:
        return (self._sound_start + len(self._sound)) / self._rate if self._rate else 0.0

    def say(self, text: str | None) -> None:
        """Set the words of what is being said; the words before become context.

        Raises:
            ValueError: text is not a string.
        """
        if not isinstance(text, str | None):
            raise ValueError(f"text is {type(text).__name__}; expected words in a string, or None.")
        if self.text:
            self.context.append(self.text)
        self.text = text

    def push_frame(self, picture, time: float) -> bool:
        """Take a picture, and encode it if it is the next one on the grid.

        Args:
            picture: uint8 (H, W, 3) or (3, H, W), or a PIL image.
            time: seconds since the recording began.

        Returns:
            Whether it was encoded.

        Raises:
            ValueError: it is not a picture.
        """
        number = int(np.floor(time / self.hop - 0.5 + 1e-9))
        if "vision" not in self.pipe.readable or number < self._next_frame:
            return False
        frame = as_frame(picture)
        processor = self.pipe.processor
        pixels = processor.pixel_values_of(frame[None], None, processor.face_cropper(None, 1))
        self._frames.append((number, self.pipe.embed("vision", pixels), is_one_colour(frame[None])))
        self._next_frame = number + 1
        return True

    def push_sound(
        self, samples, sampling_rate: int, time: float | None = None, most_windows: int | None = None
    ) -> int:
        """Take the next samples, and encode the windows that they complete.

        Args:
            samples: float in [-1, 1], (samples,) or (channels, samples).
            sampling_rate: in Hz, the same for the whole recording.
            time: seconds since the recording began at which the first of them was taken. Where that is more than a
                second after the sample before, there was no sound in between, and no window reaches over the gap. None:
                they follow without a gap.
            most_windows: of those that are complete, only the latest ones are encoded, for a machine that is too slow
                for all; None: all.

        Returns:
            The number of windows that were encoded.

        Raises:
            ValueError: the sampling rate is not positive, or has changed.
        """
        if sampling_rate <= 0 or self._rate not in (0, sampling_rate):
            raise ValueError(f"sampling_rate is {sampling_rate}, was {self._rate}; expected one positive rate.")
        if "audio" not in self.pipe.readable:
            return 0
        sound = torch.as_tensor(np.asarray(samples), dtype=torch.float32)
        sound = mix_channels(sound)[0] if sound.ndim == 2 else sound
        if time is not None and time * sampling_rate - (self._sound_start + len(self._sound)) > GAP * sampling_rate:
            self._sound, self._sound_start = torch.zeros(0), round(time * sampling_rate)
            self._next_window = max(self._next_window, int(np.ceil(time / self.hop - 1e-9)))
        self._rate, self._sound = sampling_rate, torch.cat([self._sound, sound])
        if most_windows is not None:
            last = int(np.floor((self._sound_end - self.pipe.processor.audio_window) / self.hop + 1e-9))
            self._next_window = max(self._next_window, last + 1 - most_windows)
        encoded = 0
        while (window := self._complete_window()) is not None:
            inputs = self.pipe.processor.input_features_of([window])
            self._windows.append((self._next_window, self.pipe.embed("audio", inputs), is_silent(window)))
            self._next_window += 1
            encoded += 1
        return encoded

    def _complete_window(self) -> torch.Tensor | None:
        """Return the samples of the next window at the tower's rate; None until its end is there."""
        processor = self.pipe.processor
        begin = round(self._next_window * self.hop * self._rate)
        passed = min(max(begin - self._sound_start, 0), len(self._sound))  # the window may begin after what is there
        self._sound, self._sound_start = self._sound[passed:], self._sound_start + passed
        size = round(processor.audio_window * self._rate)
        if self._sound_start < begin or len(self._sound) < size:
            return None
        rate = processor.feature_extractor.sampling_rate
        return resample([self._sound[:size].numpy()], self._rate, rate)

    def result(self) -> dict | None:
        """Predict from the last seconds.

        Returns:
            The pipeline's result, with `media` saying which seconds of the recording were used, and `smoothed`, the
            prediction of the whole averaged over the latest results. None while there is nothing to predict from.
        """
        now, oldest = self.now, self.now - self.seconds
        missing = {m: "not read by this model" for m in ("vision", "audio") if m not in self.pipe.readable}
        embeds, notes = {}, []
        for modality, ring, blank in (("vision", self._frames, "blank picture"), ("audio", self._windows, "silence")):
            first, last = self._grid(modality, oldest, now)
            while ring and ring[0][0] < first:
                ring.popleft()
            if ring and not all(is_blank for _, _, is_blank in ring):
                embeds[modality] = torch.cat([part for _, part, _ in ring])
                if len(ring) < last - first:  # one may be on its way
                    what = "frames" if modality == "vision" else "windows of sound"
                    notes.append(f"{len(ring)} of the {last + 1 - first} {what} of these seconds were there in time")
            elif modality not in missing:
                begun = self._next_frame if modality == "vision" else self._next_window
                missing[modality] = blank if ring else "nothing in these seconds" if begun else "nothing yet"
        if not embeds and not self.text:
            return None
        start = max(0.0, oldest)
        report = {"path": "live", "start": start, "end": now, "duration": now - start}
        report |= {"missing": missing, "notes": notes}
        result = self.pipe.predict_embeddings(self.text, self.context, embeds, report)
        return {**result, "smoothed": self._smooth(now, result)}

    def _grid(self, modality: str, oldest: float, now: float) -> tuple[int, int]:
        """Return the numbers of the first and the last frame or window that lies within these seconds.

        The middle of a frame's part of the time counts, and the whole of a window.
        """
        before = self.hop / 2 if modality == "vision" else 0.0
        after = before if modality == "vision" else self.pipe.processor.audio_window
        first = int(np.ceil((oldest - before) / self.hop - 1e-9))
        return max(first, 0), int(np.floor((now - after) / self.hop + 1e-9))

    def _smooth(self, now: float, result: dict) -> dict:
        """Return the result averaged with the earlier ones, which count half after each half-life."""
        task = self.pipe.model.config.task
        values = np.array([result["score"]] if task.is_regression else list(result["probabilities"].values()))
        if self._smoothed is not None:
            before, mean = self._smoothed
            weight = 0.5 ** (max(now - before, 0.0) / self.half_life)
            values = weight * mean + (1 - weight) * values
        self._smoothed = (now, values)
        return value_result(task, values.tolist(), self.pipe.model.config.label_thresholds)


__all__ = ["LiveClip"]
