"""The face of the person who speaks in a clip: the one whose mouth moves with the sound.

Legend: n moments, H height, W width in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from .face_detection import Face
from .image_processing_imagebind import cut_side
from .media_decoding import MediaError

NEAREST = 1.0  # of its own width: how far the centre of a face moves at most from one frame to the next
MOTION_RATE = 12.5  # frames per second in which the movement of mouths is measured
MOTION_SECONDS = 30.0  # of a clip, at most
FEWEST_MOMENTS = 8  # in which a movement is compared with a sound
LEAST_CORRELATION = 0.2  # of movement and sound; below it nobody is taken for the speaker
PATCH = 24  # pixels of a side of a mouth
SOUND_RATE = 16000
FRAMES_AT_A_TIME = 8


@dataclass
class Track:
    """One face through the frames of a clip.

    Args:
        faces: index of a frame -> the face in it.
    """

    faces: dict[int, Face] = field(default_factory=dict)

    def near(self, index: int) -> Face:
        """Return the face of a frame, or of the frame that is nearest to it."""
        return self.faces[min(self.faces, key=lambda known: (abs(known - index), known))]


def link_faces(detections: Sequence[Sequence[Face]]) -> list[Track]:
    """Return the faces of successive frames as tracks: each face continues the nearest one before it.

    Args:
        detections: the faces of each frame.
    """
    tracks: list[Track] = []
    for index, faces in enumerate(detections):
        pairs = []
        for number, track in enumerate(tracks):
            last = track.faces[max(track.faces)]
            for other, face in enumerate(faces):
                distance = float(np.linalg.norm(face.centre - last.centre)) / max(last.width, face.width)
                if distance <= NEAREST:
                    pairs.append((distance, number, other))
        used: set[int] = set()
        extended: set[int] = set()
        for _, number, other in sorted(pairs):
            if number not in extended and other not in used:
                tracks[number].faces[index] = faces[other]
                extended.add(number)
                used.add(other)
        tracks += [Track({index: face}) for other, face in enumerate(faces) if other not in used]
    return tracks


def speaking_track(clip, times: Sequence[float], detect: Callable) -> Track | None:
    """Return the face of a clip whose mouth moves with the sound.

    The movement of a mouth is the mean difference of its pixels from one frame to the next, less that of the eyes,
    which move with the head alone. The face whose movement correlates most with the level of the sound is taken; the
    largest one where there is no sound or none correlates.

    Args:
        clip: a `MediaClip`.
        times: when its frames are taken, in seconds of the clip.
        detect: a frame to its faces.

    Returns:
        The track, by the index of the time; None where there is no face.
    """
    detections: list[Sequence[Face]] = []
    for frames in clip.iter_frames(list(times), FRAMES_AT_A_TIME):
        detections += [detect(cut_side(frame, clip.crop)) for frame in frames]
    tracks = link_faces(detections)
    if not tracks:
        return None
    largest = max(tracks, key=lambda track: sum(face.area for face in track.faces.values()))
    if len(tracks) == 1 or not clip.has("audio"):
        return largest
    count = int(min(clip.duration, MOTION_SECONDS) * MOTION_RATE)
    moments = [(number + 0.5) / MOTION_RATE for number in range(count)]
    if count < FEWEST_MOMENTS:
        return largest
    try:
        level = _smooth(_levels(clip, moments))
    except MediaError:  # the sound cannot be decoded; reading the audio says so
        return largest
    motion = [_smooth(row) for row in _mouth_motion(clip, moments, times, tracks)]
    scores = [_correlation(row, level) for row in motion]
    best = int(np.argmax(scores))
    return tracks[best] if scores[best] >= LEAST_CORRELATION else largest


def _levels(clip, moments: Sequence[float]) -> np.ndarray:
    """Return the root mean square of the sound between successive moments, (n - 1,)."""
    sound = clip.media.waveform(clip.start + moments[0], clip.start + moments[-1], SOUND_RATE)
    parts = [sound[round((t - moments[0]) * SOUND_RATE) :][: round(SOUND_RATE / MOTION_RATE)] for t in moments[:-1]]
    return np.array([float(part.square().mean().sqrt()) if len(part) else 0.0 for part in parts])


def _mouth_motion(clip, moments: Sequence[float], times: Sequence[float], tracks: Sequence[Track]) -> np.ndarray:
    """Return how much the mouth of each track moves between successive moments, (tracks, n - 1)."""
    nearest = [int(np.argmin(np.abs(np.asarray(times) - moment))) for moment in moments]
    motion, before, done = np.zeros((len(tracks), len(moments) - 1)), None, 0
    for frames in clip.iter_frames(list(moments), FRAMES_AT_A_TIME):
        for frame in frames:
            grey = cut_side(frame, clip.crop).float().mean(dim=0)
            patches = [_patches(grey, track.near(nearest[done])) for track in tracks]
            if before is not None:
                for number, (old, new) in enumerate(zip(before, patches)):
                    mouth, eyes = (float((b - a).abs().mean()) for a, b in zip(old, new))
                    motion[number, done - 1] = mouth - eyes
            before, done = patches, done + 1
    return motion


def _patches(grey: torch.Tensor, face: Face) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mouth and the eyes of a face in a grey frame (H, W), each (PATCH, PATCH)."""
    mouth, eyes = face.points[3:].mean(axis=0), face.points[:2].mean(axis=0)
    return _patch(grey, mouth, face.width / 2), _patch(grey, eyes, face.width / 2)


def _patch(grey: torch.Tensor, centre: np.ndarray, side: float) -> torch.Tensor:
    size = max(2, round(side))
    left, top = (round(float(middle) - size / 2) for middle in centre)
    top, left = min(max(top, 0), grey.shape[0] - 2), min(max(left, 0), grey.shape[1] - 2)
    part = grey[top : top + size, left : left + size]
    return F.interpolate(part[None, None], size=(PATCH, PATCH), mode="area")[0, 0]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the running mean of three values: a mouth opens a little before or after it sounds."""
    return np.convolve(values, np.ones(3) / 3, mode="valid")


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation, 0 where one of the two is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


__all__ = ["Track", "link_faces", "speaking_track"]
