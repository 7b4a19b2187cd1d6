"""What is in a media file, found by reading its packets without decoding them: streams, times of the frames, key frames, the real end.

Headers are not believed: a file that was cut off still promises its full length. Times are seconds on the media clock, 0 = start of the container.
"""

import functools
import io
import os
from dataclasses import replace

import numpy as np

from .media_info import MediaError, MediaIndex, MediaInfo, PacketTimes, StreamInfo, require_pyav

# Containers whose header states the length; others (MPEG, MP3, AAC) have it estimated from the bit rate, often wrongly.
STATES_DURATION = {"mov", "mp4", "matroska", "webm", "avi", "wav", "flac", "ogg", "asf"}
# Formats that FFmpeg also takes for media: play lists, which open other files, and text drawn as a picture.
NOT_MEDIA = {"hls", "dash", "concat", "concatf", "tty", "ffmetadata"}
LOST_SECONDS = 0.25  # a stream that ends this much before the header's promise was cut off
PADDING_SECONDS = 0.1  # sound codecs fill their last packets up, so the sound of a clip runs a little over its picture
MOST_CHANNELS = 8  # damaged headers claim 24, and reading such packets can crash
SAMPLING_RATES = range(1_000, 1_000_000)  # Hz; others are damage
HOLE_SECONDS = (
    600.0  # for so long nothing at all, neither picture nor sound: a damaged clock, which would make a year of a second
)
# Longer packets are damage: a picture may be shown for minutes, a packet of sound holds seconds at most.
LONGEST_PACKET = {"video": HOLE_SECONDS, "audio": 60.0}
GAP_SECONDS = 0.010  # coarser than the millisecond clock of Matroska, finer than a packet
# Shares of the channels in the mono mix before they are scaled to a sum of one: ITU-R BS.775. The centre carries the speech; the channel
# of low effects is left out.
CHANNEL_LEVELS = {
    "FC": 1.0,
    "FL": 0.5**0.5,
    "FR": 0.5**0.5,
    "LFE": 0.0,
    **dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), 0.5),
}


def describe(source: str | os.PathLike | bytes) -> str:
    """The name of a source in messages."""
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)


