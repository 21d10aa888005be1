"""A client's backend, and the queue of notifications, in simulated time: what was received, sent and answered."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from operator import attrgetter

from typing_extensions import override

from tests.simulation.effects import Effects
from tests.unit.template import properties
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.notification_queue import NotificationQueue, Received
from vidu_relay.domain.notification import Notification
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_post import PostAnswer, PostFailedError

HOOK = "https://client.example.com/hook"
VISIBILITY_MS = 1000 * properties("NotificationsQueue")["VisibilityTimeout"]


class BackendBehaviour(Enum):
    """How a backend answers one call: by a status, or not at all."""

    WELL = 204
    REDIRECT = 302
    GONE = 410
    BUSY = 503
    SILENT = None


@dataclass(frozen=True, slots=True)
class Call:
    """What the backend received, and how many records the table's stream had then."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    answer: int | None
    position: int


@dataclass(slots=True, eq=False)
class Message:
    """A message in the queue of notifications. Times are in ms."""

    body: str
    sent_at: int
    visible_at: int
    receives: int = 0


@dataclass(slots=True, eq=False)
class Receipt:
    """One receipt of a message. `got` is the answer as the relay got it."""

    message: Message
    receives: int
    at: int
    called: bool = False
    got: int | None = None
    done: bool | None = None
    """What the use case returned; None where it raised, died, or is not over."""


@dataclass
class Backend(ClientWebhook):
    """Answers as `behaviours` say, one after the other, and then 204. The deployed adapter reads the status."""

    effects: Effects
    position: Callable[[], int]
    behaviours: list[BackendBehaviour] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    under_way: dict[int, Receipt] = field(default_factory=dict)
    """By thread."""

    def __post_init__(self) -> None:
        super().__init__(AddressGuard())

    @override
    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        receipt = self.under_way[threading.get_ident()]
        receipt.called = True
        answer: int | None = self.effects.perform("client.post", lambda: self._answer(url, body, headers))
        receipt.got = answer
        if answer is None:
            raise PostFailedError("timeout", "The host took longer than 10 seconds.", slow=True)
        return PostAnswer(answer, None)

    def _answer(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        answer: int | None = (self.behaviours.pop(0) if self.behaviours else BackendBehaviour.WELL).value
        self.calls.append(Call(url, body, headers, answer, self.position()))
        return answer


class MessageQueue(NotificationQueue):
    """The queue in simulated time."""

    def __init__(self, effects: Effects, clock: Callable[[], int]) -> None:
        self._effects = effects
        self._clock = clock
        self.messages: list[Message] = []
        self._received: dict[str, Message] = {}
        self.dead: list[str] = []
        """Bodies of its dead-letter queue's messages."""
        self.waits: list[int] = []
        """For how many seconds messages were put back."""

    def put(self, body: str, at: int | None = None) -> None:
        """Send a message; it is visible from then on."""
        now = self._clock() if at is None else at
        self.messages.append(Message(body, now, now))

    def first(self) -> Message | None:
        """The message that is or will be visible first."""
        return min(self.messages, key=attrgetter("visible_at"), default=None)

    def receive(self, message: Message) -> Received:
        message.receives += 1
        message.visible_at = self._clock() + VISIBILITY_MS
        receipt = str(id(message))
        self._received[receipt] = message
        return Received(message.body, receipt, message.receives, message.sent_at)

    def done(self, message: Message) -> None:
        """Lambda deletes it, if that has not been done."""
        self.messages = [one for one in self.messages if one is not message]

    @override
    def ask(self, notification: Notification, tenant_id: str | None = None) -> None:
        body = json.dumps(asdict(notification))
        self._effects.perform("sqs.send_message", lambda: self.put(body))

    @override
    def put_back(self, message: Received, seconds: int) -> None:
        self._effects.perform("sqs.change_message_visibility", lambda: self._hide(message, seconds))

    def _hide(self, message: Received, seconds: int) -> None:
        assert 1 <= seconds <= 43_200
        self.waits.append(seconds)
        if message.receipt in self._received:
            self._received[message.receipt].visible_at = self._clock() + 1000 * seconds

    @override
    def give_up(self, message: Received) -> None:
        self._effects.perform("sqs.send_message", lambda: self.dead.append(message.body))
