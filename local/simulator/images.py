"""Generated pictures that a request can name as reference images, good ones and ones the provider's rules refuse."""

import functools
import math
import re
from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from local.simulator.errors import send_error
from local.simulator.server import Exchange

PREFIX = "/images/"
GOOD_SIZES = {
    "fox": (512, 512),
    "robot": (640, 480),
    "garden": (480, 640),
    "smallest": (128, 128),
    "widest": (512, 128),
}
REFUSED_SIZES = {"too_small": (126, 126), "too_wide": (640, 128)}
_SIZES = GOOD_SIZES | REFUSED_SIZES
_PATH = re.compile(r"/images/(\w+)\.(png|jpg|jpeg|webp)")
_ENCODERS = {"png": ("png", "rgb24"), "jpeg": ("mjpeg", "yuvj420p"), "webp": ("libwebp", "yuv420p")}


@functools.cache
def image(name: str, image_format: str) -> bytes:
    """The picture called `name` (`KeyError` for another) as png, jpeg or webp."""
    width, height = _SIZES[name]
    codec, pixels = _ENCODERS[image_format]
    frame = VideoFrame(width, height, "rgb24")
    frame.planes[0].update(_drawing(width, height, frame.planes[0].line_size, sum(name.encode())))
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)  # noqa: S101 - what a video codec's name gives
    context.width, context.height, context.pix_fmt = width, height, pixels
    context.time_base = Fraction(1, 1)
    packets = [*context.encode(frame.reformat(format=pixels)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def serve_image(exchange: Exchange) -> None:
    """`GET /images/<name>.<png|jpg|jpeg|webp>`; `/images/broken.png` is text that says it is a picture."""
    found = _PATH.fullmatch(exchange.path)
    if found is None or found[1] not in (*_SIZES, "broken"):
        send_error(exchange, 404, f"no such image; there are {', '.join(_SIZES)} as png, jpg, webp", form="text")
        return
    image_format = "jpeg" if found[2] in ("jpg", "jpeg") else found[2]
    data = b"this is not a picture" if found[1] == "broken" else image(found[1], image_format)
    exchange.send(200, data, {"Content-Type": f"image/{image_format}"})


def _drawing(width: int, height: int, line_size: int, seed: int) -> bytes:
    """A disc on a gradient, its colours taken from the seed."""
    red, green, blue = (60 + seed * factor % 160 for factor in (7, 13, 29))
    disc = bytes((255 - red, 255 - green, 255 - blue))
    radius = min(width, height) * 0.35
    rows = bytearray()
    for y in range(height):
        line = bytearray(bytes((red * y // height, green, blue)) * width)
        half = math.sqrt(max(0.0, radius**2 - (y - height / 2) ** 2))
        left, right = round(width / 2 - half), round(width / 2 + half)
        line[3 * left : 3 * right] = disc * (right - left)
        rows += line.ljust(line_size, b"\0")
    return bytes(rows)