def open_container(source: str | os.PathLike | bytes):
    """The source as an open PyAV container; local files only, whatever a play list or a name like "http:..." asks for.

    Raises:
        MediaError: no such file, empty, an MP4 without its index, or not media.
    """
    av = require_pyav()

    path = describe(source)
    if not isinstance(source, bytes):
        if not os.path.isfile(source):
            found = "this is a folder" if os.path.isdir(source) else "there is no such file"
            raise MediaError(path, "no file", f"{found}; check the path of the media file.")
        size = os.path.getsize(source)
    else:
        size = len(source)
    if size == 0:
        raise MediaError(path, "not media", "the file is empty (0 bytes); copy or download it again.")
    try:
        container = av.open(
            io.BytesIO(source) if isinstance(source, bytes) else os.path.abspath(path),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        if _starts_as_mp4(source):
            raise MediaError(
                path,
                "truncated",
                "the file begins as MP4 or MOV but its index is missing or damaged, so it was cut off; copy or download it again.",
            ) from error
        raise MediaError(
            path,
            "not media",
            f"this is not a video or sound file (FFmpeg says: {error.strerror}); check it or convert it with FFmpeg.",
        ) from error
    if NOT_MEDIA & set(container.format.name.split(",")):
        container.close()
        raise MediaError(
            path,
            "not media",
            f"this is text ({container.format.name}), not a video or sound file; give the media file itself.",
        )
    return container


def index_media(source: str | os.PathLike | bytes) -> MediaIndex:
    """Read the packets of the best picture and sound stream (FFmpeg's choice; cover art is no picture stream).

    The last few files are remembered, by path, size and time of change: clips of one long file mostly follow each other.

    Raises:
        MediaError: as `open_container`, or neither picture nor sound in it.
    """
    if isinstance(source, bytes) or not os.path.isfile(source):
        return _read_index(source)
    stat = os.stat(source)
    index = _remembered(os.fspath(source), stat.st_size, stat.st_mtime_ns)
    return replace(index, info=replace(index.info, notes=list(index.info.notes)))  # decoding adds notes


@functools.lru_cache(maxsize=16)
def _remembered(path: str, size: int, mtime_ns: int) -> MediaIndex:
    return _read_index(path)


def _read_index(source: str | os.PathLike | bytes) -> MediaIndex:
    path = describe(source)
    with open_container(source) as container:
        streams = {"video": best_picture(container), "audio": container.streams.best("audio")}
        lost = [kind for kind, stream in streams.items() if stream is not None and not _decodable(stream)]
        streams.update(dict.fromkeys(lost))
        origin = (container.start_time or 0) / 1_000_000
        times, notes = _read_packets(container, streams)
        notes += [f"the {kind} stream is of an unknown kind" for kind in lost]
        infos = {kind: _stream_info(streams[kind], found, origin) for kind, found in times.items() if found is not None}
        notes += [f"the {kind} stream is empty" for kind in streams if streams[kind] is not None and kind not in infos]
        notes += _truncation(container, streams, infos, origin)
        names = set(container.format.name.split(","))
        bits = streams["video"].format.components[0].bits if "video" in infos and streams["video"].format else None
        mix = mono_mix([channel.name for channel in streams["audio"].layout.channels]) if "audio" in infos else None
    if not infos:
        found = f" ({'; '.join(notes)})" if notes else ""
        raise MediaError(
            path, "not media", f"the file holds neither picture nor sound{found}; check it or leave it out."
        )
    info = MediaInfo(path, _duration(**infos), infos.get("video"), infos.get("audio"), notes)
    return MediaIndex(info, names, origin, times["video"], times["audio"], bits, mix)


def _duration(video: StreamInfo | None = None, audio: StreamInfo | None = None) -> float:
    """As documented at MediaInfo."""
    if video and audio and audio.end <= video.end + PADDING_SECONDS:
        return video.end
    return max(stream.end for stream in (video, audio) if stream)


def best_picture(container):
    """FFmpeg's best video stream that is no attached picture (cover art), or None."""
    av = require_pyav()

    def attached(stream) -> bool:
        return bool(stream.disposition & av.stream.Disposition.attached_pic)

    best = container.streams.best("video")
    if best is None or not attached(best):
        return best
    others = [stream for stream in container.streams.video if not attached(stream)]
    return max(others, key=lambda stream: stream.width * stream.height, default=None)


def _decodable(stream) -> bool:
    """Whether FFmpeg has a decoder for the stream and the header says enough of it."""
    if stream.codec_context is None:
        return False
    if stream.type == "audio":
        return stream.rate in SAMPLING_RATES and 0 < stream.channels <= MOST_CHANNELS
    return stream.width > 0 and stream.height > 0


def mono_mix(channels: list[str]) -> np.ndarray:
    """Shares of the named channels in a mono mix, (channels,), adding up to one: the mean of stereo, the centre loudest in surround sound."""
    levels = np.array([CHANNEL_LEVELS.get(name, np.nan) for name in channels], dtype=np.float32)
    if not np.isfinite(levels).all() or levels.sum() == 0:
        levels = np.ones(len(channels), dtype=np.float32)
    return levels / levels.sum()


def _read_packets(container, streams: dict) -> tuple[dict, list[str]]:
    """One pass over the file: the packet times of each kind of stream (None where there are none), and notes on damage."""
    av = require_pyav()

    rows = {kind: [] for kind in streams}
    kinds = {stream.index: kind for kind, stream in streams.items() if stream is not None}
    notes = []
    try:
        for packet in container.demux([stream for stream in streams.values() if stream is not None]) if kinds else ():
            pts = packet.dts if packet.pts is None else packet.pts
            if packet.size and pts is not None and not packet.is_discard:
                rows[kinds[packet.stream_index]].append((pts, packet.duration or 0, packet.is_keyframe))
    except (av.FFmpegError, IndexError) as error:  # IndexError: packets of streams that the file does not have
        notes.append(f"reading stops early ({getattr(error, 'strerror', 'damaged packets')})")
    notes += _leave_out_behind_hole(rows, streams)
    times = {kind: _packet_times(rows[kind], streams[kind]) for kind in streams}
    return times, notes


def _leave_out_behind_hole(rows: dict[str, list[tuple[int, int, bool]]], streams: dict) -> list[str]:
    """Take the packets behind the first hole of HOLE_SECONDS out of the rows of all streams, and shorten those that claim to last longer."""
    clocks = {kind: float(streams[kind].time_base) for kind, found in rows.items() if found}
    for kind, clock in clocks.items():
        longest = int(LONGEST_PACKET[kind] / clock)
        rows[kind] = [(pts, min(length, longest), key) for pts, length, key in rows[kind]]
    spans = [np.array([row[:2] for row in rows[kind]], dtype=np.float64) * clock for kind, clock in clocks.items()]
    if not spans:
        return []
    spans = np.concatenate(spans)  # (packets, 2): begin and length, seconds
    spans = spans[np.argsort(spans[:, 0])]
    ends = np.maximum.accumulate(spans.sum(axis=1))
    holes = np.flatnonzero(spans[1:, 0] - ends[:-1] > HOLE_SECONDS)
    if not len(holes):
        return []
    end = ends[holes[0]]
    for kind, clock in clocks.items():
        rows[kind] = [row for row in rows[kind] if row[0] * clock <= end]
    return [f"the clock jumps by {spans[holes[0] + 1, 0] - end:.0f} s, and what lies behind is left out"]


def _packet_times(rows: list[tuple[int, int, bool]], stream) -> PacketTimes | None:
    if not rows:
        return None
    rows.sort()
    pts, lengths = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    keys = np.flatnonzero([row[2] for row in rows])
    time_base = float(stream.time_base)
    # A last packet without a length is as long as the one before, or one frame of the stated rate.
    last = lengths[-1] or (pts[-1] - pts[-2] if len(pts) > 1 else 0)
    if not last and stream.type == "video" and stream.average_rate:
        last = round(1 / (float(stream.average_rate) * time_base))
    gap = bool((np.diff(pts) > lengths[:-1] + GAP_SECONDS / time_base).any()) if len(pts) > 1 else False
    return PacketTimes(pts, max(1, int(last)), keys, time_base, gap)


def _stream_info(stream, times: PacketTimes, origin: float) -> StreamInfo:
    begin, end = times.seconds(0) - origin, times.end - origin
    if stream.type == "audio":
        if stream.start_time is not None:  # the first packet may hold samples from before the start
            begin = max(begin, float(stream.start_time * stream.time_base) - origin)
        rate = float(stream.rate)
    else:
        rate = len(times.pts) / (end - begin)
    return StreamInfo(max(0.0, begin), end, rate, stream.codec_context.name, stream.index)


def _truncation(container, streams: dict, infos: dict, origin: float) -> list[str]:
    """A phrase for each stream that ends before the header says, or for the file where the header states one duration for all streams."""
    if not STATES_DURATION & set(container.format.name.split(",")):
        return []
    notes = []
    for kind, info in infos.items():
        stream = streams[kind]
        if stream.duration is not None:
            promised = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin
            if info.end < promised - LOST_SECONDS:
                notes.append(f"{kind} truncated at {info.end:.1f} s of {promised:.1f} s")
    # Matroska's one duration is the longest stream's, which may be one that is not read.
    if infos and container.duration is not None and len(container.streams) == len(infos) and not notes:
        end, promised = max(info.end for info in infos.values()), container.duration / 1_000_000 - origin
        if end < promised - LOST_SECONDS:
            notes.append(f"truncated at {end:.1f} s of {promised:.1f} s")
    return notes


def _starts_as_mp4(source: str | os.PathLike | bytes) -> bool:
    if isinstance(source, bytes):
        head = source[:12]
    else:
        with open(source, "rb") as file:
            head = file.read(12)
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")


__all__ = ["best_picture", "describe", "index_media", "mono_mix", "open_container"]
