"""Real MP4 files of a wanted size and length, made with PyAV: the prompt, and the seconds as they pass.

What moves behind them depends on the seed. Every file carries a comment of fixed length which `stamped` replaces, so
that each task's file differs without encoding it again.
"""

import functools
import io
import math
import tempfile
import textwrap
from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from local.simulator.lettering import BRIGHT, COLUMNS, ROWS, Line

FRAMES_PER_SECOND = 12
AUDIO_RATE = 44_100
LOOKS = 4
COMMENT_LENGTH = 96
_COMMENT = "vidu-simulator:".ljust(COMMENT_LENGTH, "0")
_AUDIO_FRAME_SAMPLES = 1024
_LONGEST_SIDE = 2880
_PROMPT_LINES = 6

Layout = Literal["moov_last", "moov_first", "fragmented"]


@dataclass(frozen=True)
class Picture:
    """What decides an encoded file: pixels, seconds, one of `LOOKS` looks, sound, order of the boxes, the prompt."""

    width: int
    height: int
    seconds: int
    look: int
    audio: bool
    layout: Layout
    prompt: str = ""

    def lines(self, second: int) -> list[Line]:
        """What is written in it after so many seconds: the prompt, as far as it fits, and the number of seconds."""
        dot = max(1, min(self.width, self.height) // 180)
        wide, high = COLUMNS * dot, (ROWS + 2) * dot
        shown = textwrap.wrap(self.prompt, self.width // wide - 2, max_lines=_PROMPT_LINES, placeholder="...")
        count = f"{second} s"
        left, top = self.width - 3 * wide * (len(count) + 1), self.height - 3 * high
        lines = [Line(text, wide, high * number, dot) for number, text in enumerate(shown, 1)]
        return [line for line in lines if line.top + high <= top] + [Line(count, left, top, 3 * dot)]


def frame_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Even width and height: the short side as the resolution says, unless the long one would be huge."""
    across, down = (int(part) for part in aspect_ratio.split(":"))
    short = int(resolution.removesuffix("p"))
    long = short * max(across, down) / min(across, down)
    if long > _LONGEST_SIDE:
        short, long = max(64, round(short * _LONGEST_SIDE / long)), _LONGEST_SIDE
    long_side, short_side = round(long / 2) * 2, round(short / 2) * 2
    return (long_side, short_side) if across >= down else (short_side, long_side)


def stamped(data: bytes, text: str) -> bytes:
    """The file with `text` in its comment: same length, still valid. `text`: ASCII, at most `COMMENT_LENGTH`."""
    comment = text.ljust(COMMENT_LENGTH, " ").encode("ascii")
    if len(comment) != COMMENT_LENGTH or _COMMENT.encode() not in data:
        raise ValueError(f"cannot stamp: text of {len(text)} characters, limit {COMMENT_LENGTH}")
    return data.replace(_COMMENT.encode(), comment)


@functools.lru_cache(maxsize=32)
def encode(picture: Picture) -> bytes:
    """The file's bytes, equal for equal pictures."""
    if picture.layout != "moov_first":
        buffer = io.BytesIO()
        _write(buffer, picture)
        return buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:  # the muxer reopens its output by name to move the boxes
        path = Path(folder, "video.mp4")
        _write(str(path), picture)
        return path.read_bytes()


def _write(target: Any, picture: Picture) -> None:
    flags = {"moov_last": {}, "moov_first": {"movflags": "faststart"}}.get(
        picture.layout, {"movflags": "frag_keyframe+empty_moov"}
    )
    with av.open(target, "w", format="mp4", options=flags) as container:
        container.metadata["comment"] = _COMMENT
        video = _video_stream(container, picture)
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if picture.audio else None
        for number in range(picture.seconds * FRAMES_PER_SECOND):
            container.mux(video.encode(_frame(picture, number)))
        container.mux(video.encode(None))
        if audio is not None:
            _write_audio(container, audio, picture)


def _video_stream(container: Any, picture: Picture) -> VideoStream:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    video: VideoStream = container.add_stream(codec, rate=FRAMES_PER_SECOND)
    video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
    video.time_base = Fraction(1, FRAMES_PER_SECOND)
    video.gop_size = FRAMES_PER_SECOND
    video.thread_count = 1
    if codec == "libx264":
        video.options = {"preset": "ultrafast", "crf": "30"}
    else:
        video.bit_rate = 800_000
    return video


def _frame(picture: Picture, number: int) -> VideoFrame:
    """Moving diagonal bands, and one hand of a clock (a bright block on a circle) that turns once in two seconds."""
    frame = VideoFrame(picture.width, picture.height, "yuv420p")
    frame.pts = number
    luma, blue, red = frame.planes
    step, slope = 3 + 2 * picture.look, picture.look - 1
    rows = _bands(luma.line_size, picture.height, number * step, slope)
    _draw_hand(rows, luma.line_size, picture, number)
    for line in picture.lines(number // FRAMES_PER_SECOND):
        line.draw(rows, luma.line_size)
    luma.update(bytes(rows))
    blue.update(bytes([96 + 24 * picture.look]) * (blue.line_size * blue.height))
    shade = 128 + round(60 * math.sin(2 * math.pi * number / (4 * FRAMES_PER_SECOND) + picture.look))
    red.update(bytes([shade]) * (red.line_size * red.height))
    return frame


_WAVE = bytes(128 + round(80 * math.sin(2 * math.pi * x / 256)) for x in range(256))


def _bands(width: int, height: int, shift: int, slope: int) -> bytearray:
    strip = _WAVE * (width // 256 + 2)
    # 16 rows at a time: fine enough to look at, and a small file.
    rows = bytearray()
    for y in range(0, height, 16):
        start = (shift + slope * y // 2) % 256
        rows += strip[start : start + width] * min(16, height - y)
    return rows


def _draw_hand(rows: bytearray, line_size: int, picture: Picture, number: int) -> None:
    side = min(picture.width, picture.height)
    block, radius = max(8, side // 10), side * 0.35
    angle = 2 * math.pi * (number / (2 * FRAMES_PER_SECOND) + picture.look / LOOKS)
    left = round(picture.width / 2 + radius * math.cos(angle) - block / 2)
    top = round(picture.height / 2 + radius * math.sin(angle) - block / 2)
    for y in range(max(0, top), min(picture.height, top + block)):
        rows[y * line_size + left : y * line_size + left + block] = BRIGHT * block


def _write_audio(container: Any, stream: AudioStream, picture: Picture) -> None:
    total = picture.seconds * AUDIO_RATE
    pitch = 220 * (1 + picture.look / LOOKS)
    for start in range(0, total, _AUDIO_FRAME_SAMPLES):
        samples = min(_AUDIO_FRAME_SAMPLES, total - start)
        angles = (2 * math.pi * pitch * (start + n) / AUDIO_RATE for n in range(samples))
        tone = array("h", (round(6000 * math.sin(angle)) for angle in angles))
        frame = AudioFrame(format="s16", layout="mono", samples=samples)
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
        plane = frame.planes[0]
        plane.update(tone.tobytes().ljust(plane.buffer_size, b"\0"))
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
