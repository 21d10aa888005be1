"""The CDN: serves the tasks' videos from signed links, well or as badly as a task's script says."""

import re
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import repeat

from local.simulator.errors import error_body, send_error
from local.simulator.scripts import VideoFault, VideoScript
from local.simulator.server import Exchange
from local.simulator.signed_urls import UrlSigner
from local.simulator.tasks import Task, TaskBook
from local.simulator.video_file import VideoFile, with_broken_box

PREFIX = "/videos/"
INWARD_URL = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
_PATH = re.compile(r"/videos/(?P<task>[0-9a-f]{32}|\d{18})-(?P<number>\d+)\.mp4")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TICKS_PER_SECOND = 10
_NOISE = bytes(range(256)) * 64


class VideoApi:
    """Links to videos and the answers to their downloads. `origin` is this server's own."""

    def __init__(self, book: TaskBook, origin: str) -> None:
        self._book = book
        self._origin = origin
        self._signer = UrlSigner()

    def links(self, task: Task, *, counted: bool) -> list[str]:
        """Fresh links to the task's videos. `counted` ones use up the script's `expire_first`."""
        script = task.script.videos
        expired = (
            task.take("videos.expired", script.expire_first)
            if counted
            else task.used["videos.expired"] < script.expire_first
        )
        lifetime = -60.0 if expired else script.url_lifetime_seconds
        paths = (f"{PREFIX}{task.id}-{number}.mp4" for number in range(script.count))
        return [f"{self._origin}{path}?{self._signer.query(path, lifetime)}" for path in paths]

    def serve(self, exchange: Exchange) -> None:
        """`GET` of a link."""
        found = _PATH.fullmatch(exchange.path)
        task = self._book.get(found["task"]) if found else None
        if found is None or task is None or int(found["number"]) >= task.script.videos.count:
            send_error(exchange, 404, "NoSuchKey", form="text")
            return
        number = int(found["number"])
        exchange.note["task"] = task.id
        refusal = self._signer.refusal(f"{PREFIX}{task.id}-{number}.mp4", exchange.query)
        entry = {"at": time.time(), "number": number, "range": exchange.headers.get("Range"), "finished": False}
        entry |= {"status": None, "bytes_sent": 0, "ended_at": None}
        task.downloads.append(entry)
        try:
            if refusal is not None:
                send_error(exchange, 403, refusal, form="text")
            else:
                self._answer(exchange, task, number)
            entry["finished"] = True
        finally:
            entry.update(status=exchange.status, bytes_sent=exchange.bytes_sent, ended_at=time.time())

    def _answer(self, exchange: Exchange, task: Task, number: int) -> None:
        script = task.script.videos
        fault = script.fault
        if fault is not None and task.take("videos.fault", fault.times):
            exchange.note["fault"] = f"video {fault.kind}"
            self._misbehave(exchange, task, number, fault)
        else:
            _send_file(exchange, self._book.video(task, number), script)

    def _misbehave(self, exchange: Exchange, task: Task, number: int, fault: VideoFault) -> None:
        match fault.kind:
            case "html_200":
                content_type, body = error_body("html", 200, "", "This video is being prepared")
                exchange.send(200, body, {"Content-Type": content_type})
            case "status":
                send_error(exchange, fault.status, "error", form="text")
            case "zero_length":
                exchange.send(200, b"", {"Content-Type": "video/mp4"})
            case "redirect":
                targets = {"inward": INWARD_URL, "loop": f"{self._origin}{exchange.path}?{exchange.query}"}
                exchange.send(302, b"", {"Location": targets.get(fault.to, fault.to)})
            case _:
                _send_broken(exchange, self._book.video(task, number), fault, task.script.videos)


def _send_broken(exchange: Exchange, file: VideoFile, fault: VideoFault, script: VideoScript) -> None:
    cut = file.size // 2 if fault.after_bytes is None else min(fault.after_bytes, file.size)
    head = {"Content-Type": "video/mp4", "Content-Length": str(file.size)}
    match fault.kind:
        case "corrupt":
            _send_file(exchange, with_broken_box(file), script)
        case "short":
            exchange.start(200, head | {"Content-Length": str(cut)})
            exchange.write_all(_paced(exchange, file.read(0, cut), script))
        case "endless":
            exchange.close()
            exchange.start(200, {"Content-Type": "video/mp4", "Connection": "close"})
            exchange.write_all(_paced(exchange, file.read(0, file.size), script))
            exchange.write_all(_paced(exchange, repeat(_NOISE), script))
        case _:
            exchange.start(200, head)
            exchange.write_all(_paced(exchange, file.read(0, cut), script))
            if fault.kind == "stall":
                exchange.pause(fault.seconds)
            elif fault.kind == "reset":
                exchange.reset()
            exchange.drop()


def _send_file(exchange: Exchange, file: VideoFile, script: VideoScript) -> None:
    """The file as it is, in the framing the script asks for; `Range` is honoured where the length is known."""
    head = {"Content-Type": "video/mp4"}
    if script.framing == "length":
        window = _range(exchange.headers.get("Range"), file.size)
        if window is None:
            exchange.send(416, b"", {"Content-Range": f"bytes */{file.size}"})
            return
        start, stop = window
        head |= {"Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
        if exchange.headers.get("Range") and (start, stop) != (0, file.size):
            exchange.start(206, head | {"Content-Range": f"bytes {start}-{stop - 1}/{file.size}"})
        else:
            exchange.start(200, head)
        chunks = file.read(start, stop)
    else:
        exchange.close()
        chunked = script.framing == "chunked"
        extra = {"chunked": {"Transfer-Encoding": "chunked"}, "gzip": {"Content-Encoding": "gzip"}}
        exchange.start(200, head | extra.get(script.framing, {}) | {"Connection": "close"})
        chunks = file.read(0, file.size)
        chunks = _chunked(chunks) if chunked else _gzipped(chunks) if script.framing == "gzip" else chunks
    exchange.write_all(_paced(exchange, chunks, script))


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and end of what is asked for, the whole file without a (readable) header, None if out of reach."""
    found = _RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    return (start, stop) if start < stop else None


def _chunked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _paced(exchange: Exchange, chunks: Iterable[bytes], script: VideoScript) -> Iterator[bytes]:
    rate = script.slow_bytes_per_second
    if rate is None:
        yield from chunks
        return
    step = max(1, rate // _TICKS_PER_SECOND)
    for chunk in chunks:
        for at in range(0, len(chunk), step):
            part = chunk[at : at + step]
            yield part
            exchange.pause(len(part) / rate)
