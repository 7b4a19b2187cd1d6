"""The content of a media file, found by reading its packets without decoding: streams, times, key frames, the real end.

Container headers are not trusted: a file that was cut off still states its full length. Times are seconds on the media
clock: 0 is the start of the container.
"""

import functools
import os
from dataclasses import replace

import numpy as np

from .feature_extraction_imagebind import mono_mix
from .media_info import (
    MediaError,
    MediaIndex,
    MediaInfo,
    PacketTimes,
    StreamInfo,
    open_container,
    require_pyav,
    source_text,
)

# Containers whose header states the length; for others (MPEG, MP3, AAC) FFmpeg estimates it from the bit rate.
STATES_DURATION = {"mov", "mp4", "matroska", "webm", "avi", "wav", "flac", "ogg", "asf"}
LOST_SECONDS = 0.25  # a stream that ends this much before the header states was cut off
PADDING_SECONDS = (
    0.1  # sound codecs fill their last packets, so the sound of a clip is a little longer than its picture
)
MOST_CHANNELS = 8  # damaged headers claim 24, and reading such packets can crash
SAMPLING_RATES = range(1_000, 1_000_000)  # Hz; others are damage
# A gap of this length in picture and sound is a damaged clock, which would turn a second of media into a year.
GAP_LIMIT_SECONDS = 600.0
# Longer packets are damage: a picture may be shown for minutes, a packet of sound holds seconds at most.
LONGEST_PACKET = {"video": GAP_LIMIT_SECONDS, "audio": 60.0}
GAP_SECONDS = 0.010  # coarser than the millisecond clock of Matroska, finer than a packet
# A clock that falls back by more was started again: files were joined. Less is damage, or, where the container does
# not state the times of decoding, the order of B-frames.
FALL_SECONDS, FALL_PACKETS, FALL_PACKETS_SHOWN = 0.5, 4, 16
PIXEL_ASPECTS = (0.25, 4.0)  # pixels of other shapes are damage
# Colours that a screen for BT.709 shows wrongly, by FFmpeg's numbers of transfer and primaries.
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
BT2020_PRIMARIES, SDR_TRANSFERS = 9, {1, 6, 14, 15}


def index_media(source: str | os.PathLike | bytes, audio_stream: int | None = None) -> MediaIndex:
    """Read the packets of the best picture and sound stream (FFmpeg's choice; cover art is not a picture stream).

    The last few files are remembered by path, size and time of change, because clips of one long file mostly follow
    each other.

    Args:
        source: A path or the bytes of a file.
        audio_stream: Number of the sound track to use, counted from 0 as in FFmpeg's `a:0`; None: FFmpeg's choice.

    Raises:
        MediaError: As `open_container`, or if the file holds neither picture nor sound.
    """
    if isinstance(source, bytes) or not os.path.isfile(source):
        return _read_index(source, audio_stream)
    stat = os.stat(source)
    index = _remembered(os.fspath(source), stat.st_size, stat.st_mtime_ns, audio_stream)
    return replace(index, info=replace(index.info, notes=list(index.info.notes)))  # decoding adds notes


@functools.lru_cache(maxsize=16)
def _remembered(path: str, size: int, mtime_ns: int, audio_stream: int | None) -> MediaIndex:
    return _read_index(path, audio_stream)


def _read_index(source: str | os.PathLike | bytes, audio_stream: int | None = None) -> MediaIndex:
    path = source_text(source)
    with open_container(source) as container:
        audio, notes = best_sound(container, audio_stream)
        streams = {"video": best_picture(container), "audio": audio}
        lost = [kind for kind, stream in streams.items() if stream is not None and not _decodable(stream)]
        streams.update(dict.fromkeys(lost))
        origin = (container.start_time or 0) / 1_000_000
        times, damage = _read_packets(container, streams)
        notes = damage + notes + [f"the {kind} stream is of an unknown kind" for kind in lost]
        infos = {kind: _stream_info(streams[kind], found, origin) for kind, found in times.items() if found is not None}
        notes += [f"the {kind} stream is empty" for kind in streams if streams[kind] is not None and kind not in infos]
        notes += _truncation(container, streams, infos, origin)
        more = _picture_facts(streams["video"], notes) if "video" in infos else {}
        if "audio" in infos:
            channels = tuple(channel.name for channel in streams["audio"].layout.channels)
            more |= {"mix": mono_mix(channels), "channels": channels}
        names = set(container.format.name.split(","))
    if not infos:
        found = f" ({'; '.join(notes)})" if notes else ""
        text = f"the file holds neither picture nor sound{found}; check it or leave it out."
        raise MediaError(path, "not media", text)
    info = MediaInfo(path, _duration(**infos), infos.get("video"), infos.get("audio"), notes)
    return MediaIndex(info, names, origin, times["video"], times["audio"], **more)


