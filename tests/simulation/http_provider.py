"""A provider behind the deployed adapters: it answers over HTTP, and misbehaves in HTTP's own ways."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from itertools import count
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit
from weakref import WeakValueDictionary

from tests.simulation.effects import Effects
from tests.simulation.provider import Clock, CreateCall, SimulatedProvider
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderSnapshot
from vidu_relay.domain.submission import TAG_PREFIX
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply


class CreateBehaviour(Enum):
    """How a create call ends. What it says stands first, what it did second."""

    NOT_SENT = ("no connection", "nothing")
    THROTTLED = ("429", "nothing")
    REJECTED = ("400", "rejected")
    NO_ID = ("200 without an id", "rejected")
    BUSY = ("503", "created")
    BUSY_UNKNOWN = ("503", "unknown")
    BROKEN = ("500", "created")
    TIMED_OUT = ("no reply", "created")
    GARBLED = ("200 with HTML", "created")
    DENIED = ("429", "denied")
    THROTTLED_WITH_ID = ("429 with an id", "created")
    REJECTED_WITH_ID = ("400 with an id", "created")
    THROTTLED_WITH_WRONG_ID = ("429 with the id of nothing", "nothing")
    UNPAID = ("402", "nothing")


class CancelBehaviour(Enum):
    """How a cancel call ends: what it says, whether it cancels, and whether a read shows that."""

    LOST = ("no reply", False)
    REPLY_LOST = ("no reply", True)
    BUSY = ("503", False)
    BUSY_CANCELED = ("503", True)
    THROTTLED = ("429", False)
    REFUSED = ("400", False)
    IGNORED = ("200", False)
    REFUSED_CANCELED = ("400", True)


_CREATES = frozenset({"created", "denied"})
_WORDS = {
    ProgressState.PENDING: "pending",
    ProgressState.PROCESSING: "processing",
    ProgressState.SUCCEEDED: "completed",
    ProgressState.FAILED: "failed",
    ProgressState.UNKNOWN: "resting",
    ProgressState.CANCELED: "canceled",
}
_VIDU_WORDS = {ProgressState.PENDING: "queueing", ProgressState.SUCCEEDED: "success"}
_providers: WeakValueDictionary[str, "HttpProvider"] = WeakValueDictionary()
_numbers = count()


class HttpProvider(SimulatedProvider):
    """The `gateway` adapter, or another, talking to what `SimulatedProvider` remembers. Only inside `provider_http`."""

    adapter: type[GatewayProvider | ViduProvider] = GatewayProvider

    def __init__(self, clock: Clock, effects: Effects, key: Callable[[], str]) -> None:
        super().__init__(clock, effects, key)
        self.name = self.adapter.name
        host = f"provider-{next(_numbers)}.example.com"
        _providers[host] = self
        self.behaviours: list[CreateBehaviour] = []
        """How the next create calls end; one is used up by each, and then they go well."""
        self.cancel_behaviours: list[CancelBehaviour] = []
        """The same of cancel calls."""
        self.confused: dict[str, str] = {}
        """Which other task a read of an id shows."""
        self.adapted = self.adapter(lambda: (f"https://{host}", key()))

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, tag: str) -> ProviderSnapshot:
        made: ProviderSnapshot = self._effects.perform(
            "provider.create", lambda: self.adapted.create(model, params, callback_url, tag=tag)
        )
        return made

    def _read(self, remote_id: str) -> ProviderSnapshot:
        self.reads.append(remote_id)
        return self.adapted.read(remote_id)

    def _cancel(self, remote_id: str) -> None:
        self.cancels.append(remote_id)
        self.adapted.cancel(remote_id)

    def read_callback(self, body: bytes) -> CallbackReport:
        return self.adapted.read_callback(body)

    def refresh_key(self) -> bool:
        return False

    def proves(self, remote_id: str) -> bool:  # noqa: ARG002 - the other provider reads it
        """Whether what a read shows proves for which of our tasks it was created."""
        return True

    def callback(self, remote_id: str) -> tuple[str, str, dict[str, Any]]:
        """Task, token and body of a callback that tells the truth."""
        task_id = self.made_for[remote_id]
        url = next(call.callback_url for call in self.calls if f"/{task_id}?" in call.callback_url)
        return task_id, parse_qs(urlsplit(url).query)["token"][0], self._document(remote_id)

    def answer(self, method: str, url: str, body: bytes | None) -> Reply:
        """What the provider's server says."""
        if method == "GET":
            return self._show(urlsplit(url).path.rpartition("/")[2])
        content = json.loads(body or b"")
        params = content["input"][0]["params"]
        return self._take(CreateCall(content["model"], params, params["callback_url"], ""))

    def _show(self, remote_id: str) -> Reply:
        remote_id = self.confused.get(remote_id, remote_id.lower())
        if self.unavailable or remote_id not in self.remote:
            return Reply(503 if self.unavailable else 404, {}, b"<html>sorry</html>")
        return Reply(200, {}, json.dumps(self._document(remote_id)).encode())

    def _take(self, call: CreateCall) -> Reply:
        behaviour = self.behaviours.pop(0) if self.behaviours else None
        if behaviour is CreateBehaviour.NOT_SENT:
            raise NotSentError("ConnectTimeout")
        return self._reply(self._serve(call, behaviour), behaviour)

    def _serve(self, call: CreateCall, behaviour: CreateBehaviour | None) -> str:
        self.calls.append(call)
        outcome = behaviour.value[1] if behaviour else "created"
        task_id = urlsplit(call.callback_url).path.rpartition("/")[2]
        self.outcomes.append((task_id, outcome))
        if outcome not in _CREATES:
            return ""
        remote_id = f"gen-{len(self.remote) + 1}"
        made = ProviderSnapshot(remote_id, self.reply_state, created_at=self._clock(), tag=call.tag or None)
        self.remote[remote_id], self.shown[remote_id], self.made_for[remote_id] = made, [made], task_id
        if self.finishes_at_once:
            self.finish(remote_id)
        return remote_id

    def _reply(self, remote_id: str, behaviour: CreateBehaviour | None) -> Reply:
        if behaviour is None:
            return Reply(200, {}, json.dumps(self._document(remote_id)).encode())
        if behaviour is CreateBehaviour.TIMED_OUT:
            raise BrokenExchangeError("ReadTimeout")
        if behaviour is CreateBehaviour.GARBLED:
            return Reply(200, {}, b"<html>welcome</html>")
        if behaviour is CreateBehaviour.NO_ID:
            return Reply(200, {}, json.dumps({"error": {"code": "008017005", "message": "no"}}).encode())
        status, _, named = behaviour.value[0].partition(" with ")
        content = {"message": "sorry", **({"id": remote_id or "gen-of-nothing"} if named else {})}
        return Reply(int(status), {}, json.dumps(content).encode())

    def _document(self, remote_id: str) -> dict[str, Any]:
        snapshot = self.remote[remote_id]
        found: dict[str, Any] = {
            "id": remote_id,
            "status": _WORDS[snapshot.state],
            "model": "viduq2_pro_fast_reference2video",
            "created_at": snapshot.created_at,
        }
        if snapshot.outputs:
            found["output"] = [
                {"task_id": o.task_id, "results": [{"type": "video", "url": url} for url in o.video_urls]}
                for o in snapshot.outputs
            ]
        if snapshot.error:
            found["error"] = {"code": snapshot.error.code, "message": snapshot.error.message}
        if snapshot.usage:
            found["usage"] = {"cost": snapshot.usage.cost, "discount": 1}
        return found


