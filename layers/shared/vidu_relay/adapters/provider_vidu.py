"""The `vidu` provider: create, read and cancel a task over the upstream API.

Written against public documents, never a live server: every form they show is read, one form is sent. Unknown fields
are ignored; unknown states are not an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from vidu_relay.adapters.provider_words import ACCOUNT_CODES, CANCELED_WORDS, REQUEST_CODES, WORDS
from vidu_relay.domain.catalogue import find_model
from vidu_relay.domain.errors import CancelRefusedError, ProviderUnavailableError
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderSnapshot, Usage
from vidu_relay.domain.submission import TAG_PREFIX
from vidu_relay.observability import warn_once
from vidu_relay.outbound import task_replies
from vidu_relay.outbound.create_replies import TIMED_OUT, CreateReplies, created_task, refusal
from vidu_relay.outbound.provider_calls import Account, ProviderCalls
from vidu_relay.outbound.reply_fields import clock_offset_ms, milliseconds, short_text, text
from vidu_relay.outbound.reply_reasons import task_failure
from vidu_relay.outbound.task_replies import named_ids, read_outputs, read_state

__all__ = ["NAME", "OWN_BASE", "STATES", "ViduProvider", "read_snapshot"]

NAME = "vidu"
OWN_BASE = "https://api.vidu.com"
SUBJECT_NAMES = {"id": "name"}
STATES: Mapping[str, ProgressState] = {**WORDS, **CANCELED_WORDS}

USER_CANCELED = frozenset({"usercancelled", "usercanceled"})
"""Reasons, in lower case, of a `failed` task that was canceled."""

# 409: no document says what a create call conflicts with. It may be our own task, created and billed.
CREATE_REPLIES = CreateReplies(
    id_field="task_id",
    ambiguous_statuses=TIMED_OUT | {409},
    account_codes=ACCOUNT_CODES,
    request_codes=REQUEST_CODES,
)

NO_REFUSAL = TIMED_OUT | {401, 403, 429}
"""Answers to a cancel that are not about the task: our key, our rate, a server that stopped waiting."""


class ViduProvider:
    """The provider behind `{base_url}/ent/v2`.

    `account` and `refresh` are those of `outbound.provider_calls.ProviderCalls`.
    """

    name = NAME

    def __init__(self, account: Account, refresh: Callable[[str], bool] = lambda _: False) -> None:
        self._calls = ProviderCalls(account, refresh, own_base=OWN_BASE, scheme="Token")
        self.ready = self._calls.ready
        self.refresh_key = self._calls.refresh_key

    def describe_create(self, model: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Path and body of the call that creates a task, without the callback's address and a tag of ours."""
        path, name = _endpoint(model)
        return f"/ent/v2/{path}", {**_renamed(params), "model": name}

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, tag: str) -> ProviderSnapshot:
        """Create a task, once. `tag` is sent as `payload`, which replies repeat, unless the client gave its own.

        Raises a `CreateError` as `outbound.create_replies.created_task` does; `NotCreatedError` if no byte was sent,
        `CreateAmbiguousError` if no whole reply came, and if a 2xx reply has no task id: no document says that nothing
        was created then.
        """
        payload = params.get("payload") or tag
        path, body = self.describe_create(model, params)
        reply = self._calls.create(path, {**body, "payload": payload, "callback_url": callback_url})
        content, remote_id = created_task(reply, CREATE_REPLIES)
        return _known(content, remote_id, clock_offset_ms(reply.headers))

    def read(self, remote_id: str) -> ProviderSnapshot:
        """Read a task with our own key.

        Raises `RemoteTaskNotFoundError` if the provider knows no such task, and `ProviderUnavailableError` if it gives
        no usable answer.
        """
        if not is_remote_id(remote_id):
            raise ProviderUnavailableError("the id cannot be one of the provider's")
        reading = self._calls.read(f"{_path(remote_id)}/creations")
        return _known(reading.content, remote_id, reading.clock_offset_ms)

    def read_callback(self, body: bytes) -> CallbackReport:
        """What a callback's body reports, in the upstream's shape or a gateway's. Never raises."""
        return task_replies.read_callback(body, STATES)

    def cancel(self, remote_id: str) -> None:
        """Ask the provider to cancel the task; only `read` shows whether it did. Safe to repeat.

        Raises `CancelRefusedError` on a clear refusal (the task runs, is over, or is unknown), and
        `ProviderUnavailableError` on every other answer: the task may be canceled all the same.
        """
        reply = self._calls.change(f"{_path(remote_id)}/cancel", {"id": remote_id})
        if 200 <= reply.status < 300:
            return
        if not 400 <= reply.status < 500 or reply.status in NO_REFUSAL:
            raise ProviderUnavailableError(f"the provider answered a cancel with HTTP {reply.status}")
        error = refusal(reply)
        raise CancelRefusedError(error.code, error.message)


