"""What the reply to a create call means: a task, a refusal, or an unknown outcome.

The status decides which error it is. Ids that the reply names ride along with every error: a reply that names an id
may have created that task, whatever else it contains; an authenticated read shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateAmbiguousError,
    CreateRejectedError,
    ThrottledError,
)
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.outbound.exchange import Reply
from vidu_relay.outbound.reply_fields import TASK_IDS, json_value, retry_after_seconds, task_error, task_id, unwrapped
from vidu_relay.outbound.reply_reasons import error_codes, quoted_body, reason
from vidu_relay.outbound.task_replies import candidate_ids, task_objects

__all__ = ["TIMED_OUT", "CreateReplies", "created_task", "refusal"]

TIMED_OUT = frozenset({408, 499})
"""The server, or a proxy before it, stopped waiting: what was asked for may have happened all the same."""

ACCOUNT_STATUSES = frozenset({"401", "402", "403"})
"""They also stand as codes under other statuses."""

NO_ID = TaskError("provider_rejected", "The provider answered without a task id")


@dataclass(frozen=True, slots=True)
class CreateReplies:
    """Where the providers' create replies differ.

    - `id_field` names the created task in a 2xx reply.
    - `ambiguous_statuses` are 4xx statuses after which the task may exist.
    - `no_id_is_refusal` says that a 2xx reply without any id has created nothing.
    - `full_code` completes an error code.
    - `account_codes`, in lower case, refuse our account under any status, as the statuses themselves do.
    - `request_codes`, in lower case, blame the request, whatever stands beside them: a prompt that is refused with 403
      is no reason to hold back every other task.
    """

    id_field: str
    ambiguous_statuses: frozenset[int] = TIMED_OUT
    no_id_is_refusal: bool = False
    full_code: Callable[[str], str] = str
    account_codes: frozenset[str] = frozenset()
    request_codes: frozenset[str] = frozenset()

    def blame_account(self, status: int, codes: frozenset[str]) -> bool:
        """Whether a reply with this status and these codes, in lower case, refuses our account."""
        return bool({str(status), *codes} & (ACCOUNT_STATUSES | self.account_codes)) and not codes & self.request_codes


def created_task(reply: Reply, replies: CreateReplies) -> tuple[dict[str, Any], str]:
    """The task that a create call made, as the reply describes it, and its id.

    Raises, with the ids that the reply names as `candidates`:

    - `AccountRefusedError` on 401, 402, 403, and on one of `account_codes` in another 4xx or in a 2xx without an id;
      not where one of `request_codes` blames the request;
    - `ThrottledError` on 429;
    - `CreateRejectedError` on every other 4xx, and on a 2xx without an id where `no_id_is_refusal`;
    - `CreateAmbiguousError` on everything else.
    """
    content = json_value(reply.body)
    candidates = candidate_ids(content)
    codes = error_codes(content)
    if 200 <= reply.status < 300:
        return _taken(reply, content, candidates, replies)
    if not 400 <= reply.status < 500 or reply.status in replies.ambiguous_statuses:
        raise CreateAmbiguousError(f"HTTP {reply.status}", candidates=candidates)
    error = refusal(reply, replies.full_code)
    if replies.blame_account(reply.status, codes):
        raise AccountRefusedError(reply.status, error.code, error.message, candidates=candidates)
    if reply.status == 429:
        wait = retry_after_seconds(reply.headers.get("retry-after"))
        raise ThrottledError("HTTP 429", wait, candidates=candidates)
    raise CreateRejectedError(error.code, error.message, candidates=candidates)


def refusal(reply: Reply, full_code: Callable[[str], str] = str, otherwise: TaskError | None = None) -> TaskError:
    """Why a reply refuses: its code and message; where it has neither or no message, the beginning of its body.

    `otherwise` is a code and a sentence in place of the HTTP status.
    """
    otherwise = otherwise or TaskError(
        f"http_{reply.status}", f"The provider refused the request with HTTP {reply.status}"
    )
    code, message = reason(json_value(reply.body))
    if message is None:
        quoted = quoted_body(reply.body)
        message = f"{otherwise.message}: {quoted}" if quoted else f"{otherwise.message}."
        code = code or otherwise.code
    return task_error(full_code(code) if code else None, message)


def _taken(
    reply: Reply, content: Any, candidates: tuple[str, ...], replies: CreateReplies
) -> tuple[dict[str, Any], str]:
    if not isinstance(content, dict):
        message = f"HTTP {reply.status} with a body that is not a JSON object"
        raise CreateAmbiguousError(message, candidates=candidates)
    task = unwrapped(content)
    remote_id = task_id(task.get(replies.id_field))
    if remote_id:
        return task, remote_id
    if any(_named(content)):
        message = f"HTTP {reply.status} names a task in an unknown way"
        raise CreateAmbiguousError(message, candidates=candidates)
    error = refusal(reply, replies.full_code, NO_ID)
    if replies.blame_account(reply.status, error_codes(content)):
        raise AccountRefusedError(reply.status, error.code, error.message)
    if not replies.no_id_is_refusal:
        raise CreateAmbiguousError(f"HTTP {reply.status} without a task id")
    raise CreateRejectedError(error.code, error.message)


def _named(content: Any) -> Iterator[Any]:
    """Whatever stands where an id would, usable or not."""
    return (part[name] for part in task_objects(content) for name in TASK_IDS if part.get(name))
