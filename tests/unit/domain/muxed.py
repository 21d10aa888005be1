"""Videos from a real muxer (FFmpeg, by PyAV), in the layouts in which files come; and others that are no such video."""

import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from tests.unit.builders import box

__all__ = ["LAYOUTS", "Muxed", "edited", "muxed", "seen_by_the_muxer", "top_boxes"]

RATE = 24


@dataclass(frozen=True)
class Muxed:
    """What a file is made of. `flags` are FFmpeg's `movflags`; further options are `name=value`."""

    codec: str = "mpeg4"
    flags: str = ""
    audio: str = ""
    frames: int = 60
    width: int = 96
    height: int = 64
    options: tuple[str, ...] = ()
    container: str = "mp4"


LAYOUTS = {
    "moov at the end": Muxed(),
    "moov first": Muxed(flags="faststart"),
    "moov first, with sound": Muxed(flags="faststart", audio="aac"),
    "moov at the end, with sound": Muxed(audio="aac"),
    "H.264 with B-frames": Muxed("libx264", audio="aac"),
    "H.264, moov first": Muxed("libx264", flags="faststart"),
    "fragments": Muxed(flags="frag_keyframe+empty_moov"),
    "fragments, with sound": Muxed("libx264", flags="frag_keyframe+empty_moov+default_base_moof", audio="aac"),
    "fragments behind a first part": Muxed(flags="frag_keyframe"),
    "fragments with an index": Muxed(flags="dash+frag_keyframe+empty_moov+global_sidx"),
    "fragments, each with an index": Muxed("libx264", flags="dash+frag_keyframe+empty_moov"),
    "fragments with offsets of their own": Muxed(flags="frag_keyframe+empty_moov+omit_tfhd_offset"),
    "fragment for each frame": Muxed(flags="frag_every_frame+empty_moov", frames=12),
    "fragments made one movie": Muxed("libx264", flags="hybrid_fragmented"),
    "fragments of sound and pictures apart": Muxed(
        "libx264", flags="frag_keyframe+empty_moov+separate_moof", audio="aac"
    ),
    "Smooth Streaming": Muxed("libx264", container="ismv", audio="aac"),
    "time code": Muxed(options=("write_tmcd=1",), audio="aac"),
    "hints for streaming": Muxed("libx264", flags="faststart+rtphint", audio="aac"),
    "metadata of QuickTime": Muxed(flags="use_metadata_tags+write_colr"),
    "no edit list": Muxed("libx264", options=("use_editlist=0",)),
    "3GPP": Muxed(container="3gp"),
    "QuickTime with compressed sound": Muxed(container="mov", audio="adpcm_ima_qt"),
    "room for moov": Muxed(options=("moov_size=4096",)),
    "other timescale": Muxed(options=("video_track_timescale=90000", "movie_timescale=48000")),
    "one frame": Muxed(frames=1),
    "tall": Muxed(width=64, height=160),
    "QuickTime": Muxed(container="mov"),
}


@cache
def muxed(what: Muxed) -> bytes:
    with tempfile.TemporaryDirectory() as folder:  # the muxer reopens its output by name to move the boxes
        path = Path(folder, "video")
        options = dict(option.split("=") for option in what.options)
        if what.flags:
            options["movflags"] = what.flags
        with av.open(str(path), "w", format=what.container, options=options) as target:
            _write(target, what)
        return path.read_bytes()


def _write(target: Any, what: Muxed) -> None:
    video = target.add_stream(what.codec, rate=RATE)
    video.width, video.height, video.pix_fmt = what.width, what.height, "yuv420p"
    video.time_base, video.gop_size = Fraction(1, RATE), RATE // 2
    audio = target.add_stream(what.audio, rate=48_000) if what.audio else None
    if audio is not None:
        audio.layout = "mono"
    for number in range(what.frames):
        frame = VideoFrame(what.width, what.height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes((number * 5 + at * 7) % 256 for at in range(plane.buffer_size)))
        frame.pts = number
        target.mux(video.encode(frame))
        if audio is not None:
            for packet in _sound(audio, number):
                target.mux(packet)
    target.mux(video.encode(None))
    if audio is not None:
        target.mux(audio.encode(None))


def _sound(stream: Any, number: int) -> Iterator[Any]:
    samples = 48_000 // RATE
    planar = stream.codec_context.format.name.endswith("p")
    frame = AudioFrame(format=stream.codec_context.format.name, layout="mono", samples=samples)
    frame.sample_rate, frame.pts, frame.time_base = 48_000, number * samples, Fraction(1, 48_000)
    size = frame.planes[0].buffer_size
    wave = array("f", ((at % 97) / 500 for at in range(samples))).tobytes() if planar else b""
    frame.planes[0].update(wave[:size].ljust(size, b"\0"))
    yield from stream.encode(frame)


def seen_by_the_muxer(data: bytes) -> tuple[float, int, int]:
    """Seconds, width and height as FFmpeg reads them."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with av.open(file.name) as source:
            video = source.streams.video[0]
            ends = [
                float((packet.pts + packet.duration) * packet.time_base)
                for packet in source.demux()
                if packet.pts is not None and packet.duration is not None and packet.time_base is not None
            ]
            return max(ends), video.codec_context.width, video.codec_context.height


def top_boxes(data: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, first byte and end of each box of a file."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        size = int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size or len(data) - at
        found.append((data[at + 4 : at + 8], at, at + size))
        at += size
    return found


def edited(path: tuple[bytes, ...], change: Callable[[bytes], bytes | None], file: bytes) -> bytes:
    """The same file with the content of each box with this path changed, or the box left out for None.

    The sizes around it are made right.
    """
    out = b""
    for kind, start, end in top_boxes(file):
        content: bytes | None = file[start + 8 : end]
        if kind != path[0]:
            out += file[start:end]
            continue
        before = 8 if kind == b"stsd" else 0
        if path[1:]:
            content = file[start + 8 : start + 8 + before] + edited(path[1:], change, file[start + 8 + before : end])
        else:
            content = change(file[start + 8 : end])
        out += b"" if content is None else box(kind, content)
    return out