def _endpoint(model_id: str) -> tuple[str, str]:
    """Where a model is asked for, and what it is called there.

    A model that this API is not known to have is asked for by its own id, where models of its kind are: the operator
    has allowed that.
    """
    model = find_model(model_id)
    offer = model.offers.get(NAME) if model else None
    if offer:
        return offer.path, offer.model
    return (model.kind if model else "reference2video"), model_id


def _renamed(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with this API's names: a subject has a `name` here, and an `id` at the gateway."""
    subjects = [
        {SUBJECT_NAMES.get(key, key): value for key, value in each.items()} for each in params.get("subjects", ())
    ]
    return {**params, "subjects": subjects} if subjects else dict(params)


def _path(remote_id: str) -> str:
    return f"/ent/v2/tasks/{quote(remote_id, safe='')}"


def _known(content: Mapping[str, Any], remote_id: str, offset_ms: int | None) -> ProviderSnapshot:
    """The snapshot of a reply; an undocumented state is logged."""
    snapshot, unknown_word = _read(content, remote_id)
    if unknown_word:
        warn_once("unknown_provider_state", unknown_word)
    return replace(snapshot, clock_offset_ms=offset_ms)


def read_snapshot(content: Mapping[str, Any], remote_id: str) -> ProviderSnapshot:
    """A task as the upstream API describes it, in our terms. Never raises: what cannot be read is absent or unknown.

    `credits` of a task that succeeded are its bill.
    """
    return _read(content, remote_id)[0]


def _read(content: Mapping[str, Any], remote_id: str) -> tuple[ProviderSnapshot, str | None]:
    outputs = read_outputs(content, remote_id)
    has_video = any(output.video_urls for output in outputs)
    state, unknown_word = read_state(content, ("state", "status"), STATES, has_video=has_video)
    if state is ProgressState.FAILED and (text(content.get("err_code")) or "").lower() in USER_CANCELED:
        state = ProgressState.CANCELED
    payload = text(content.get("payload"))
    snapshot = ProviderSnapshot(
        remote_id=remote_id,
        state=state,
        outputs=outputs,
        error=task_failure(content) if state is ProgressState.FAILED else None,
        usage=_usage(content, state, has_video=has_video),
        model=short_text(content.get("model")),
        created_at=milliseconds(content.get("created_at")),
        tag=payload if payload and payload.startswith(TAG_PREFIX) else None,
        named_ids=named_ids(content),
    )
    return snapshot, unknown_word


def _usage(content: Mapping[str, Any], state: ProgressState, *, has_video: bool) -> Usage | None:
    """The bill in credits; None where the reply does not show it, as before the end.

    Failed tasks are not charged (platform.vidu.com/docs/pricing), whatever price the reply repeats. No document says
    so of canceled tasks: only a stated 0 counts.
    """
    if state is ProgressState.FAILED:
        return Usage(credits="0")
    billed = short_text(content.get("credits"))
    if state is ProgressState.SUCCEEDED and has_video:
        return Usage(credits=billed) if billed is not None else None
    return Usage(credits="0") if state is ProgressState.CANCELED and billed == "0" else None
