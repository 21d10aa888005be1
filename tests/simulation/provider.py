"""A provider, its video host and a clock that do what a test says, and remember what was asked of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from tests.simulation.effects import Effects
from tests.unit.builders import mp4_of
from vidu_relay.adapters.client_webhook import ClientWebhook, WebhookAnswer, origin_of
from vidu_relay.adapters.provider_gateway import INCONCLUSIVE_CODES, GatewayProvider
from vidu_relay.adapters.video_source import VideoSource, VideoStream
from vidu_relay.domain.errors import (
    BadSourceError,
    CancelRefusedError,
    CreateAmbiguousError,
    CreateRejectedError,
    DeliveryError,
    NotCreatedError,
    NotificationFailedError,
    ProviderError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
)
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderOutput, ProviderSnapshot, TaskError, Usage
from vidu_relay.outbound.address_guard import AddressGuard

NOON = 1_795_424_400_000
"""Where every test's clock begins, in ms."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


class LostReplyError(CreateAmbiguousError):
    """In a script: the provider creates the task, and its reply never arrives."""


class DeniedCreateError(NotCreatedError):
    """In a script: the provider creates the task, and says that it did not."""


@dataclass(frozen=True, slots=True)
class CreateCall:
    model: str
    params: Mapping[str, Any]
    callback_url: str
    tag: str = field(compare=False)  # another one for each attempt


class SimulatedProvider:
    """The `Provider` protocol over a dictionary of remote tasks."""

    name = "gateway"

    def __init__(self, clock: Clock, effects: Effects, key: Callable[[], str]) -> None:
        self._clock = clock
        self._effects = effects
        self._key = key
        self.create_faults: list[ProviderError] = []
        """What the next create calls end with; one is used up by each."""
        self.cancel_faults: list[ProviderError] = []
        """What the next cancel calls end with; one is used up by each. None of them cancels."""
        self.cancels: list[str] = []
        self.cancel_shows = True
        """Whether a read shows a cancel at once."""
        self.key_changed = False
        """Whether the operator has put a new key into the secret."""
        self.before_cancel: Callable[[], None] = lambda: None
        self.unavailable = False
        self.calls: list[CreateCall] = []
        self.reads: list[str] = []
        self.remote: dict[str, ProviderSnapshot] = {}
        self.reply_id: str | None = None
        """Answer creates with this id instead of a new one."""
        self.reply_state = ProgressState.PENDING
        self.before_reply: Callable[[], None] = lambda: None
        self.finishes_at_once = False
        """Whether a task created from now on is done as soon as its create call has been answered."""
        self.outcomes: list[tuple[str, str]] = []
        """Of each create call: for which of our tasks, and `created`, `nothing`, `denied` or `rejected`."""
        self.made_for: dict[str, str] = {}
        """Which of our tasks a remote task was created for."""
        self.shown: dict[str, list[ProviderSnapshot]] = {}
        """Everything that a read of a remote task could ever have given."""

    def ready(self) -> None:
        self._key()

    def describe_create(self, model: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return GatewayProvider(lambda: ("https://provider.example.com", self._key()), lambda _: False).describe_create(
            model, params
        )

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, tag: str) -> ProviderSnapshot:
        made: ProviderSnapshot = self._effects.perform(
            "provider.create", lambda: self._create(CreateCall(model, params, callback_url, tag))
        )
        return made

    def read(self, remote_id: str) -> ProviderSnapshot:
        found: ProviderSnapshot = self._effects.perform("provider.read", lambda: self._read(remote_id))
        return found

    def read_callback(self, body: bytes) -> CallbackReport:
        return GatewayProvider(lambda: ("", self._key())).read_callback(body)

    def refresh_key(self) -> bool:
        return self.key_changed

    def cancel(self, remote_id: str) -> None:
        self._effects.perform("provider.cancel", lambda: self._cancel(remote_id))

    def show(self, remote_id: str, state: ProgressState, **fields: Any) -> None:
        """From now on a read of the task gives this."""
        self.remote[remote_id] = replace(self.remote[remote_id], state=state, **fields)
        self.shown.setdefault(remote_id, []).append(self.remote[remote_id])

    def finish(self, remote_id: str, *urls: str, host: str = "https://cdn.example.com") -> None:
        """The task is done, with one output and these videos (one by default)."""
        links = urls or (f"{host}/{remote_id}.mp4?Signature=a",)
        output = ProviderOutput(f"up-{remote_id}", "done", links)
        self.show(
            remote_id, ProgressState.SUCCEEDED, outputs=(output,), usage=Usage("0.20", "1"), upstream_id=output.task_id
        )

    def fail(self, remote_id: str, code: str = "008017050", message: str = "The prompt is not acceptable.") -> None:
        conclusive = code not in INCONCLUSIVE_CODES
        self.show(remote_id, ProgressState.FAILED, error=TaskError(code, message), conclusive=conclusive)

    def _create(self, call: CreateCall) -> ProviderSnapshot:
        self.calls.append(call)
        fault = self.create_faults.pop(0) if self.create_faults else None
        task_id = urlsplit(call.callback_url).path.rpartition("/")[2]
        self.outcomes.append((task_id, _outcome(fault)))
        if fault and not isinstance(fault, LostReplyError | DeniedCreateError):
            raise fault
        remote_id = self.reply_id or f"gen-{len(self.remote) + 1}"
        made = ProviderSnapshot(remote_id, self.reply_state, created_at=self._clock())
        self.remote[remote_id] = made
        self.made_for[remote_id] = task_id
        self.shown[remote_id] = [made]
        if self.reply_state is ProgressState.SUCCEEDED:
            self.finish(remote_id)
        elif self.reply_state is ProgressState.FAILED:
            self.fail(remote_id)
        self.before_reply()
        reply = self.remote[remote_id]
        if self.finishes_at_once:
            self.finish(remote_id)
        if fault:
            raise fault
        return reply

    def _cancel(self, remote_id: str) -> None:
        self._key()
        self.cancels.append(remote_id)
        self.before_cancel()
        if self.cancel_faults:
            raise self.cancel_faults.pop(0)
        if self.remote[remote_id].state not in (ProgressState.PENDING, ProgressState.PROCESSING):
            raise CancelRefusedError("BadRequest", "task state is over, can not cancel")
        if self.cancel_shows:
            self.show(remote_id, ProgressState.CANCELED)

    def _read(self, remote_id: str) -> ProviderSnapshot:
        self._key()
        self.reads.append(remote_id)
        if self.unavailable:
            raise ProviderUnavailableError("the provider answered a read with HTTP 503")
        if remote_id not in self.remote:
            raise RemoteTaskNotFoundError("the provider answered a read with HTTP 404")
        return self.remote[remote_id]


