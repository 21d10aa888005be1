"""The relay's HTTP API, as a tenant uses it: with its address and an API key, and no AWS credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from cli.answer import NoAnswerError, RefusedError, checked, printable
from cli.connection import read_stack_file
from vidu_relay.domain.batch import BATCH_ID
from vidu_relay.domain.identifiers import TASK_ID

if TYPE_CHECKING:
    from cli.connection import Connection

KEY_VARIABLE = "RELAY_API_KEY"
API_KEY = re.compile(r"[!-~]{1,4096}")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
CONNECT_SECONDS, READ_SECONDS = 10, 40
"""API Gateway answers in 30 seconds, or says that it cannot."""
CHUNK_BYTES = 64 * 1024
TASK = frozenset(
    {"task_id", "status", "version", "created_at", "updated_at", "error", "usage", "output", "videos", "history"}
)
ESTIMATE = frozenset({"model", "provider", "usd", "reserved_usd", "basis", "request"})
FORM = frozenset({"url", "fields", "uri"})
PAGE = frozenset({"tasks", "next_cursor"})
MODELS = frozenset({"models"})
USAGE = frozenset({"from", "to", "group_by", "groups", "total"})
BATCH, BATCH_FORM = frozenset({"batch_id", "state"}), frozenset({"batch_id", "url", "fields", "expires_at"})
NOTIFICATIONS, REPLAY = frozenset({"notifications"}), frozenset({"webhook_id"})
ATTEMPT = frozenset({"webhook_id", "status", "fault", "latency_ms", "answer"})
"""Fields that an answer of a relay has."""
BATCH_RULE = "a batch id has b and 26 of a-z and 2-7, as the API returns it"
TASK_RULE = "a task id has 26 of a-z and 2-7, as the API returns it"
MAX_WAIT_SECONDS = 600
"""A longer `Retry-After` is cut to this."""
NEEDS_KEY = (
    f"an API key is needed: put it into the variable {KEY_VARIABLE}, or into a file for --api-key-file "
    "(`relay keys create` makes one). It is no option of its own: what stands on a command line is seen by every "
    "program of the machine and kept in the shell's history"
)


class ApiRefusedError(RefusedError):
    """The API has refused: repeating the call changes nothing. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LinkRefusedError(RefusedError):
    """A link to a video was refused, for example because it has expired. Reading the task gives another."""


