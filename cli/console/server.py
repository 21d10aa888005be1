"""The console's server: bound to 127.0.0.1, and closed to other pages and other programs of this machine.

Static files are public and hold nothing of the relay. Every call below `/api/`, reading or changing, needs the token
that the page got for the link's one-time token. `Host` and `Origin` are checked, so that no page of another site, nor a
name that resolves to this machine, gets an answer.
"""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cli.console.endpoints import READS, Endpoints, UnknownCommandError, WrongUsageError

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files of other types, such as licences, are not served."""
COMMANDS = "/api/commands/"
MAX_BODY_BYTES = 64 * 1024
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """Tokens: a link's is exchanged once for a page's, which is valid as long as the console runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: set[str] = set()
        self._pages: set[str] = set()

    def issue(self) -> str:
        """The token of another link, in place of those that were not used."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._links = {token}
        return token

    def exchange(self, token: object) -> str | None:
        """A page's token for a link's; None if it is none, or was exchanged before."""
        with self._lock:
            known = _known(token, self._links)
            if known is None:
                return None
            self._links.discard(known)
            page = secrets.token_urlsafe(32)
            self._pages.add(page)
            return page

    def admits(self, authorization: str) -> bool:
        """Whether the header `Authorization` carries a page's token."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            return scheme == "Bearer" and _known(token, self._pages) is not None


class Console(ThreadingHTTPServer):
    """Serves the pages and `endpoints` on 127.0.0.1. Raises `OSError` if the port is taken."""

    daemon_threads = True

    def __init__(self, port: int, endpoints: Endpoints) -> None:
        self.endpoints, self.gate = endpoints, Gate()
        self.files = {
            f"/{file.relative_to(STATIC).as_posix()}".replace("/index.html", "/"): (
                TYPES[file.suffix],
                file.read_bytes(),
            )
            for file in STATIC.rglob("*")
            if file.suffix in TYPES
        }
        super().__init__(("127.0.0.1", port), _Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"

    def link(self) -> str:
        """The address to open, once. Its token is behind `#`: browsers send that to no server."""
        return f"{self.origin}/#{self.gate.issue()}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):  # a page may be closed at any moment
            super().handle_error(request, client_address)


class _RefusedRequestError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0: each answer ends its connection, so that lines can be sent as they come."""

    server: Console
    timeout = 30
    _begun: bool = False

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_POST(self) -> None:
        self._handle(self._post)

    def _handle(self, answer: Callable[[str, str], None]) -> None:
        try:
            self._check_origin()
            url = urlsplit(self.path)
            answer(url.path, url.query)
        except _RefusedRequestError as error:
            self._send(error.status, {"error": str(error)})
        except UnknownCommandError:
            self._send(HTTPStatus.NOT_FOUND, {"error": "there is no such command"})
        except WrongUsageError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _check_origin(self) -> None:
        """Refuse what does not come from the console's own page, opened by its own address."""
        origin = self.server.origin
        if self.headers.get_all("Host") != [origin.removeprefix("http://")]:
            raise _RefusedRequestError(HTTPStatus.FORBIDDEN, f"open {origin}, as the terminal shows it")
        given = self.headers.get("Origin")
        if given not in (None, origin) or (given is None and self.command != "GET"):
            raise _RefusedRequestError(HTTPStatus.FORBIDDEN, "the request comes from another site")
        if self.path.startswith("/api/") and self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise _RefusedRequestError(HTTPStatus.FORBIDDEN, "the request comes from another site")

    def _check_token(self) -> None:
        if not self.server.gate.admits(self.headers.get("Authorization", "")):
            raise _RefusedRequestError(HTTPStatus.UNAUTHORIZED, "the page has no token of this console")

    def _get(self, path: str, query: str) -> None:
        if path in self.server.files:
            kind, content = self.server.files[path]
            self._begin(HTTPStatus.OK, kind)
            self.wfile.write(content)
            return
        self._check_token()
        if path == "/api/about":
            self._send(HTTPStatus.OK, self.server.endpoints.about())
        elif (command := _command(path)) in READS:
            self._run(command, _values(query))
        else:
            raise _RefusedRequestError(HTTPStatus.NOT_FOUND, "there is nothing to read here")

    def _post(self, path: str, _: str) -> None:
        if path == "/api/session":
            token = self.server.gate.exchange(self._body().get("token"))
            if token is None:
                raise _RefusedRequestError(HTTPStatus.UNAUTHORIZED, "the link was used before, or is not the last one")
            self._send(HTTPStatus.OK, {"token": token})
            return
        self._check_token()
        command, body = _command(path), self._body()
        values = body.get("values", {})
        if not isinstance(values, dict):
            raise WrongUsageError("values must be an object")
        line, confirm = self.server.endpoints.command_line(command, values)
        if not _same(body.get("confirm"), confirm):
            self._send(HTTPStatus.OK, {"command": line, "confirm": confirm})
        else:
            self._run(command, values)

    def _run(self, command: str, values: Mapping[str, Any]) -> None:
        """Answer with the lines that a command prints, each one a JSON object, and its end as the last one."""
        line, _ = self.server.endpoints.command_line(command, values)
        end = self.server.endpoints.run(command, values, self._say)
        self._say({"command": line, **end})

    def _say(self, line: Mapping[str, Any]) -> None:
        if not self._begun:
            self._begin(HTTPStatus.OK, "application/x-ndjson")
        self.wfile.write(json.dumps(line).encode() + b"\n")

    def _body(self) -> dict[str, Any]:
        """The body, a JSON object."""
        length = self.headers.get("Content-Length", "")
        if not (length.isdecimal() and int(length) <= MAX_BODY_BYTES):
            raise _RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes")
        if self.headers.get_content_type() != "application/json":
            raise _RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise WrongUsageError("the body is not JSON") from error
        if not isinstance(body, dict):
            raise WrongUsageError("the body must be an object")
        return body

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        self._begin(status, "application/json")
        self.wfile.write(json.dumps(content).encode() + b"\n")

    def _begin(self, status: HTTPStatus, kind: str) -> None:
        self._begun = True
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        """What the header `Server` says."""
        return "relay"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Print nothing: the terminal shows the link alone."""


def _command(path: str) -> str:
    return path.removeprefix(COMMANDS).replace("/", " ") if path.startswith(COMMANDS) else ""


def _values(query: str) -> dict[str, Any]:
    """What a query string names, text by text; a list where a name comes more than once."""
    values: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=20):
            values.setdefault(name, []).append(value)
    except ValueError as error:
        raise WrongUsageError("the query string cannot be read") from error
    return {name: each if len(each) > 1 else each[0] for name, each in values.items()}


def _known(token: object, known: set[str]) -> str | None:
    return next((one for one in known if _same(token, one)), None)


def _same(given: object, wanted: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), wanted.encode())