def _outcome(fault: ProviderError | None) -> str:
    if isinstance(fault, DeniedCreateError):
        return "denied"
    if isinstance(fault, NotCreatedError):
        return "nothing"
    return "rejected" if isinstance(fault, CreateRejectedError) else "created"


mp4 = mp4_of
"""The smallest video in MP4 with these bytes as its media data."""


class _SimulatedStream(VideoStream):
    def __init__(self, data: bytes, effects: Effects, *, known_length: bool) -> None:
        self._data = data
        self._effects = effects
        self._count = 0
        self.length = len(data) if known_length else None

    def read(self, size: int) -> bytes:
        block: bytes = self._effects.perform("source.read", lambda: self._data[:size])
        self._data = self._data[size:]
        self._count += len(block)
        return block


class SimulatedSource(VideoSource):
    """The video host: serves a video for every link, but for `faults`, `expired` and `files`."""

    def __init__(self, effects: Effects) -> None:
        super().__init__(AddressGuard(), 1 << 30)
        self._effects = effects
        self.faults: list[DeliveryError] = []
        """What the next links opened end with; one is used up by each."""
        self.expired: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.padding = b""
        """What makes every video longer."""
        self._faulty = False
        self.opened: list[str] = []
        self.probed = 0
        """How often only the first bytes were asked for."""
        self.known_length = True

    @property
    def faulty(self) -> bool:
        """Whether any video was ever to be served wrongly."""
        return bool(self._faulty or self.faults or self.expired or self.files)

    def video(self, url: str) -> bytes:
        """What is served under a link: the same for every signature of the same path."""
        return self.files.get(url, mp4(url.partition("?")[0].encode() * 100 + self.padding))

    @contextmanager
    def open(
        self,
        url: str,
        *,
        deadline: float,  # noqa: ARG002 - no test waits for it
        first_bytes: int | None = None,
    ) -> Iterator[VideoStream]:
        self._effects.perform("source.open", lambda: self.opened.append(url))
        self.probed += first_bytes is not None
        if self.faults:
            self._faulty = True
            raise self.faults.pop(0)
        if url in self.expired:
            raise BadSourceError("source_refused", "The video link answers HTTP 403.")
        yield _SimulatedStream(self.video(url), self._effects, known_length=self.known_length)


class SimulatedWebhook(ClientWebhook):
    """Clients' endpoints: every one answers 204, but for `faults` by origin."""

    def __init__(self, effects: Effects) -> None:
        super().__init__(AddressGuard())
        self._effects = effects
        self.received: list[tuple[str, bytes, Mapping[str, str]]] = []
        """Address, body and headers of every try, taken or not."""
        self.faults: dict[str, NotificationFailedError] = {}
        self.seconds: dict[str, float] = {}
        """How long a call of an origin takes; no time at all where none is given."""
        self.sleep: Callable[[float], None] = lambda _: None

    @override
    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookAnswer:
        answer: WebhookAnswer = self._effects.perform("webhook.post", lambda: self._post(url, body, headers))
        return answer

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookAnswer:
        self.received.append((url, body, headers))
        self.sleep(self.seconds.get(origin_of(url), 0))
        fault = self.faults.get(origin_of(url))
        if fault:
            raise fault
        return WebhookAnswer(204, "thanks")