class HttpVidu(HttpProvider):
    """The same behind the `vidu` adapter: it returns a correlation tag, and can cancel."""

    adapter = ViduProvider

    def answer(self, method: str, url: str, body: bytes | None) -> Reply:
        *_, remote_id, verb = urlsplit(url).path.split("/")
        if method == "GET":
            return self._show(remote_id)
        content = json.loads(body or b"")
        if verb == "cancel":
            return self._cancel_remote(remote_id)
        return self._take(CreateCall(content["model"], content, content["callback_url"], content["payload"]))

    def proves(self, remote_id: str) -> bool:
        """It does not say when the task was created; the tag is missing where the client gave a payload."""
        return (self.remote[remote_id].tag or "").startswith(TAG_PREFIX)

    def _cancel_remote(self, remote_id: str) -> Reply:
        behaviour = self.cancel_behaviours.pop(0) if self.cancel_behaviours else None
        says, does = behaviour.value if behaviour else ("200", self.cancel_shows)
        running = self.remote[remote_id].state in (ProgressState.PENDING, ProgressState.PROCESSING)
        if does and running:
            self.show(remote_id, ProgressState.CANCELED)
        if says == "no reply":
            raise BrokenExchangeError("ReadTimeout")
        if says == "200" and not running:
            says = "400"
        content = {"code": int(says), "reason": "BadRequest", "message": "can not cancel"} if says != "200" else {}
        return Reply(int(says), {}, json.dumps(content).encode())

    def _document(self, remote_id: str) -> dict[str, Any]:
        snapshot = self.remote[remote_id]
        found: dict[str, Any] = {"id": remote_id, "task_id": remote_id, "payload": snapshot.tag}
        found["state"] = _VIDU_WORDS.get(snapshot.state) or _WORDS[snapshot.state]
        if snapshot.state is ProgressState.CANCELED and int(remote_id.rpartition("-")[2]) % 2:
            found |= {"state": "failed", "err_code": "UserCancelled"}
        found["creations"] = [{"id": "1", "url": url} for url in snapshot.video_urls]
        if snapshot.error:
            found |= {"err_code": snapshot.error.code, "err_msg": snapshot.error.message}
        return found


def _answer(method: str, url: str, *, body: bytes | None = None, **_: Any) -> Reply:
    return _providers[str(urlsplit(url).hostname)].answer(method, url, body)


@contextmanager
def provider_http() -> Iterator[None]:
    """HTTP to these providers, and to no other host, is answered in memory."""
    with patch.object(provider_calls, "exchange", _answer):
        yield
