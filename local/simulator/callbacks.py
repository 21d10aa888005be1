"""Sends callbacks when tasks change: signed, and tried again where the provider does; or wrong, as a script says."""

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from local.simulator.callback_bodies import Named, callback_body, forged_body
from local.simulator.clock import Timer
from local.simulator.scripts import CallbackState, Forgery
from local.simulator.signature import signature_headers
from local.simulator.tasks import State, Task

_NAMES: dict[State, CallbackState] = {
    "processing": "processing",
    "succeeded": "success",
    "failed": "failed",
    "canceled": "failed",
}
_TRIES: dict[CallbackState, int] = {"processing": 1, "success": 4, "failed": 4}  # "retried three times if it fails"
_SENDERS = 16
_TOKEN = re.compile(r"(?<=[?&]token=)[^&]*")


@dataclass(frozen=True)
class CallbackSettings:
    """`ca_bundle`: the only certificates a receiver's may descend from (None: the system's)."""

    ca_bundle: Path | None = None
    retry_seconds: float = 2.0
    timeout_seconds: float = 10.0


@dataclass(frozen=True)
class _Callback:
    task: Task
    label: str
    kind: Literal["true", "duplicate", "forged"]
    url: str
    body: bytes
    signature: Literal["good", "bad", "none"]
    tries: int
    attempt: int = 1
    then: tuple["_Callback", ...] = field(default=())


class CallbackSender:
    """Sends in threads of its own. `links` makes a task's links, `other` names some task other than the one given."""

    def __init__(
        self,
        settings: CallbackSettings,
        timer: Timer,
        links: Callable[[Task], list[str]],
        other: Callable[[Task], Named | None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._timer = timer
        self._links = links
        self._other = other
        self._on_error = on_error
        self._tls = ssl.create_default_context(cafile=settings.ca_bundle) if settings.ca_bundle else None
        self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="simulator-callback")
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self._closed = False

    def announce(self, task: Task, state: State) -> None:
        """Queue whatever the task's script wants sent now that the task has entered `state`. Returns at once."""
        url = task.params.get("callback_url")
        if not url:
            return
        script = task.script.callbacks
        on = "created" if state == "pending" else _NAMES[state]
        for forgery in script.forge:
            if forgery.on == on:
                self._forge(task, url, forgery)
        if state == "pending":
            return
        state_name = _NAMES[state]
        if script.drop is True or (isinstance(script.drop, list) and state_name in script.drop):
            task.callbacks.append({"at": time.time(), "state": state_name, "kind": "dropped"})
            return
        callback = self._true(task, url, state_name)
        if script.reorder:
            if state_name == "processing":
                return
            callback = replace(callback, then=(self._true(task, url, "processing"),))
        copies = [replace(callback, kind="duplicate", then=()) for _ in range(script.duplicate)]
        for each in [callback, *copies]:
            self._send_later(script.delay, each)

    def close(self) -> None:
        """Stop sending, end calls under way, join the threads."""
        with self._lock:
            self._closed = True
            for connection in self._open:
                with suppress(OSError):  # it has just ended by itself
                    if connection.sock is not None:
                        connection.sock.shutdown(socket.SHUT_RDWR)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _true(self, task: Task, url: str, state_name: CallbackState) -> _Callback:
        script = task.script.callbacks
        links = self._links(task) if state_name == "success" else []
        return _Callback(
            task=task,
            label=state_name,
            kind="true",
            url=_with_wrong_token(url) if script.wrong_token else url,
            body=callback_body(task, state_name, links),
            signature=script.signature,
            tries=_TRIES[state_name],
        )

    def _forge(self, task: Task, url: str, forgery: Forgery) -> None:
        for number in range(forgery.n):
            forged = _Callback(
                task=task,
                label=forgery.kind,
                kind="forged",
                url=_with_wrong_token(url) if forgery.wrong_token else url,
                body=forged_body(task, forgery, number, self._other(task)),
                signature="good" if forgery.signed else "none",
                tries=1,
            )
            self._submit(forged)

    def _send_later(self, seconds: float, callback: _Callback) -> None:
        if seconds > 0:
            self._timer.call_later(seconds, lambda: self._submit(callback))
        else:
            self._submit(callback)

    def _submit(self, callback: _Callback) -> None:
        with self._lock:
            if not self._closed:
                self._pool.submit(self._run, callback)

    def _run(self, callback: _Callback) -> None:
        try:
            delivered = self._send(callback)
        except Exception as error:  # noqa: BLE001 - the pool would hide it; the owner fails loudly at its end
            self._on_error(error)
            return
        for follower in callback.then:
            self._submit(follower)
        if not delivered and callback.attempt < callback.tries:
            self._send_later(self._settings.retry_seconds, replace(callback, attempt=callback.attempt + 1, then=()))

    def _send(self, callback: _Callback) -> bool:
        """One attempt, entered into the task's list; True if the receiver said 2xx."""
        entry: dict[str, Any] = {
            "at": time.time(),
            "state": callback.label,
            "kind": callback.kind,
            "attempt": callback.attempt,
            "signature": callback.signature,
        }
        began = time.monotonic()
        try:
            entry["http_status"] = self._post(callback)
        except (OSError, http.client.HTTPException, ValueError) as error:
            entry["http_status"] = None
            entry["error"] = f"{type(error).__name__}: {error}"
        entry["seconds"] = round(time.monotonic() - began, 4)
        callback.task.callbacks.append(entry)
        return entry["http_status"] is not None and 200 <= entry["http_status"] < 300

    def _post(self, callback: _Callback) -> int:
        parts = urlsplit(callback.url)
        host, timeout = parts.hostname or "", self._settings.timeout_seconds
        connection = (
            http.client.HTTPSConnection(
                host, parts.port, timeout=timeout, context=self._tls or ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, parts.port, timeout=timeout)
        )
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("simulator stops")
            self._open.add(connection)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, callback.body, _headers(callback))
            with connection.getresponse() as response:
                response.read(65_536)
                return response.status
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _headers(callback: _Callback) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "vidu-simulator"}
    if callback.signature == "none":
        return headers
    signed = signature_headers(callback.task.api_key, "POST", callback.url)
    if callback.signature == "bad":
        first = signed["X-HMAC-SIGNATURE"][0]
        signed["X-HMAC-SIGNATURE"] = ("B" if first == "A" else "A") + signed["X-HMAC-SIGNATURE"][1:]
    return headers | signed


def _with_wrong_token(url: str) -> str:
    wrong, found = _TOKEN.subn(lambda match: match[0][::-1] + "x", url)
    return wrong if found else url + ("&" if "?" in url else "?") + "token=wrong"
