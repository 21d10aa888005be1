"""The `vidu` provider: create, read and cancel a task over the upstream API.

Written against public documents, never a live server: every form they show is read, one form is sent. Unknown fields
are ignored; unknown states are not an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from vidu_relay.domain.errors import CancelRefusedError, CreateAmbiguousError, ProviderUnavailableError
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.submission import MARK_PREFIX
from vidu_relay.outbound.exchange import Reply
from vidu_relay.outbound.provider_calls import LOST_PATIENCE, ProviderCalls, created_content, created_id
from vidu_relay.outbound.reply_fields import (
    MAX_VIDEOS,
    json_object,
    list_field,
    milliseconds,
    short_text,
    task_error,
    text,
    video_link,
)

__all__ = ["ViduProvider", "read_snapshot"]

TASK_IDS = ("task_id", "id")
"""The id is called `task_id` in the reply to a create, `id` everywhere else."""

STATES: Mapping[str, ProgressState] = {
    "created": ProgressState.PENDING,
    "queueing": ProgressState.PENDING,
    "processing": ProgressState.PROCESSING,
    "success": ProgressState.SUCCEEDED,
    "failed": ProgressState.FAILED,
    # no document names a state for a cancelled task; if there is one, it will be this word
    "canceled": ProgressState.CANCELED,
    "cancelled": ProgressState.CANCELED,
}
USER_CANCELED = frozenset({"usercancelled", "usercanceled"})
"""Reasons, in lower case, of a `failed` task that was called off."""

UNCLEAR = LOST_PATIENCE | {409}
"""No document says what a create conflicts with: if it is a task that exists by now, it may be ours, and billed."""

NO_REFUSAL = LOST_PATIENCE | {401, 403, 429}
"""Answers to a cancel that are not about the task: our key, our rate, a server that waited no longer."""


class ViduProvider:
    """The provider behind `{base_url}/ent/v2`. `api_key` is asked for at each call, so that it can be rotated."""

    name = "vidu"

    def __init__(self, base_url: str, api_key: Callable[[], str]) -> None:
        self._api_key = api_key
        self._calls = ProviderCalls(base_url, lambda: f"Token {api_key()}")

    def ready(self) -> None:
        """Raises `ConfigurationError` if there is no key to call with."""
        self._api_key()

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, mark: str) -> ProviderSnapshot:
        """Create a task, once. `mark` is sent as `payload`, which replies repeat, unless the client gave its own.

        Raises `NotCreatedError` if certainly nothing was created (no byte was sent, or 429), `CreateRejectedError`
        on a clear refusal (4xx), else `CreateAmbiguousError`: also where a reply has no task id, for no document says
        that nothing was created then.
        """
        payload = params.get("payload") or mark
        body = {**params, "payload": payload, "model": model, "callback_url": callback_url}
        return _created(self._calls.create("/ent/v2/reference2video", body))

    def read(self, remote_id: str) -> ProviderSnapshot:
        """Read a task with our own key. Raises `ProviderUnavailableError` if the provider gives no usable answer."""
        if not is_remote_id(remote_id):
            raise ProviderUnavailableError("the id cannot be one of the provider's")
        return read_snapshot(self._calls.read(f"{_path(remote_id)}/creations"), remote_id)

    def cancel(self, remote_id: str) -> None:
        """Ask for the task to be called off; what became of it is for `read` to tell. Safe to repeat.

        Raises `CancelRefusedError` on a clear refusal (the task runs, is over, or is unknown), and
        `ProviderUnavailableError` on every other answer: the task may be called off all the same.
        """
        reply = self._calls.change(f"{_path(remote_id)}/cancel", {"id": remote_id})
        if 200 <= reply.status < 300:
            return
        if not 400 <= reply.status < 500 or reply.status in NO_REFUSAL:
            raise ProviderUnavailableError(f"the provider answered a cancel with HTTP {reply.status}")
        error = _refusal(json_object(reply.body) or {}) or TaskError(
            f"http_{reply.status}", f"The provider refused with HTTP {reply.status}."
        )
        raise CancelRefusedError(error.code, error.message)


def _path(remote_id: str) -> str:
    return f"/ent/v2/tasks/{quote(remote_id, safe='')}"


def _created(reply: Reply) -> ProviderSnapshot:
    content = created_content(reply, _refusal, names=TASK_IDS, unclear=UNCLEAR)
    remote_id = created_id(content.get("task_id") or content.get("id"))
    if remote_id is None:
        raise CreateAmbiguousError(f"HTTP {reply.status} without a task id")
    return read_snapshot(content, remote_id)


def read_snapshot(content: Mapping[str, Any], remote_id: str) -> ProviderSnapshot:
    """A task as the upstream API describes it, in our terms. Never raises: what cannot be read is absent or unknown.

    `credits` are no money: a task of this provider states no cost.
    """
    state = _state(content)
    urls = tuple(dict.fromkeys(_video_urls(content)))[:MAX_VIDEOS]
    payload = text(content.get("payload"))
    return ProviderSnapshot(
        remote_id=remote_id,
        state=state,
        outputs=(ProviderOutput(short_text(remote_id), "done", urls),) if urls else (),
        error=_failure(content) if state is ProgressState.FAILED else None,
        model=short_text(content.get("model")),
        created_at=milliseconds(content.get("created_at")),
        mark=payload if payload and payload.startswith(MARK_PREFIX) else None,
    )


def _state(content: Mapping[str, Any]) -> ProgressState:
    word = content.get("state") or content.get("status")
    state = STATES.get(str(word).lower(), ProgressState.UNKNOWN)
    if state is ProgressState.FAILED and (text(content.get("err_code")) or "").lower() in USER_CANCELED:
        return ProgressState.CANCELED
    return state


def _video_urls(content: Mapping[str, Any]) -> Iterator[str]:
    """The videos that were ordered: never the cover, nor the copy with a watermark."""
    for creation in list_field(content.get("creations")):
        if isinstance(creation, dict) and (url := video_link(creation.get("url"))):
            yield url


def _failure(content: Mapping[str, Any]) -> TaskError | None:
    code, message = text(content.get("err_code")), text(content.get("err_msg")) or text(content.get("message"))
    return task_error(code, message) if code or message else None


def _refusal(content: Mapping[str, Any]) -> TaskError | None:
    """The error of an HTTP reply: `{"code": 400, "reason", "message", "metadata"}`."""
    code, message = text(content.get("reason")) or text(content.get("code")), text(content.get("message"))
    return task_error(code, message) if code or message else None
