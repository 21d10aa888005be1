"""The `gateway` provider: create and read a task over its HTTP API.

Written against public documents and clients, never a live server: every reply form they show is read, one form is
sent. Unknown fields are ignored; unknown statuses are not an end.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError, Usage
from vidu_relay.outbound.exchange import ExchangeError, NotSentError, Reply, Session, exchange

__all__ = ["GatewayProvider", "read_snapshot"]

CONNECT_SECONDS = 3.05
CREATE_SECONDS = 15
READ_SECONDS = 8

MAX_OUTPUTS = 16
MAX_VIDEOS = 16
MAX_TEXT_CHARACTERS = 128
QUICK_SECONDS = 2.0
"""A read that fails sooner than this broke on a stale connection, not on a slow provider."""
AMBIGUOUS_CLIENT_ERRORS = frozenset(
    {408, 499}
)  # the server, or something before it, lost patience: it may have created
_TOKEN = re.compile(r"((?:token|signature)(?:=|%3D))[^\s&\"'<>]+", re.IGNORECASE)
"""What opens something in an address of ours that the provider may quote: a callback's token, an image link's
signature."""
STATES: Mapping[str, ProgressState] = {
    "pending": ProgressState.PENDING,
    "in_progress": ProgressState.PROCESSING,
    "processing": ProgressState.PROCESSING,
    "completed": ProgressState.SUCCEEDED,
    "failed": ProgressState.FAILED,
}


class GatewayProvider:
    """The provider behind `{base_url}/generation`. `api_key` is asked for at each call, so that it can be rotated."""

    name = "gateway"

    def __init__(self, base_url: str, api_key: Callable[[], str]) -> None:
        self._base = base_url.rstrip("/")
        self._api_key = api_key
        self._session = Session()

    def ready(self) -> None:
        """Raises `ConfigurationError` if there is no key to call with."""
        self._api_key()

    def create(self, model: str, params: Mapping[str, Any], callback_url: str) -> ProviderSnapshot:
        """Create a task, once, on a fresh connection, within `CONNECT_SECONDS` and `CREATE_SECONDS` for the reply.

        Raises `NotCreatedError` if certainly nothing was created (no byte was sent, or 429), `CreateRejectedError`
        on a clear refusal (4xx, or a reply without id), else `CreateAmbiguousError`.
        """
        body = {"model": model, "input": [{"params": {**params, "callback_url": callback_url}}]}
        try:
            reply = exchange(
                "POST",
                f"{self._base}/generation",
                headers={**self._headers(), "Content-Type": "application/json", "Connection": "close"},
                body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"),
                connect_seconds=CONNECT_SECONDS,
                reply_seconds=CREATE_SECONDS,
            )
        except NotSentError as error:
            raise NotCreatedError(str(error)) from error
        except ExchangeError as error:
            raise CreateAmbiguousError(str(error)) from error
        return _created(reply)

    def read(self, remote_id: str) -> ProviderSnapshot:
        """Read a task with our own key. Raises `ProviderUnavailableError` if the provider gives no usable answer."""
        if not is_remote_id(remote_id):
            raise ProviderUnavailableError("the id cannot be one of the provider's")
        began = time.monotonic()
        try:
            reply = self._get(remote_id, self._session)
        except ExchangeError as error:
            # a function that was frozen wakes up with a connection that the other side has long closed
            if time.monotonic() - began > QUICK_SECONDS:
                raise ProviderUnavailableError(str(error)) from error
            try:
                reply = self._get(remote_id, None)
            except ExchangeError as again:
                raise ProviderUnavailableError(str(again)) from again
        content = _json_object(reply)
        if reply.status != 200 or content is None:
            raise ProviderUnavailableError(f"the provider answered a read with HTTP {reply.status}")
        return read_snapshot(content, remote_id)

    def _get(self, remote_id: str, session: Session | None) -> Reply:
        return exchange(
            "GET",
            f"{self._base}/generation/task/{quote(remote_id, safe='')}",
            headers=self._headers(),
            connect_seconds=CONNECT_SECONDS,
            reply_seconds=READ_SECONDS,
            session=session,
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key()}", "Accept": "application/json"}


def _created(reply: Reply) -> ProviderSnapshot:
    if reply.status == 429:
        raise NotCreatedError("HTTP 429", _retry_after(reply.headers.get("retry-after")))
    content = _json_object(reply)
    if 200 <= reply.status < 300:
        if content is None:
            raise CreateAmbiguousError(f"HTTP {reply.status} with a body that is not a JSON object")
        remote_id = _text(content.get("id"))
        if remote_id is None and content.get("id"):
            raise CreateAmbiguousError("the task id in the reply is neither text nor number")
        if remote_id is None:
            error = _error(content) or TaskError("provider_rejected", "The provider answered without a task id.")
            raise CreateRejectedError(error.code, error.message)
        if not is_remote_id(remote_id):
            raise CreateAmbiguousError("the task id in the reply cannot be one")
        return read_snapshot(content, remote_id)
    if 400 <= reply.status < 500 and reply.status not in AMBIGUOUS_CLIENT_ERRORS:
        error = (_error(content) if content else None) or TaskError(
            f"http_{reply.status}", f"The provider refused the request with HTTP {reply.status}."
        )
        raise CreateRejectedError(error.code, error.message)
    raise CreateAmbiguousError(f"HTTP {reply.status}")


def read_snapshot(content: Mapping[str, Any], remote_id: str) -> ProviderSnapshot:
    """A task as the gateway describes it, in our terms. Never raises: what cannot be read is absent or unknown."""
    outputs = tuple(_outputs(content.get("output")))
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    state = STATES.get(str(content.get("status")).lower(), ProgressState.UNKNOWN)
    return ProviderSnapshot(
        remote_id=remote_id,
        state=state,
        outputs=outputs,
        error=_error(content) if state is ProgressState.FAILED else None,
        usage=_usage(content.get("usage")),
        upstream_id=_short(metadata.get("remote_task_id")) or next((o.task_id for o in outputs if o.task_id), None),
        model=_short(metadata.get("model")),
        created_at=_milliseconds(content.get("created_at")),
    )


def _outputs(value: Any) -> Iterator[ProviderOutput]:
    for item in value[:MAX_OUTPUTS] if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        files = [f for name in ("results", "content") for f in _list(item.get(name)) if isinstance(f, dict)]
        yield ProviderOutput(
            task_id=_short(item.get("task_id")) or next((_short(f["jobId"]) for f in files if f.get("jobId")), None),
            task_status=_short(item.get("task_status")),
            video_urls=tuple(dict.fromkeys(url for f in files if (url := _video_url(f))))[:MAX_VIDEOS],
        )


def _video_url(file: Mapping[str, Any]) -> str | None:
    url = file.get("url")
    if file.get("type", "video") not in ("video", None) or not isinstance(url, str):
        return None
    return url if url.startswith(("https://", "http://")) else None


def _error(content: Mapping[str, Any]) -> TaskError | None:
    """The error in any of the forms seen: `error` or `status` as object, `error` as string, a flat `message`."""
    for name in ("error", "status"):
        value = content.get(name)
        if isinstance(value, dict):
            code = _code(value.get("error_code")) or _code(value.get("code"))
            message = _text(value.get("message")) or _text(value.get("error_message"))
            if code or message:
                return _task_error(code, message)
    message = _text(content.get("error")) or _text(content.get("message"))
    return _task_error(_code(content.get("code")), message) if message else None


def _task_error(code: str | None, message: str | None) -> TaskError:
    """Cut to what a task record should carry, without the token where the provider quotes our callback URL."""
    text = _TOKEN.sub(r"\1…", message or "The provider gives no reason.")
    return TaskError(_TOKEN.sub(r"\1…", code or "provider_error")[:64], text[:500])


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    cost, discount = _short(value.get("cost")), _short(value.get("discount"))
    try:
        discount = str(float(discount)) if discount is not None and math.isfinite(float(discount)) else None
    except ValueError:
        discount = None
    return Usage(cost, discount) if cost is not None or discount is not None else None


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, str) and not value.isdecimal():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    number = Decimal(value)
    if not number.is_finite() or not 0 < number < Decimal(10) ** 14:
        return None
    return int(number if number > Decimal(10) ** 11 else number * 1000)  # seconds until the year 5138, else ms


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), 86_400.0)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), 86_400.0)


def _json_object(reply: Reply) -> dict[str, Any] | None:
    """The body as an object, with numbers kept digit for digit; unwrapped from `{"data": {…}}` where it has no id."""
    try:
        content = json.loads(reply.body, parse_float=_decimal, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    data = content.get("data")
    return data if isinstance(data, dict) and "id" in data and "id" not in content else content


def _decimal(text: str) -> Decimal | None:
    """A number digit for digit; None where its exponent is absurd: one odd field must not hide the others."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= MAX_TEXT_CHARACTERS else text


def _code(value: Any) -> str | None:
    """An error code as text. The page's codes have nine digits, of which a JSON number loses the leading zeros."""
    text = _text(value)
    if isinstance(value, int) and text and len(text) == 7 and text.startswith("8017"):
        return text.zfill(9)
    return text


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value) or None


def _short(value: Any) -> str | None:
    text = _text(value)
    return text[:MAX_TEXT_CHARACTERS] if text else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
