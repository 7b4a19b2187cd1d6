"""Scores planted in the clips of the synthetic corpus, the words that carry one of them, and the labels computed from
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SCORE_RANGE = (-3.0, 3.0)
MODALITIES = ("text", "audio", "vision")
LABEL_WEIGHTS = (0.45, 0.30, 0.25)  # of words, voice and face in the multimodal label
EMOTIONS = ("happy", "sad", "surprised", "angry")
CLASSES = ("not_sarcastic", "sarcastic")
SPREAD = 0.5  # standard deviation of a score around the clip's mood, where all three agree
LEAST_CONTRADICTION = 0.75  # distance from zero, on the other side, of the score that contradicts the mood

# Words by their valence: the planted score of a text is the mean valence of its graded words.
GRADED_WORDS = {
    -3: ("terrible", "horrible", "awful", "dreadful"),
    -2: ("bad", "boring", "ugly", "poor"),
    -1: ("weak", "dull", "slow", "bland"),
    0: ("ordinary", "usual", "plain", "normal"),
    1: ("fine", "decent", "nice", "pleasant"),
    2: ("good", "lovely", "great", "clever"),
    3: ("wonderful", "amazing", "brilliant", "perfect"),
}
THINGS = ("film", "story", "song", "meal", "trip", "game", "show", "book", "play", "talk")
PARTS = ("ending", "start", "middle", "sound", "colour", "idea", "pace", "style")
TEMPLATES = (
    "the {thing} was {a} and the {part} was {b}",
    "i saw a {a} {thing} with a {b} {part}",
    "what a {a} {thing} , so {b} and so {c}",
    "we had a {a} {thing} and then a {b} {other}",
    "my friend said it was {a} but i found the {part} {b} and {c}",
    "{a} {thing} , {b} {part} , {c} {other}",
)


@dataclass(frozen=True)
class PlantedClip:
    """Text and planted scores of a clip.

    Args:
        text: what is said.
        scores: planted scores of words, voice and face, each in [-3, 3].
        contradicts: the one of "text", "audio", "vision" that contradicts the other two; "" where all agree.
    """

    text: str
    scores: tuple[float, float, float]
    contradicts: str


def plant_clip(generator: np.random.Generator, contradiction_share: float) -> PlantedClip:
    """Draw a clip from a generator.

    Its mood u is uniform in [-3, 3]; each score is u plus noise (0.5). In `contradiction_share` of the clips one of the
    three, each equally often, is drawn again on the other side of zero, uniform in [0.75, 3] there. The score of the
    text is then that of the chosen words.
    """
    mood = generator.uniform(*SCORE_RANGE)
    scores = mood + SPREAD * generator.standard_normal(3)
    contradicts = ""
    if generator.random() < contradiction_share:
        odd = int(generator.integers(3))
        scores[odd] = -np.copysign(generator.uniform(LEAST_CONTRADICTION, SCORE_RANGE[1]), mood)
        contradicts = MODALITIES[odd]
    scores = scores.clip(*SCORE_RANGE).round(3)
    text, scores[0] = write_text(float(scores[0]), generator)
    return PlantedClip(text, tuple(float(score) for score in scores), contradicts)


def write_text(score: float, generator: np.random.Generator) -> tuple[str, float]:
    """Return a sentence whose graded words come close to `score`, and their mean valence: its planted score."""
    template = TEMPLATES[generator.integers(len(TEMPLATES))]
    count = 3 if "{c}" in template else 2
    valences: list[int] = []
    for left in range(count, 0, -1):
        # The average that the remaining words must have, off by up to one step, so that a text does not repeat one
        # word.
        needed = (count * score - sum(valences)) / left
        wobble = generator.uniform(-1, 1) if left > 1 else 0.0
        valences.append(int(np.clip(np.rint(needed + wobble), *SCORE_RANGE)))
    generator.shuffle(valences)
    words = {slot: str(generator.choice(GRADED_WORDS[valence])) for slot, valence in zip("abc", valences)}
    thing, other = generator.choice(THINGS, size=2, replace=False)
    text = template.format(thing=thing, other=other, part=generator.choice(PARTS), **words)
    return text, round(sum(valences) / count, 3)


def sentiment_label(scores: tuple[float, float, float], weights: Sequence[float] = LABEL_WEIGHTS) -> float:
    """Return the multimodal label: 0.45 words + 0.30 voice + 0.25 face, or with the given weights, in [-3, 3]."""
    return float(np.clip(np.dot(weights, scores), *SCORE_RANGE))


def emotion_label(scores: tuple[float, float, float]) -> list[int]:
    """Return which emotions are present, multi-hot in the order of EMOTIONS; each depends on other modalities.

    happy: words + face >= 2;  sad: words + voice <= -2;  surprised: voice + face >= 2.5;  angry: words + face <= -2.5.
    """
    words, voice, face = scores
    return [int(words + face >= 2), int(words + voice <= -2), int(voice + face >= 2.5), int(words + face <= -2.5)]


def sarcasm_label(scores: tuple[float, float, float]) -> str:
    """Return whether the clip is sarcastic: words and voice lie on different sides of zero and at least 1.5 apart."""
    words, voice, _ = scores
    return CLASSES[words * voice < 0 and abs(words - voice) >= 1.5]
