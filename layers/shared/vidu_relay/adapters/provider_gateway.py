"""The `gateway` provider: create and read a task over its HTTP API.

Written against public documents and clients, never a live server: every reply form they show is read, one form is
sent. Unknown fields are ignored; unknown statuses are not an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from vidu_relay.adapters.provider_words import ACCOUNT_CODES, CANCELED_WORDS, REQUEST_CODES, WORDS
from vidu_relay.domain.catalogue import find_model
from vidu_relay.domain.errors import CancelNotSupportedError, ProviderUnavailableError
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderSnapshot, Usage
from vidu_relay.observability import warn_once
from vidu_relay.outbound import task_replies
from vidu_relay.outbound.create_replies import CreateReplies, created_task
from vidu_relay.outbound.provider_calls import Account, ProviderCalls
from vidu_relay.outbound.reply_fields import clock_offset_ms, milliseconds, short_text
from vidu_relay.outbound.reply_reasons import task_failure
from vidu_relay.outbound.task_replies import named_ids, read_outputs, read_state

__all__ = ["INCONCLUSIVE_CODES", "GatewayProvider", "read_snapshot"]

OWN_BASE = "https://cloud.vtrix.ai/model/v1"

INCONCLUSIVE_CODES = frozenset({"008017096", "008017097", "008017098"})
"""Failures of the gateway itself (parsing, HTTP, status check), not of the generation: the video may still come."""


class GatewayProvider:
    """The provider behind `{base_url}/generation`.

    `account` and `refresh` are those of `outbound.provider_calls.ProviderCalls`.
    """

    name = "gateway"

    def __init__(self, account: Account, refresh: Callable[[str], bool] = lambda _: False) -> None:
        self._calls = ProviderCalls(account, refresh, own_base=OWN_BASE, scheme="Bearer")
        self.ready = self._calls.ready
        self.refresh_key = self._calls.refresh_key

    def describe_create(self, model: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Path and body of the call that creates a task, without the callback's address."""
        offer = entry.offers.get(self.name) if (entry := find_model(model)) else None
        return "/generation", {"model": offer.model if offer else model, "input": [{"params": dict(params)}]}

    def create(
        self,
        model: str,
        params: Mapping[str, Any],
        callback_url: str,
        *,
        tag: str,  # noqa: ARG002 - nothing that the gateway is sent comes back in its replies
    ) -> ProviderSnapshot:
        """Create a task, once.

        Raises a `CreateError` as `outbound.create_replies.created_task` does; `NotCreatedError` if no byte was sent,
        `CreateAmbiguousError` if no whole reply came.
        """
        path, body = self.describe_create(model, {**params, "callback_url": callback_url})
        reply = self._calls.create(path, body)
        content, remote_id = created_task(reply, CREATE_REPLIES)
        return _known(content, remote_id, clock_offset_ms(reply.headers))

    def read(self, remote_id: str) -> ProviderSnapshot:
        """Read a task with our own key.

        Raises `RemoteTaskNotFoundError` if the provider knows no such task, and `ProviderUnavailableError` if it gives
        no usable answer.
        """
        if not is_remote_id(remote_id):
            raise ProviderUnavailableError("the id cannot be one of the provider's")
        reading = self._calls.read(f"/generation/task/{quote(remote_id, safe='')}")
        return _known(reading.content, remote_id, reading.clock_offset_ms)

    def read_callback(self, body: bytes) -> CallbackReport:
        """What a callback's body reports, in the gateway's shape or the upstream's. Never raises."""
        return task_replies.read_callback(body, {**WORDS, **CANCELED_WORDS})

    def cancel(self, remote_id: str) -> None:
        """Raises `CancelNotSupportedError`, always: the gateway has no such call."""
        raise CancelNotSupportedError(f"the gateway has no call to cancel {remote_id}")


def _known(content: Mapping[str, Any], remote_id: str, offset_ms: int | None) -> ProviderSnapshot:
    """The snapshot of a reply; an undocumented state is logged."""
    snapshot, unknown_word = _read(content, remote_id)
    if unknown_word:
        warn_once("unknown_provider_state", unknown_word)
    return replace(snapshot, clock_offset_ms=offset_ms)


def read_snapshot(content: Mapping[str, Any], remote_id: str) -> ProviderSnapshot:
    """A task as the gateway describes it, in our terms. Never raises: what cannot be read is absent or unknown."""
    return _read(content, remote_id)[0]


def _read(content: Mapping[str, Any], remote_id: str) -> tuple[ProviderSnapshot, str | None]:
    outputs = read_outputs(content, None)
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    has_video = any(output.video_urls for output in outputs)
    state, unknown_word = read_state(content, ("status", "state"), WORDS, has_video=has_video)
    error = task_failure(content) if state is ProgressState.FAILED else None
    error = replace(error, code=_page_code(error.code)) if error else None
    snapshot = ProviderSnapshot(
        remote_id=remote_id,
        state=state,
        outputs=outputs,
        error=error,
        usage=_usage(content.get("usage")),
        upstream_id=short_text(metadata.get("remote_task_id")) or next((o.task_id for o in outputs if o.task_id), None),
        model=short_text(metadata.get("model")),
        created_at=milliseconds(content.get("created_at")),
        named_ids=named_ids(content),
        conclusive=error is None or error.code not in INCONCLUSIVE_CODES,
    )
    return snapshot, unknown_word


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    cost, discount = short_text(value.get("cost")), short_text(value.get("discount"))
    try:
        discount = str(float(discount)) if discount is not None and math.isfinite(float(discount)) else None
    except ValueError:
        discount = None
    return Usage(cost, discount) if cost is not None or discount is not None else None


def _page_code(code: str) -> str:
    """A code of the page in full: it has nine digits, of which a JSON number loses the leading zeros."""
    return code.zfill(9) if len(code) == 7 and code.isdecimal() and code.startswith("8017") else code


CREATE_REPLIES = CreateReplies(
    id_field="id",
    no_id_is_refusal=True,
    full_code=_page_code,
    account_codes=ACCOUNT_CODES,
    # a JSON number loses the leading zeros
    request_codes=REQUEST_CODES | {"008017001", "008017002", "008017003", "8017001", "8017002", "8017003"},
)