class Api:
    """The routes of one tenant. Nothing is retried here, no redirect is followed.

    Each call raises `NoAnswerError` if there was no answer, `ApiRefusedError` if the API refuses.
    """

    def __init__(self, url: str, api_key: str, *, ca_bundle: str | None = None, local: bool = False) -> None:
        self.url = url.rstrip("/")
        self.local = local
        """Whether it is the stack on this machine, which may be asked more often."""
        self.advised_wait: float | None = None
        """Seconds after which to ask again, as the last answer said."""
        self._key = api_key
        self._http = requests.Session()
        self._http.trust_env = not local
        self._bundle = ca_bundle

    def submit(self, request: bytes, idempotency_key: str) -> dict[str, Any]:
        """Submit a request, the JSON body of `POST /v1/tasks`; its task."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return self._call("POST", "/v1/tasks", TASK, data=request, headers=headers)

    def estimate(self, request: bytes) -> dict[str, Any]:
        """What a request would send to the provider and cost: the answer of `POST /v1/estimates`."""
        return self._call("POST", "/v1/estimates", ESTIMATE, data=request, headers={"Content-Type": "application/json"})

    def task(self, task_id: str) -> dict[str, Any]:
        """The task as it stands."""
        return self._of_task("GET", task_id)

    def cancel(self, task_id: str) -> dict[str, Any]:
        """Cancel a task; the task as it stands then."""
        return self._of_task("POST", task_id, "/cancel")

    def delete(self, task_id: str) -> None:
        """Delete a settled task's content."""
        self._of_task("DELETE", task_id, fields=frozenset())

    def tasks(self, **query: str | int | None) -> dict[str, Any]:
        """A page of the tenant's tasks, newest first: `tasks` and `next_cursor`. `query` is the query string's."""
        return self._call("GET", "/v1/tasks", PAGE, params=query)

    def models(self) -> list[dict[str, Any]]:
        """The models that the relay offers, as `GET /v1/models` describes them."""
        found: list[dict[str, Any]] = self._call("GET", "/v1/models", MODELS)["models"]
        return found

    def usage(self, **query: str) -> dict[str, Any]:
        """What the tenant's tasks cost. `query`: from, to, group_by."""
        return self._call("GET", "/v1/usage", USAGE, params=query)

    def notifications(self, task_id: str) -> list[dict[str, Any]]:
        """The notifications of a task that were attempted, and their attempts."""
        found: list[dict[str, Any]] = self._of_task("GET", task_id, "/notifications", NOTIFICATIONS)["notifications"]
        return found

    def replay(self, task_id: str, version: int) -> dict[str, Any]:
        """Send a notification again; its `webhook_id`."""
        return self._of_task("POST", task_id, f"/notifications/{version}/replay", REPLAY)

    def send_test(self, url: str) -> dict[str, Any]:
        """Send a test message to an address; what came of it."""
        return self._call("POST", "/v1/webhooks/test", ATTEMPT, json={"callback_url": url})

    def _of_task(self, method: str, task_id: str, route: str = "", fields: frozenset[str] = TASK) -> dict[str, Any]:
        checked(task_id, TASK_ID, TASK_RULE)
        try:
            return self._call(method, f"/v1/tasks/{task_id}{route}", fields)
        except ApiRefusedError as error:
            raise ApiRefusedError(f"{task_id}: {error}", error.status) from error

    def upload(self, content: bytes, content_type: str) -> str:
        """Upload a reference image; its `s3://` URI, which a request may name."""
        form = self._call("POST", "/v1/uploads", FORM, json={"content_type": content_type})
        self.send_form(form, content)
        return str(form["uri"])

    def send_form(self, form: Mapping[str, Any], content: bytes) -> None:
        """Send a file by a form, as `POST /v1/uploads` and `POST /v1/batches` answer it."""
        with self._answered("POST", form["url"], data=form["fields"], files={"file": ("file", content)}) as reply:
            if not reply.ok:
                raise ApiRefusedError(f"the upload was refused: HTTP {reply.status_code}", reply.status_code)

    def batch_form(self, sha256: str, size: int) -> dict[str, Any]:
        """A form for the file of a batch, with the id of the batch."""
        return self._call("POST", "/v1/batches", BATCH_FORM, json={"sha256": sha256, "size": size})

    def batch(self, batch_id: str) -> dict[str, Any]:
        """The batch as it stands."""
        return self._call("GET", f"/v1/batches/{checked(batch_id, BATCH_ID, BATCH_RULE)}", BATCH)

    @contextmanager
    def open(self, link: str, start: int) -> Iterator[tuple[bool, Iterator[bytes]]]:
        """A video's bytes from `start` on, by a link of a task: whether they do begin there (else at 0), and chunks.

        Raises `LinkRefusedError`, `NoAnswerError`.
        """
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with self._answered("GET", link, headers=headers, stream=True) as reply:
            if not reply.ok:
                raise LinkRefusedError(f"the link to the video was refused: HTTP {reply.status_code}")
            yield reply.status_code == requests.codes.partial_content, _chunks(reply)

    def _call(
        self, method: str, path: str, fields: frozenset[str], *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json", **(headers or {})}
        with self._answered(method, self.url + path, headers=sent, auth=self._sign, **body) as reply:
            answer = {} if reply.status_code == requests.codes.no_content else _json(reply)
            self.advised_wait = _retry_after(reply)
        if not reply.ok:
            raise ApiRefusedError(_refusal(reply.status_code, answer), reply.status_code)
        if not isinstance(answer, dict) or not answer.keys() >= fields:
            raise ApiRefusedError(
                f"{self.url} does not answer like a Vidu Relay (HTTP {reply.status_code}): check the address",
                reply.status_code,
            )
        return answer

    @contextmanager
    def _answered(self, method: str, url: str, **arguments: Any) -> Iterator[requests.Response]:
        """The answer, unless it asks to try again later. Without `auth` the call carries no key."""
        try:
            reply = self._http.request(
                method,
                url,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                verify=self._bundle or True,
                **{"auth": _without_key, **arguments},
            )
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                host = urlsplit(url).hostname
                raise RefusedError(
                    f"the certificate of {host} is not trusted: check the address. A certificate authority of your own "
                    "goes into the variable REQUESTS_CA_BUNDLE"
                ) from error
            raise NoAnswerError(_reason(error)) from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise RefusedError(f"{self.url!r} is not an address that can be called: {_reason(error)}") from error
        except requests.RequestException as error:
            raise NoAnswerError(_reason(error)) from error
        with reply:
            if reply.status_code == requests.codes.service_unavailable and _is_problem(answer := _json(reply)):
                raise ApiRefusedError(_refusal(reply.status_code, answer), reply.status_code)
            if reply.status_code >= requests.codes.internal_server_error or _is_throttled(reply):
                raise NoAnswerError(f"HTTP {reply.status_code}", _retry_after(reply))
            if reply.is_redirect:
                raise RefusedError(f"{urlsplit(url).netloc} redirects (HTTP {reply.status_code}): check the address")
            yield reply

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key. As `auth`, so that no `.netrc` puts another one in its place."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def connect_api(
    url: str | None, key_file: Path | None, stack_file: Path | None, connect: Callable[[], Connection]
) -> Api:
    """The API at a URL, of a local stack, or of the stack that `connect` finds; and the key to it.

    Raises `RefusedError` without a usable key or address, `ConnectionFailedError` if the stack cannot be found.
    """
    if stack_file and not url:
        stack = read_stack_file(stack_file)
        if not (key_file or stack.get("api_key")):
            raise RefusedError(f"{stack_file} names no API key: {NEEDS_KEY}")
        key = _read_key(key_file) if key_file else str(stack["api_key"])
        return Api(_checked(str(stack.get("api_url"))), key, ca_bundle=stack["aws_ca_bundle"], local=True)
    key = _read_key(key_file)
    return Api(_checked(url or connect().output("ApiUrl")), key)


