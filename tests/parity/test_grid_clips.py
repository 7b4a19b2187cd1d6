"""Twenty real clips of a speaking person (GRID, speaker 1): extraction with real towers, a timeline without a
transcript, and the times of the decoded sound against the hand-checked times of the words.
"""

from pathlib import Path

import pytest
import torch
from transformers import pipeline

from modeling_semanticmac.clip_sampling import MediaClip
from modeling_semanticmac.embedding_extraction import extract_embeddings
from modeling_semanticmac.embedding_store import EmbeddingStore
from modeling_semanticmac.encoders import load_towers
from modeling_semanticmac.media_decoding import open_media
from modeling_semanticmac.processing_semanticmac import SemanticMACProcessor
from modeling_semanticmac.timeline import write_timeline
from modeling_semanticmac.timeline.speech_segments import speech_segments
from tests.helpers.extraction_cases import clip
from tests.helpers.tiny import word_tokenizer
from tests.helpers.tiny_checkpoint import save_tiny_checkpoint

RATE = 16000
UNITS = 25_000  # of the .align files, a second
FRAME = 160  # samples, 10 ms


@pytest.fixture(scope="module")
def videos(shared) -> list[Path]:
    found = sorted((shared / "real" / "grid_speaker1").glob("*.mpg"))
    if not found:
        pytest.skip("needs the GRID clips beside the project, which are absent here")
    return found


def word_times(video: Path) -> list[tuple[float, float]]:
    """Return start and end of the words, without the silences."""
    rows = [line.split() for line in video.with_suffix(".align").read_text().splitlines()]
    return [(int(start) / UNITS, int(end) / UNITS) for start, end, word in rows if word not in ("sil", "sp")]


def contrast(level: torch.Tensor, words, shift: float) -> float:
    """Return by how many dB the sound is louder in the words, moved by `shift` seconds, than outside of them."""
    times = (torch.arange(len(level)) + 0.5) * FRAME / RATE
    inside = torch.stack([(times >= start + shift) & (times < end + shift) for start, end in words]).any(dim=0)
    return float(level[inside].mean() - level[~inside].mean())


def test_words_are_where_the_sound_is(videos):
    """Moving the words by 100 ms in either direction must fit worse, for a cut of the clip as for the whole."""
    shifts = (-0.2, -0.1, 0.0, 0.1, 0.2)
    for cut in (0.0, 0.5):
        found = []
        for video in videos:
            with MediaClip({"path": video, "start": cut, "end": 3.0}) as opened:
                assert opened.duration == pytest.approx(3.0 - cut, abs=0.02)
                (sound,) = opened.iter_windows([0.0], opened.duration, RATE)
            power = sound.unfold(0, FRAME, FRAME).square().mean(dim=1)
            level = 10 * power.clamp(min=1e-10).log10()
            words = [(start - cut, end - cut) for start, end in word_times(video)]
            found.append([contrast(level, words, shift) for shift in shifts])
        assert len(found) == 20 and min(row[2] for row in found) > 10
        earlier, early, exact, late, later = torch.tensor(found).mean(dim=0).tolist()
        assert exact > early + 0.7 > earlier + 1.4 and exact > late + 0.7 > later + 1.4, (cut, found)


def test_extraction_with_real_towers(videos, shared, tmp_path):
    """One frame and one window of each clip; all can be used, and different clips differ."""
    towers = shared / "real" / "towers"
    references = {
        "vision": {"name_or_path": towers / "hse_faceres_mobilenet_v1"},
        "audio": {"name_or_path": towers / "whisper_base_encoder_2s"},
    }
    encoders, front_ends = load_towers(references)
    processor = SemanticMACProcessor(front_ends["vision"], front_ends["audio"], word_tokenizer(), num_frames=1)
    clips = [clip(video.stem, video) for video in videos]
    report = extract_embeddings(clips, processor, encoders, tmp_path, num_workers=0, device="cpu")
    assert (report.done, report.num_failed, dict(report.partial)) == (20, 0, {})
    assert dict(report.rows) == {"vision": 20, "audio": 20}
    store = EmbeddingStore(tmp_path)
    streams = [store[video.stem] for video in videos]
    for audio, vision in streams:
        assert audio.shape == (1, 512) and vision.shape == (1, 1024)
        assert audio.isfinite().all() and vision.isfinite().all()
    for stream in (0, 1):
        means = torch.stack([found[stream].float().mean(dim=0) for found in streams])
        distances = torch.cdist(means, means)
        assert (distances + 1e3 * torch.eye(20)).min() > 0.01 * distances.max() > 0


def test_a_timeline_without_a_transcript(videos, tmp_path):
    """The speech that is found holds all the words; what they are is not needed."""
    pipe = pipeline("video-affect", model=str(save_tiny_checkpoint(tmp_path / "checkpoint")), device="cpu")
    for video in videos[:3]:
        words = word_times(video)
        with open_media(video) as media:
            segments = list(speech_segments(media))
        folder = tmp_path / video.stem
        summary = write_timeline(pipe, video, segments, folder)
        assert summary["unusable"] == 0 and summary["segments"] == len(segments) == 1
        assert segments[0].text is None
        assert segments[0].start <= words[0][0] + 0.1 and segments[0].end >= words[-1][1] - 0.1
        assert (folder / "timeline.csv").stat().st_size and (folder / "timeline.png").stat().st_size
