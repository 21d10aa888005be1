"""What a script may say: how the simulator treats one task, from its create call to its last download.

An empty script is the provider on a good day. Every field is checked; an unknown one is refused. Counters (`n`,
`times`) count per task; `None` means without end.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=1_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Bytes = Annotated[int, Field(ge=0, le=8_000_000_000)]
HttpError = Annotated[int, Field(ge=400, le=599)]
CallbackState = Literal["processing", "success", "failed"]
ErrorForm = Literal["envelope", "flat", "string", "object", "html", "text", "empty"]


class ScriptPart(BaseModel):
    """Base of all parts: immutable, unknown fields refused, no silent conversion of strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Throttle(ScriptPart):
    """429 for the first `n` attempts; nothing is created."""

    n: Count | None = 1
    retry_after: int | str | None = None


class ServerError(ScriptPart):
    """5xx for the first `n` attempts; with `created` the task exists all the same."""

    n: Count | None = 1
    status: Annotated[int, Field(ge=500, le=599)] = 500
    created: bool = False
    form: ErrorForm = "flat"


class Hang(ScriptPart):
    """Silence for `seconds`; then the ordinary reply if `created`, else 504."""

    seconds: Seconds
    n: Count | None = 1
    created: bool = False


class LoseReply(ScriptPart):
    """The task is created, the caller never learns it."""

    how: Literal["close", "reset", "half_body"] = "close"
    n: Count | None = 1


class HtmlAnswer(ScriptPart):
    """A proxy's error page in place of JSON."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    n: Count | None = 1
    created: bool = False


class Reject(ScriptPart):
    """A clear refusal, every time; nothing is created."""

    status: HttpError = 400
    form: ErrorForm = "object"
    code: str | int = "008017099"
    message: str = "Task creation error"


class CreateScript(ScriptPart):
    """The create call. Faults are used up in the order of the fields, each `n` times, before an ordinary answer.

    `fetch_images` reads every reference image first, and refuses the call if one cannot be read or used.
    """

    throttle: Throttle | None = None
    server_error: ServerError | None = None
    hang: Hang | None = None
    lose_reply: LoseReply | None = None
    html: HtmlAnswer | None = None
    reject: Reject | None = None
    fetch_images: bool = False
    immediate: Literal["completed", "failed"] | None = None
    reply_without_id: bool = False


class Flap(ScriptPart):
    """`n` polls answered wrongly, once `after` polls went well."""

    kind: Literal["status", "close", "reset", "half_body", "html", "hang"] = "status"
    n: Count | None = 1
    after: Count = 0
    status: HttpError = 503
    seconds: Seconds = 30


class UnknownStatus(ScriptPart):
    """`n` polls that carry a status no document names."""

    value: str = "reviewing"
    n: Count | None = 1


class WithoutUrl(ScriptPart):
    """`n` polls that say completed and show no video."""

    n: Count | None = 1
    how: Literal["empty_results", "no_output", "null_url"] = "empty_results"


class PollScript(ScriptPart):
    """The poll call. `flap` is one fault or a list, used up in order."""

    flap: Flap | list[Flap] | None = None
    unknown_status: UnknownStatus | None = None
    completed_without_url: WithoutUrl | None = None

    @property
    def flaps(self) -> list[Flap]:
        """`flap` as a list, empty if none is asked for."""
        if self.flap is None:
            return []
        return [self.flap] if isinstance(self.flap, Flap) else self.flap


class ReplyForm(ScriptPart):
    """Which of the forms seen in the wild create and poll replies have."""

    output: Literal["page", "clients"] = "page"
    output_single: bool = False
    pending_status: str = "pending"
    running_status: str = "processing"
    inner_status: str | None = None
    progress: bool = True
    usage: bool = True
    metadata: bool = True
    unknown_fields: bool = False


class CancelScript(ScriptPart):
    """The cancel call, which only the upstream API has. It works while a task waits, for an off-peak one until its end.

    `anytime` lets it work until the end for every task, `never` not at all. `created` of `server_error` means that it
    was carried out all the same, as it always is with `lose_reply`. A cancel shows after `shown_after` polls.
    """

    anytime: bool = False
    never: bool = False
    server_error: ServerError | None = None
    lose_reply: LoseReply | None = None
    shown_after: Count = 0


class Failure(ScriptPart):
    """A task that ends as failed, and the form of its `error`."""

    code: str = "008017095"
    message: str = "Internal generation error"
    form: Literal["object", "string", "absent"] = "object"
    code_type: Literal["string", "number"] = "string"
    message_key: Literal["message", "error_message"] = "message"


class Outcome(ScriptPart):
    """How the task ends; `finish_late` adds seconds to the generation time, `never_finish` never lets it end."""

    fail: Failure | None = None
    finish_late: Seconds = 0
    never_finish: bool = False


class Forgery(ScriptPart):
    """A false callback, sent when the task enters the state `on`. It is signed like a true one if `signed`."""

    kind: Literal["wrong_state", "other_task", "nonsense", "huge"]
    on: Literal["created", "processing", "success", "failed"] = "processing"
    claim: CallbackState = "success"
    n: Count = 1
    bytes: Annotated[int, Field(ge=0, le=64_000_000)] = 2_000_000
    signed: bool = True
    wrong_token: bool = False


class CallbackScript(ScriptPart):
    """The callbacks of a task. `drop` and `delay` leave forgeries alone."""

    drop: bool | list[CallbackState] = False
    duplicate: Count = 0
    delay: Seconds = 0
    reorder: bool = False
    forge: list[Forgery] = []
    signature: Literal["good", "bad", "none"] = "good"
    wrong_token: bool = False
    form: Literal["gateway", "upstream"] = "gateway"
    id: Literal["gateway", "upstream"] = "gateway"


class VideoFault(ScriptPart):
    """One way in which a download goes wrong, for the first `times` downloads of a task (`None`: all).

    A redirect leads `to` an address; "inward" is AWS's metadata service, "loop" the link itself.
    """

    kind: Literal[
        "truncate", "short", "corrupt", "endless", "stall", "reset", "html_200", "redirect", "zero_length", "status"
    ]
    times: Count | None = None
    after_bytes: Bytes | None = None
    seconds: Seconds = 3600
    status: HttpError = 404
    to: str = "loop"


class VideoScript(ScriptPart):
    """The videos of a task and how they are served."""

    count: Annotated[int, Field(ge=1, le=20)] = 1
    size_bytes: Bytes = 0
    layout: Literal["moov_last", "moov_first", "fragmented"] = "moov_last"
    url_lifetime_seconds: Seconds = 3600
    expire_first: Count = 0
    framing: Literal["length", "no_length", "chunked", "gzip"] = "length"
    slow_bytes_per_second: Annotated[int, Field(ge=1)] | None = None
    fault: VideoFault | None = None


class BooksScript(ScriptPart):
    """What the upstream API's list of tasks shows of the task, and its bill in credits everywhere (None: the usual)."""

    hidden: bool = False
    show_credits: bool = False
    credits: Count | None = None