def _checked(url: str) -> str:
    """The address, if a key may be sent there: https, or this machine."""
    refused = RefusedError(f"{url!r} is not the address of an API: give the stack's output ApiUrl, https://…")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise refused from error
    if not host or parts.username or parts.query or parts.fragment:
        raise refused
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise RefusedError(f"{url!r}: the address must begin with https://, or others could read the key")
    return url


def _read_key(file: Path | None) -> str:
    """The API key. It is in no message."""
    if file is None:
        text, place = os.environ.get(KEY_VARIABLE, ""), f"the variable {KEY_VARIABLE}"
    else:
        try:
            text, place = file.read_text(), str(file)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise RefusedError(f"cannot read the API key from {file}: {reason}") from error
    if not text.strip():
        raise RefusedError(NEEDS_KEY if file is None else f"{file} is empty: it must hold an API key")
    if not API_KEY.fullmatch(text.strip()):
        raise RefusedError(f"{place} must hold an API key and nothing else: one word of printable ASCII")
    return text.strip()


def _without_key(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add nothing: a signed link or form needs no key."""
    return request


def _chunks(reply: requests.Response) -> Iterator[bytes]:
    try:
        yield from reply.iter_content(CHUNK_BYTES)
    except requests.RequestException as error:
        raise NoAnswerError(_reason(error)) from error


def _is_throttled(reply: requests.Response) -> bool:
    """Whether a 429 is API Gateway's. The relay's own is final for the day or the hour, and says so."""
    return reply.status_code == requests.codes.too_many_requests and not _is_problem(_json(reply))


def _json(reply: requests.Response) -> Any:
    """The reply's JSON; None if it is not JSON."""
    try:
        return reply.json()
    except requests.exceptions.JSONDecodeError:
        return None


def _retry_after(reply: requests.Response) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return min(float(text), MAX_WAIT_SECONDS) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _refusal(status: int, answer: Any) -> str:
    if status in (requests.codes.unauthorized, requests.codes.forbidden) and not _is_problem(answer):
        return f"HTTP {status}: the API key is not accepted (revoked, mistyped, or of another stack)"
    if not _is_problem(answer):
        reason = printable(str(answer["message"])) if isinstance(answer, dict) and "message" in answer else "no reason"
        return f"HTTP {status}: {reason[:500]}"
    lines = [f"HTTP {status}, {answer['code']}: {answer.get('detail', '')}"]
    faults = answer.get("errors", [])
    lines += [f"  {fault.get('loc') or 'the body'}: {fault.get('msg')}" for fault in faults]
    return "\n".join(printable(line) for line in lines)


def _is_problem(answer: Any) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("code"), str)


def _reason(error: requests.RequestException) -> str:
    """The cause, without the address, which may be a signed link."""
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    return (
        f"no connection ({cause.strerror or type(cause).__name__})"
        if isinstance(cause, OSError)
        else (f"the connection broke ({type(cause).__name__})")
    )
