"""Replies of a provider for tests, and arbitrary ones for hypothesis."""

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import Reply

AnyProvider = GatewayProvider | ViduProvider
PROVIDERS = pytest.mark.parametrize("kind", [GatewayProvider, ViduProvider])

NAMES = (
    "id", "task_id", "request_id", "trace_id", "status", "state", "data", "error", "errors", "code", "error_code",
    "err_code", "message", "msg", "detail", "reason", "title", "base_resp", "status_msg", "status_code", "loc",
    "output", "results", "content", "creations", "url", "type", "jobId", "task_status", "usage", "cost", "discount",
    "metadata", "remote_task_id", "model", "created_at", "payload", "task_status_msg", "fail_reason",
)  # fmt: skip
WORDS = (
    "completed", "failed", "success", "created", "https://cdn.example/v.mp4", "\ud83d", "half \ud83d", "\udc00\ud83d",
    "40201", "402", "UserCancelled", "video", "remote-1", "2027-01-15T08:00:00Z", "", "vidu-relay:\ud83d",
)  # fmt: skip

surrogates = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | surrogates | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=16,
)
bodies = (
    json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.binary(max_size=40)
)
headers = st.dictionaries(
    st.sampled_from(["date", "retry-after", "age"]),
    st.text(max_size=8) | st.sampled_from(["Tue, 06 May 2025 12:09:42 GMT", "7", "Tue, 99 May 2025 12:09:42 GMT"]),
)
replies = st.builds(
    Reply, st.sampled_from([200, 201, 204, 302, 400, 401, 402, 403, 404, 408, 409, 422, 429, 499, 500, 503]),
    headers, bodies,
)  # fmt: skip


def reply(status: int, body: Any = None, **more: str) -> Reply:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Reply(status, more, content)


class Wire:
    """Takes the place of the exchange: answers with a reply or an error, and keeps what was asked."""

    def __init__(self, answer: Reply | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        monkeypatch.setattr(provider_calls, "exchange", self)

    def __call__(self, method: str, url: str, **arguments: Any) -> Reply:
        self.asked.append((method, url, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.asked[-1][2]["body"])
        return found
