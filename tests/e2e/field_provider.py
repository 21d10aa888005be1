"""A provider that answers as one was met in the field, byte for byte: a task's prompt names its case (`case:NAME`)."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["Case", "FieldProvider", "Reply", "Seen"]

CALLBACK_SECONDS = 20
CASE = re.compile(r"case:([\w.-]+)")


@dataclass(frozen=True)
class Reply:
    """A status with a body: JSON, or bytes as they are. `{ID}` and `{ORIGIN}` in JSON stand for the task and us."""

    status: int
    body: Any = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """How one task is treated; the defaults are a provider that is well."""

    creates: Sequence[Reply] = ()
    """The replies to its first create calls."""
    makes: bool = False
    """Those of `creates` that refuse have made the task all the same."""
    poll: Mapping[str, Any] | None = None
    link: str = "/videos/{CASE}"
    """Where the video is."""
    file: bytes | None = None
    downloads: Sequence[Reply] = ()
    """The replies to the first downloads."""
    raw: bytes | None = None
    """Every reply to a download, head and all; `{FILE}` stands for the file, `{LENGTH}` for its length."""
    interim: bytes = b""
    """Goes out before every reply."""
    called_back: bool = True


@dataclass(frozen=True)
class Seen:
    """A create call, and the status of its answer."""

    case: str
    status: int
    params: Mapping[str, Any]


class FieldProvider:
    """The server, at `url`. `keys` are good ones; creates are answered 402 while `balance` is False."""

    def __init__(self, cases: Mapping[str, Case], file: bytes, image: bytes, key: str) -> None:
        self.cases = {"": Case(), **cases}
        self.keys = {key}
        self.balance = True
        self.image = image
        self._file = file
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._tasks: dict[str, tuple[str, int]] = {}
        self._downloads: dict[str, int] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider._create(self, body["input"][0]["params"])

            def do_GET(self) -> None:
                provider._get(self, urlsplit(self.path).path)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.origin}/model/v1"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def creates(self, case: str = "") -> list[Seen]:
        """The create calls so far, of a case or of all."""
        with self._lock:
            return [seen for seen in self._seen if case in ("", seen.case)]

    def _create(self, handler: BaseHTTPRequestHandler, params: Mapping[str, Any]) -> None:
        name = self._name(str(params.get("prompt", "")))
        case, task_id = self.cases[name], f"field-{secrets.token_hex(6)}"
        now = int(time.time())
        made = {"id": task_id, "status": "pending", "created_at": now}
        with self._lock:
            before = sum(seen.case == name for seen in self._seen)
            good = Reply(200, made)
            reply = case.creates[before] if before < len(case.creates) else good
            if not self._knows(handler):
                reply = Reply(401, {"message": "invalid api key"})
            elif not self.balance:
                reply = Reply(402, {"message": "insufficient balance"})
            exists = reply is good or (case.makes and before < len(case.creates))
            if exists:
                self._tasks[task_id] = name, now
            self._seen.append(Seen(name, reply.status, dict(params)))
        self._answer(handler, reply, task_id, case.interim)
        if exists and case.called_back:
            threading.Thread(target=_call_back, args=(str(params["callback_url"]), task_id), daemon=True).start()

    def _get(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        name = path.rpartition("/")[2]
        if path.startswith("/images/"):
            return self._answer(handler, Reply(200, self.image, (("Content-Type", "image/png"),)))
        if path.startswith("/model/"):
            return self._poll(handler, name)
        return self._download(handler, path.split("/")[2])

    def _poll(self, handler: BaseHTTPRequestHandler, task_id: str) -> None:
        name, created_at = self._tasks.get(task_id, (None, 0))
        if not self._knows(handler):
            return self._answer(handler, Reply(401, {"message": "invalid api key"}))
        if name is None:
            return self._answer(handler, Reply(404, {"message": "task not found"}))
        case = self.cases[name]
        link = self.origin + case.link.replace("{CASE}", name)
        good = {
            "id": "{ID}",
            "status": "completed",
            "created_at": created_at,
            "output": [{"task_status": "done", "results": [{"type": "video", "url": link}]}],
        }
        return self._answer(handler, Reply(200, good if case.poll is None else case.poll), task_id, case.interim)

    def _download(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        case = self.cases.get(name, Case())
        file = case.file or self._file
        with self._lock:
            before = self._downloads.get(name, 0)
            self._downloads[name] = before + 1
        if before < len(case.downloads):
            return self._answer(handler, case.downloads[before], interim=case.interim)
        if case.raw is not None:
            handler.close_connection = True
            handler.wfile.write(case.raw.replace(b"{LENGTH}", b"%d" % len(file)).replace(b"{FILE}", file))
            return None
        return self._answer(handler, Reply(200, file, (("Content-Type", "video/mp4"),)), interim=case.interim)

    def _answer(self, handler: BaseHTTPRequestHandler, reply: Reply, task_id: str = "", interim: bytes = b"") -> None:
        body = reply.body
        if not isinstance(body, bytes):
            body = json.dumps(body).replace("{ID}", task_id).replace("{ORIGIN}", self.origin).encode()
        with suppress(OSError):  # the relay may have read enough
            handler.wfile.write(interim)
            handler.send_response(reply.status)
            for name, value in (*reply.headers, ("Content-Length", str(len(body)))):
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

    def _knows(self, handler: BaseHTTPRequestHandler) -> bool:
        return handler.headers["Authorization"].removeprefix("Bearer ") in self.keys

    def _name(self, prompt: str) -> str:
        found = CASE.search(prompt)
        return found[1] if found and found[1] in self.cases else ""


def _call_back(url: str, task_id: str) -> None:
    """Call back until the answer is 200, three times at most, as the provider does."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for wait in (0.3, 1, 3):
        time.sleep(wait)
        connection = http.client.HTTPSConnection(parts.netloc, timeout=CALLBACK_SECONDS, context=context)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            body = json.dumps({"id": task_id, "status": "completed"})
            connection.request("POST", f"{parts.path}?{parts.query}", body, {"Content-Type": "application/json"})
            with connection.getresponse() as reply:
                reply.read()
                if reply.status == 200:
                    return
