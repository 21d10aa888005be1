"""The `gateway` provider: create and read a task over its HTTP API.

Written against public documents and clients, never a live server: every reply form they show is read, one form is
sent. Unknown fields are ignored; unknown statuses are not an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from vidu_relay.domain.errors import CancelNotSupportedError, CreateRejectedError, ProviderUnavailableError
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError, Usage
from vidu_relay.outbound.exchange import Reply
from vidu_relay.outbound.provider_calls import ProviderCalls, created_content, created_id
from vidu_relay.outbound.reply_fields import (
    MAX_VIDEOS,
    list_field,
    milliseconds,
    short_text,
    task_error,
    text,
    video_link,
)

__all__ = ["GatewayProvider", "read_snapshot"]

MAX_OUTPUTS = 16
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
        self._api_key = api_key
        self._calls = ProviderCalls(base_url, lambda: f"Bearer {api_key()}")

    def ready(self) -> None:
        """Raises `ConfigurationError` if there is no key to call with."""
        self._api_key()

    def create(
        self,
        model: str,
        params: Mapping[str, Any],
        callback_url: str,
        *,
        mark: str,  # noqa: ARG002 - nothing that the gateway is sent comes back in its replies
    ) -> ProviderSnapshot:
        """Create a task, once.

        Raises `NotCreatedError` if certainly nothing was created (no byte was sent, or 429), `CreateRejectedError`
        on a clear refusal (4xx, or a reply without id), else `CreateAmbiguousError`.
        """
        body = {"model": model, "input": [{"params": {**params, "callback_url": callback_url}}]}
        return _created(self._calls.create("/generation", body))

    def read(self, remote_id: str) -> ProviderSnapshot:
        """Read a task with our own key. Raises `ProviderUnavailableError` if the provider gives no usable answer."""
        if not is_remote_id(remote_id):
            raise ProviderUnavailableError("the id cannot be one of the provider's")
        return read_snapshot(self._calls.read(f"/generation/task/{quote(remote_id, safe='')}"), remote_id)

    def cancel(self, remote_id: str) -> None:
        """Raises `CancelNotSupportedError`, always: the gateway has no such call."""
        raise CancelNotSupportedError(f"the gateway has no call to cancel {remote_id}")


def _created(reply: Reply) -> ProviderSnapshot:
    content = created_content(reply, _error)
    remote_id = created_id(content.get("id"))
    if remote_id is None:
        error = _error(content) or TaskError("provider_rejected", "The provider answered without a task id.")
        raise CreateRejectedError(error.code, error.message)
    return read_snapshot(content, remote_id)


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
        upstream_id=short_text(metadata.get("remote_task_id")) or next((o.task_id for o in outputs if o.task_id), None),
        model=short_text(metadata.get("model")),
        created_at=milliseconds(content.get("created_at")),
    )


def _outputs(value: Any) -> Iterator[ProviderOutput]:
    for item in value[:MAX_OUTPUTS] if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        files = [f for name in ("results", "content") for f in list_field(item.get(name)) if isinstance(f, dict)]
        yield ProviderOutput(
            task_id=short_text(item.get("task_id"))
            or next((short_text(f["jobId"]) for f in files if f.get("jobId")), None),
            task_status=short_text(item.get("task_status")),
            video_urls=tuple(dict.fromkeys(url for f in files if (url := _video_url(f))))[:MAX_VIDEOS],
        )


def _video_url(file: Mapping[str, Any]) -> str | None:
    return video_link(file.get("url")) if file.get("type", "video") in ("video", None) else None


def _error(content: Mapping[str, Any]) -> TaskError | None:
    """The error in any of the forms seen: `error` or `status` as object, `error` as string, a flat `message`."""
    for name in ("error", "status"):
        value = content.get(name)
        if isinstance(value, dict):
            code = _code(value.get("error_code")) or _code(value.get("code"))
            message = text(value.get("message")) or text(value.get("error_message"))
            if code or message:
                return task_error(code, message)
    message = text(content.get("error")) or text(content.get("message"))
    return task_error(_code(content.get("code")), message) if message else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    cost, discount = short_text(value.get("cost")), short_text(value.get("discount"))
    try:
        discount = str(float(discount)) if discount is not None and math.isfinite(float(discount)) else None
    except ValueError:
        discount = None
    return Usage(cost, discount) if cost is not None or discount is not None else None


def _code(value: Any) -> str | None:
    """An error code as text. The page's codes have nine digits, of which a JSON number loses the leading zeros."""
    found = text(value)
    if isinstance(value, int) and found and len(found) == 7 and found.startswith("8017"):
        return found.zfill(9)
    return found
