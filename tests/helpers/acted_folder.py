"""Small RAVDESS and CREMA-D as they lie on disk."""

from pathlib import Path

from tests.helpers.media_files import numbered, tone, write_media


def _write(path: Path, with_media: bool, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not with_media:
        path.touch()
    elif path.suffix == ".wav":
        write_media(path, 0.6, picture=None, sound=tone(200 + number), sound_codec="pcm_s16le")
    else:
        write_media(path, 0.6, 25, lambda frame: numbered(frame, 64, 48), tone(200 + number))


def write_ravdess(folder: Path, with_media: bool = False) -> Path:
    """Write five performances of each of 24 actors in the released layout: sound of all, videos of the first actor, and
    what must be left out: song, a mute video, files of macOS. Without media the files are empty; with media there are
    only the first two performances, and each actor has a video of the first.
    """
    for actor in range(1, 25):
        for emotion in (1, 2) if with_media else (1, 2, 3):
            for intensity in (1, 2) if emotion > 1 and not with_media else (1,):
                code = f"01-{emotion:02d}-{intensity:02d}-{1 + actor % 2:02d}-01-{actor:02d}"
                sound = folder / f"Audio_Speech_Actors_01-24/Actor_{actor:02d}/03-{code}.wav"
                _write(sound, with_media, 10 * emotion + actor)
                if actor == 1 or (with_media and emotion == 1):
                    _write(
                        folder / f"Video_Speech_Actor_{actor:02d}/Actor_{actor:02d}/01-{code}.mp4",
                        with_media,
                        10 * emotion,
                    )
                    (folder / f"Video_Speech_Actor_{actor:02d}/Actor_{actor:02d}/02-{code}.mp4").touch()
    song = folder / "Audio_Song_Actors_01-24/Actor_01/03-02-03-01-01-01-01.wav"
    song.parent.mkdir(parents=True)
    song.touch()
    (folder / "Audio_Speech_Actors_01-24/Actor_02/._03-01-03-01-01-01-02.wav").touch()
    return folder


def write_crema_d(folder: Path, with_media: bool = False) -> Path:
    """Write two clips of each of 91 actors: sound of all, video of the first; and the table of votes, with a vote for
    another emotion, a tie and a missing row. Without media the files are empty; with media there are fewer actors, and
    each has a video.
    """
    votes = {}
    for actor in range(1001, 1092, 5 if with_media else 1):
        for number, code in enumerate(("DFA_ANG_XX", "IEO_SAD_HI")):
            clip = f"{actor}_{code}"
            _write(folder / f"AudioWAV/{clip}.wav", with_media, 10 * number + actor - 1000)
            votes[clip] = code[4]
            if actor == 1001 or (with_media and number == 0):
                _write(folder / f"VideoFlash/{clip}.flv", with_media, number)
    votes |= {"1001_DFA_ANG_XX": "D", "1002_DFA_ANG_XX": "A:D"}
    votes.pop("1003_DFA_ANG_XX", None)
    order = sorted(votes, key=lambda clip: (clip != "1001_DFA_ANG_XX", clip != "1002_DFA_ANG_XX", clip))
    rows = [f'"{n}","{clip}","A","50","A","50","{votes[clip]}","50"' for n, clip in enumerate(order, start=1)]
    header = '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"'
    table = folder / "processedResults/summaryTable.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join([header, *rows]) + "\n")
    return folder
