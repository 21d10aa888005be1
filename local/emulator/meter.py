"""Counts what a bill would count: calls of the services by caller, and invocations of functions.

`GET /_meter` gives what was counted since the start or the last `DELETE /_meter`. Nothing of the emulated AWS changes.
"""

import json
import threading
import urllib.parse
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.iam_evaluator import request_caller_arn
from ministack.core.router import detect_service

PATH = "/_meter"
API_PREFIX = "/_aws/execute-api/"

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


@dataclass
class Invocations:
    """Of one function. `cpu_seconds` is of the `timed` ones: those in a process that existed before."""

    invocations: int = 0
    timed: int = 0
    cpu_seconds: float = 0.0
    log_bytes: int = 0


class Meter:
    """Counts what passes it. `watch_functions` and `watch_calls` put it in MiniStack's way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._functions: dict[str, Invocations] = {}

    def reset(self) -> None:
        """Count from 0."""
        with self._lock:
            self._calls.clear()
            self._functions.clear()

    def reading(self) -> dict[str, Any]:
        """What was counted: `calls` by caller (a role's or user's ARN), service and operation, `functions` by name."""
        with self._lock:
            return {
                "calls": [
                    {"caller": caller, "service": service, "operation": operation, "count": count}
                    for (caller, service, operation), count in sorted(self._calls.items())
                ],
                "functions": {name: asdict(count) for name, count in sorted(self._functions.items())},
            }

    def watch_functions(self) -> None:
        """Count every invocation from now on."""
        invoke = lambda_runtime.ProvidedWorker.invoke

        def counted(worker: Any, event: Any, request_id: str, **more: Any) -> Any:
            before = _cpu_seconds(worker._proc)
            result = invoke(worker, event, request_id, **more)
            after = _cpu_seconds(worker._proc)
            with self._lock:
                count = self._functions.setdefault(worker.func_name, Invocations())
                count.invocations += 1
                count.log_bytes += len((result.get("log") or "").encode())
                if before is not None and after is not None:
                    count.timed += 1
                    count.cpu_seconds += after - before
            return result

        lambda_runtime.ProvidedWorker.invoke = counted

    def watch_calls(self, app: Application) -> Application:
        """The application, with each request counted."""

        async def counted(scope: dict[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                if scope["path"] == PATH:
                    await self._answer(scope["method"], send)
                    return
                self._count(scope)
            await app(scope, receive, send)

        return counted

    def _count(self, scope: dict[str, Any]) -> None:
        headers, query = parsed_headers(scope), parsed_query(scope)
        method, path = scope["method"], scope["path"]
        if path.startswith(API_PREFIX):
            entry = ("", "execute-api", method)
        else:
            service = detect_service(method, path, headers, query)
            entry = (request_caller_arn(headers, query), service, operation_name(service, method, path, headers, query))
        with self._lock:
            self._calls[entry] += 1

    async def _answer(self, method: str, send: Send) -> None:
        body = json.dumps(self.reading()).encode()
        if method == "DELETE":
            self.reset()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def parsed_headers(scope: dict[str, Any]) -> dict[str, str]:
    """A request's headers, names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def parsed_query(scope: dict[str, Any]) -> dict[str, list[str]]:
    """A request's query."""
    return urllib.parse.parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def operation_name(service: str, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]) -> str:
    """The operation's name where the protocol says it, else the method with what distinguishes S3's operations."""
    target = headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if service == "s3":
        kinds = ("uploads", "uploadId", "partNumber", "list-type", "versionId")
        return " ".join([method, *(kind for kind in kinds if kind in query)])
    return query.get("Action", [f"{method} {path}"])[0]


def _cpu_seconds(process: Any) -> float | None:
    """What a process has used of a CPU, all threads together; None if it has ended or the system does not show it."""
    if process is None:
        return None
    try:
        spent = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat")]
    except OSError:
        return None
    return sum(int(text.split()[0]) for text in spent) / 1e9 if spent else None