def _duration(video: StreamInfo | None = None, audio: StreamInfo | None = None) -> float:
    """Return the duration as documented at MediaInfo."""
    if video and audio and audio.end <= video.end + PADDING_SECONDS:
        return video.end
    return max(stream.end for stream in (video, audio) if stream)


def best_picture(container):
    """Return FFmpeg's best video stream that is not an attached picture (cover art), or None."""
    av = require_pyav()

    def attached(stream) -> bool:
        return bool(stream.disposition & av.stream.Disposition.attached_pic)

    best = container.streams.best("video")
    if best is None or not attached(best):
        return best
    others = [stream for stream in container.streams.video if not attached(stream)]
    return max(others, key=lambda stream: stream.width * stream.height, default=None)


def best_sound(container, number: int | None = None) -> tuple:
    """Return the sound stream of a number, FFmpeg's best one for None, and notes where there was a choice.

    Returns:
        The stream, None where the file has no such stream, and a list of phrases.
    """
    tracks = container.streams.audio
    if number is not None and number >= len(tracks):
        held = f"{len(tracks)} sound track{'s' * (len(tracks) != 1)}"
        return None, [f"audio_stream {number} was requested, the file has {held} (0 is the first)"]
    best = container.streams.best("audio") if number is None else tracks[number]
    if len(tracks) < 2 or best is None:
        return best, []
    names = [
        f"{place} ({', '.join(filter(None, (track.language, track.metadata.get('title'), track.codec_context.name)))})"
        for place, track in enumerate(tracks)
        if track.codec_context is not None
    ]
    used = next(place for place, track in enumerate(tracks) if track.index == best.index)
    return best, [f"the file has the sound tracks {', '.join(names)}; {used} is used, audio_stream chooses another"]


def _decodable(stream) -> bool:
    """Return whether FFmpeg has a decoder for the stream and the header says enough of it."""
    if stream.codec_context is None:
        return False
    if stream.type == "audio":
        return stream.rate in SAMPLING_RATES and 0 < stream.channels <= MOST_CHANNELS
    return stream.width > 0 and stream.height > 0


def _picture_facts(stream, notes: list[str]) -> dict:
    """Return the fields of MediaIndex that say how a picture stream is shown; add to the notes."""
    context, facts = stream.codec_context, {}
    facts["bits"] = stream.format.components[0].bits if stream.format else None
    transfer, primaries = int(context.color_trc or 0), int(context.color_primaries or 0)
    facts["colours"] = HDR_TRANSFERS.get(transfer)
    if primaries == BT2020_PRIMARIES and transfer in SDR_TRANSFERS:
        facts["colours"] = "BT.2020"
    if facts["colours"]:
        notes.append(f"{facts['colours']} colours are converted to BT.709")
    aspect = float(stream.sample_aspect_ratio or 1)
    if aspect > 0 and not PIXEL_ASPECTS[0] <= aspect <= PIXEL_ASPECTS[1]:
        notes.append(f"pixels {aspect:g} times as wide as high are taken for square ones")
        aspect = 1.0
    return {**facts, "aspect": aspect or 1.0}


def _read_packets(container, streams: dict) -> tuple[dict, list[str]]:
    """Read the file once; return the packet times of each kind of stream (None where there are none), and notes."""
    av = require_pyav()

    rows: dict[str, list[tuple]] = {kind: [] for kind in streams}
    kinds = {stream.index: kind for kind, stream in streams.items() if stream is not None}
    read, notes = dict.fromkeys(streams, 0), []
    try:
        for packet in container.demux([stream for stream in streams.values() if stream is not None]) if kinds else ():
            if not packet.size:
                continue
            kind = kinds[packet.stream_index]
            pts, read[kind] = packet.dts if packet.pts is None else packet.pts, read[kind] + 1
            if pts is not None and not packet.is_discard:
                clock = pts if packet.dts is None else packet.dts
                place = (sum(read.values()), read[kind], packet.dts is None)
                rows[kind].append((pts, packet.duration or 0, packet.is_keyframe, clock, *place))
    except (av.FFmpegError, IndexError) as error:  # IndexError: packets of streams that the file does not have
        notes.append(f"reading stops early ({getattr(error, 'strerror', 'damaged packets')})")
    usable, fallen = _leave_out_after_fall(rows, streams)
    notes += fallen + _leave_out_after_gap(rows, streams)
    times = {kind: _packet_times(rows[kind], streams[kind], usable.get(kind)) for kind in streams}
    return times, notes