class Script(ScriptPart):
    """Everything that may be said about one task."""

    generation_seconds: Seconds | None = None
    create: CreateScript = CreateScript()
    poll: PollScript = PollScript()
    cancel: CancelScript = CancelScript()
    reply: ReplyForm = ReplyForm()
    outcome: Outcome = Outcome()
    callbacks: CallbackScript = CallbackScript()
    videos: VideoScript = VideoScript()
    books: BooksScript = BooksScript()


class Match(ScriptPart):
    """Which create calls a script is for: all conditions given must hold; none given means every call."""

    prompt_contains: str | None = None
    payload_contains: str | None = None
    callback_url_contains: str | None = None

    def accepts(self, params: dict[str, Any]) -> bool:
        """True if the parameters of a create call (unvalidated) meet every condition."""
        wanted = {
            "prompt": self.prompt_contains,
            "payload": self.payload_contains,
            "callback_url": self.callback_url_contains,
        }
        return all(text is None or text in str(params.get(name, "")) for name, text in wanted.items())


class ScriptRequest(ScriptPart):
    """Body of `POST /_simulator/scripts`: `times` is the number of requests it serves before it is spent."""

    match: Match = Match()
    times: Annotated[int, Field(ge=1)] | None = None
    script: Script


def patched(script: Script, patch: dict[str, Any]) -> Script:
    """`script` with `patch` merged in (objects merge, everything else replaces).

    Raises `pydantic.ValidationError` where the result is not a script.
    """
    return Script.model_validate(_merged(script.model_dump(), patch))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        result[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result
