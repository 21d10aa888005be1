"""A client's backend in a story, and the queue of notifications: what was handed over, heard, and answered."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from typing_extensions import override

from tests.unit.template import properties
from tests.unit.usecases.effects import Effects
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.notification_queue import NotificationQueue, Received
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_post import PostAnswer, PostFailedError

__all__ = ["HOOK", "Backend", "BackendMood", "Call", "Handing", "Notice", "NoticeQueue"]

HOOK = "https://client.example.com/hook"
VISIBILITY_MS = properties("NotificationsQueue")["VisibilityTimeout"] * 1000


class BackendMood(Enum):
    """How a backend answers one call: by a status, or not at all."""

    WELL = 204
    MOVED = 302
    GONE = 410
    BUSY = 503
    SILENT = None


@dataclass(frozen=True, slots=True)
class Call:
    """What the backend heard, and how many records the table's stream had then."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    answer: int | None
    position: int


@dataclass(slots=True, eq=False)
class Notice:
    """A message in the queue of notifications."""

    body: str
    sent_at: int
    visible_at: int
    receives: int = 0


@dataclass(slots=True, eq=False)
class Handing:
    """One time that a message was handed over. `got` is the answer as the relay got it."""

    notice: Notice
    receives: int
    at: int
    called: bool = False
    got: int | None = None
    done: bool | None = None
    """What the use case said; None where it raised, died, or is not over."""


@dataclass
class Backend(ClientWebhook):
    """Answers as `moods` say, one after the other, and then well. The status is judged by the adapter as deployed."""

    effects: Effects
    position: Callable[[], int]
    moods: list[BackendMood] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    handings: list[Handing] = field(default_factory=list)
    under_way: dict[int, Handing] = field(default_factory=dict)
    """By thread."""

    def __post_init__(self) -> None:
        super().__init__(AddressGuard())

    @override
    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        handing = self.under_way[threading.get_ident()]
        handing.called = True
        answer: int | None = self.effects.perform("client.post", lambda: self._hear(url, body, headers))
        handing.got = answer
        if answer is None:
            raise PostFailedError("timeout", "The host took longer than 10 seconds.", slow=True)
        return PostAnswer(answer, None)

    def _hear(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        answer: int | None = (self.moods.pop(0) if self.moods else BackendMood.WELL).value
        self.calls.append(Call(url, body, headers, answer, self.position()))
        return answer


class NoticeQueue(NotificationQueue):
    """The queue in the story's time."""

    def __init__(self, effects: Effects, clock: Callable[[], int]) -> None:
        self._effects = effects
        self._clock = clock
        self.notices: list[Notice] = []
        self.dead: list[str] = []

    def put(self, body: str) -> None:
        """A rule puts a notification into the queue."""
        self.notices.append(Notice(body, self._clock(), self._clock()))

    def hand_over(self, notice: Notice) -> Received:
        notice.receives += 1
        notice.visible_at = self._clock() + VISIBILITY_MS
        return Received(notice.body, str(id(notice)), notice.receives, notice.sent_at)

    def done(self, notice: Notice) -> None:
        """Lambda deletes it, if that has not been done."""
        self.notices = [one for one in self.notices if one is not notice]

    @override
    def put_back(self, message: Received, seconds: int) -> None:
        self._effects.perform("sqs.change_message_visibility", lambda: self._hide(message, seconds))

    def _hide(self, message: Received, seconds: int) -> None:
        for notice in self.notices:
            if str(id(notice)) == message.receipt:
                notice.visible_at = self._clock() + 1000 * seconds

    @override
    def give_up(self, message: Received) -> None:
        self._effects.perform("sqs.send_message", lambda: self.dead.append(message.body))