def _leave_out_after_fall(rows: dict[str, list[tuple]], streams: dict) -> tuple[dict[str, int], list[str]]:
    """Drop the packets after the place where a clock falls back, because files were joined; both parts share times.

    Returns:
        The number of packets before that place by kind of stream, empty where no clock falls back, and notes.
    """
    breaks = {kind: place for kind, found in rows.items() if (place := _fall(found, streams[kind])) is not None}
    if not breaks:
        return {}, []
    first = min(rows[kind][place][4] for kind, place in breaks.items())  # its number in the file
    for kind, found in rows.items():
        breaks.setdefault(kind, sum(row[4] < first for row in found))
    kind = max(breaks, key=lambda kind: len(rows[kind]))
    clock, place = float(streams[kind].time_base), breaks[kind]
    lost = sum(row[1] for row in rows[kind][place:]) * clock
    fall = (rows[kind][place - 1][3] - rows[kind][place][3]) * clock if 0 < place < len(rows[kind]) else 0.0
    usable = {kind: rows[kind][place - 1][5] if place else 0 for kind, place in breaks.items()}
    for kind, place in breaks.items():
        del rows[kind][place:]
    text = (
        f"the clock falls back by {fall:.1f} s, as in files that were joined; what follows ({lost:.1f} s) is left out"
    )
    return usable, [text]


def _fall(rows: list[tuple], stream) -> int | None:
    """Return the place of the first packet at which the clock of a stream falls back, or None."""
    if len(rows) < 2:
        return None
    clock = np.array([row[3] for row in rows], dtype=np.float64) * float(stream.time_base)
    steps = np.diff(clock)
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
    # A single wrong time is not a fall: the three packets before a place are compared with the three after it.
    windows = np.lib.stride_tricks.sliding_window_view
    before = windows(np.pad(clock, (2, 0), mode="edge"), 3).min(axis=1)[:-1]
    after = windows(np.pad(clock, (0, 2), mode="edge"), 3).max(axis=1)[1:]
    packets = FALL_PACKETS_SHOWN if np.mean([row[6] for row in rows]) > 0.1 else FALL_PACKETS
    falls = np.flatnonzero(before - after > max(FALL_SECONDS, packets * usual))
    return int(falls[0]) + 1 if len(falls) else None


def _leave_out_after_gap(rows: dict[str, list[tuple]], streams: dict) -> list[str]:
    """Drop the packets after the first gap of GAP_LIMIT_SECONDS from all streams; shorten those that last too long."""
    clocks = {kind: float(streams[kind].time_base) for kind, found in rows.items() if found}
    for kind, clock in clocks.items():
        longest = int(LONGEST_PACKET[kind] / clock)
        rows[kind] = [(row[0], min(row[1], longest), *row[2:]) for row in rows[kind]]
    parts = [np.array([row[:2] for row in rows[kind]], dtype=np.float64) * clock for kind, clock in clocks.items()]
    if not parts:
        return []
    spans = np.concatenate(parts)  # (packets, 2): begin and length, seconds
    spans = spans[np.argsort(spans[:, 0])]
    ends = np.maximum.accumulate(spans.sum(axis=1))
    gaps = np.flatnonzero(spans[1:, 0] - ends[:-1] > GAP_LIMIT_SECONDS)
    if not len(gaps):
        return []
    end = ends[gaps[0]]
    for kind, clock in clocks.items():
        rows[kind] = [row for row in rows[kind] if row[0] * clock <= end]
    return [f"the clock jumps by {spans[gaps[0] + 1, 0] - end:.0f} s, and what follows is left out"]


def _packet_times(rows: list[tuple], stream, usable: int | None) -> PacketTimes | None:
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
    return PacketTimes(pts, max(1, int(last)), keys, time_base, gap, usable)


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
    """Return a phrase for each stream that ends before the header states, or for a file with one stated duration."""
    if not STATES_DURATION & set(container.format.name.split(",")):
        return []
    notes = []
    for kind, info in infos.items():
        stream = streams[kind]
        if stream.duration is not None:
            stated = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - origin
            if info.end < stated - LOST_SECONDS:
                notes.append(f"{kind} truncated at {info.end:.1f} s of {stated:.1f} s")
    # Matroska's one duration is that of the longest stream, which may be one that is not read.
    if infos and container.duration is not None and len(container.streams) == len(infos) and not notes:
        end, stated = max(info.end for info in infos.values()), container.duration / 1_000_000 - origin
        if end < stated - LOST_SECONDS:
            notes.append(f"truncated at {end:.1f} s of {stated:.1f} s")
    return notes


__all__ = ["best_picture", "best_sound", "index_media"]
