"""The API's JSON and the details of events, as types; those of models, money, webhooks and batches stand in
`model_documents`, `money_documents`, `webhook_documents` and `batch_documents`. `make schemas` generates every
published schema from them.

In `Annotated`, a text is the description and a mapping has more JSON Schema keywords. mypy compares the types with what
is returned. No function imports this module when it runs: import it under `TYPE_CHECKING`.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.image_format import FILE_ENDINGS
from vidu_relay.domain.states import Status

__all__ = [
    "BillingEvidence", "CallbackTaken", "EventEnvelope", "EventTask", "Fault", "HistoryEntry", "Moment", "Problem",
    "QueuePlace", "Rejection", "State", "Task", "TaskBilling", "TaskDelivery", "TaskError", "TaskFacts", "TaskId",
    "TaskMetadata", "TaskOutput", "TaskPage", "TaskResult", "TaskUsage", "TenantId", "Upload", "UploadRequest",
    "Version", "Video", "VideoTaskEvent",
]  # fmt: skip

TaskId = Annotated[str, {"pattern": f"^{TASK_ID.pattern}$", "examples": ["myswlg5gzefra7xdps2scd42jm"]}]
Moment = Annotated[str, {"format": "date-time"}]
State = Annotated[str, {"enum": [status.value for status in Status]}]
TenantId = Annotated[str, "Whose task it is."]
Version = Annotated[int, {"format": "int64", "minimum": 1}]
Request = Annotated[dict[str, Any], {"$ref": "#/components/schemas/TaskRequest"}]
"""Parameters of a request: the schema is made of `VideoRequest`."""


class TaskError(TypedDict):
    code: str
    message: str


class TaskResult(TypedDict):
    type: Literal["video"]
    url: NotRequired[
        Annotated[
            str, {"format": "uri"}, "Our copy, for at most 15 minutes. Read the task again for more. Not in events."
        ]
    ]
    download_url: NotRequired[
        Annotated[str, {"format": "uri"}, "The same, as a file to save. Only where one task is read."]
    ]


class TaskOutput(TypedDict):
    task_id: Annotated[str | None, "The provider's id of it."]
    task_status: Annotated[str, "`done`, or another word of the provider."]
    results: list[TaskResult]


Output = Annotated[list[TaskOutput], "What the provider made, once it has."]


class TaskUsage(TypedDict):
    cost: Annotated[str | None, "US dollars, an exact decimal as the provider states it."]
    discount: float | None
    credits: NotRequired[Annotated[str, "The bill of a provider that states credits."]]


class BillingEvidence(TypedDict):
    source: Annotated[str, "The cause of the change that it was learned from, as `history` names it."]
    at: Moment


class TaskBilling(TypedDict):
    state: Annotated[
        str,
        {"enum": [state.value for state in BillingState]},
        "`none`: nothing was created at the provider, and nothing will be. `reserved`: the bill is still to come. "
        "`uncertain`: it is not known whether the provider billed the task. `settled`: the provider's books are closed "
        "for it.",
    ]
    reserved_usd: Annotated[str | None, "What a budget counts until the bill is known. US dollars, an exact decimal."]
    cost_usd: Annotated[str | None, "The bill, once settled; null where the provider stated none."]
    evidence: BillingEvidence


class TaskMetadata(TypedDict):
    remote_task_id: Annotated[str | None, "The provider's id."]
    model: str | None


class Video(TypedDict):
    bucket: str
    key: str
    size: Annotated[int, {"minimum": 1}, "Bytes."]
    sha256: Annotated[str, {"pattern": "^[0-9a-f]{64}$"}]
    content_type: str
    duration_seconds: float | None
    width: int | None
    height: int | None
    notes: Annotated[list[str], "Codes for what is odd about the file, such as `track_incomplete`."]


class TaskDelivery(TypedDict):
    attempts: Annotated[int, {"minimum": 1}, "Copies that failed."]
    last_error: Annotated[TaskError | None, "Why the latest copy failed."]
    next_try_at: Annotated[Moment | None, "When it is tried again; null once that is over."]


class HistoryEntry(TypedDict):
    at: Moment
    status: State
    source: str


class TaskFacts(TypedDict):
    """What the API and events say of a task in the same way."""

    task_id: TaskId
    status: Annotated[
        State,
        "Where it stands. `expired` says that the wait is over and that a video may still come: `generated` and "
        "`completed` can follow.",
    ]
    version: Annotated[
        Version,
        "Begins at the second of creation and rises by one with each published change. The higher of two versions of a "
        "task is the later one, also where a later task has the same id.",
    ]
    model: str | None
    created_at: Moment
    updated_at: Moment
    error: Annotated[
        TaskError | None, "Why it failed, expired or was canceled by us. The provider's codes as they come."
    ]
    usage: TaskUsage | None
    billing: NotRequired[Annotated[TaskBilling, "Whether it is paid for. Only events of version 1.0.0 lack it."]]
    metadata: TaskMetadata
    delivery: Annotated[TaskDelivery | None, "How the copy of its videos goes. Null where no copy failed."]
    external_id: NotRequired[Annotated[str, "As the request gave it; missing where it gave none."]]
    labels: NotRequired[Annotated[dict[str, Any], "Texts, as the request gave them; missing where it gave none."]]
    priority: NotRequired[Annotated[int, "As the request gave it; missing where it is 0."]]
    batch_id: NotRequired[Annotated[str, "The batch that it is part of; missing where it is part of none."]]
    content_deleted_at: NotRequired[Annotated[Moment, "When the deletion of its content began."]]


class QueuePlace(TypedDict):
    queued_at: NotRequired[
        Annotated[Moment, "Since when an `accepted` task waits for the provider; missing where it does not wait."]
    ]
    queue_position: NotRequired[
        Annotated[
            int,
            {"minimum": 1},
            "Of an `accepted` task that waits for the provider: 1 for the next of your own waiting tasks. Tenants take "
            "turns. Only where the task is submitted or read alone, and up to 1,000.",
        ]
    ]


class Task(TaskFacts, QueuePlace):
    """A task. A client of the provider can read it: the fields of the provider's answers are among these."""

    request: Annotated[
        Request,
        "The parameters as they were given. Embedded images are shown by their hash (RFC 6920: `ni:///sha-256;…`), "
        "never as bytes.",
    ]
    image_links: NotRequired[
        Annotated[
            dict[str, str],
            "Links to those of your images that the relay keeps, by how `request` names them, for at most 15 minutes. "
            "Only where one task is read.",
        ]
    ]
    output: Output
    videos: Annotated[
        list[Video],
        "The copies in your bucket, checked. Where a task has several videos, those that were copied are here while "
        "others are missing; `completed` says that all are here.",
    ]
    history: Annotated[
        list[HistoryEntry],
        "The states it went through, and what caused each change. `generated` by `delivery_delayed` is a notice: the "
        "task stays in its state.",
    ]


class EventTask(TaskFacts):
    """The task at this version, without what opens anything. Too large for an event, it comes with an empty `output`,
    and of its request with numbers and switches only.
    """

    request: Annotated[
        Request,
        "The parameters that were given. Image URLs end before their query; embedded images are named by their hash "
        "(RFC 6920: `ni:///sha-256;…`).",
    ]
    output: Output
    videos: Annotated[
        list[Video],
        "The copies in your bucket, checked: those that are there, and the first of them where not all fit.",
    ]
    videos_total: NotRequired[
        Annotated[
            int,
            {"minimum": 1},
            "How many videos the task has, only where `videos` lacks some: read the task to get all.",
        ]
    ]


class TaskPage(TypedDict):
    """A page of tasks."""

    tasks: Annotated[list[Task], "Newest first; large parts left out."]
    next_cursor: Annotated[
        str | None,
        "Where the next page begins; null after the last. A page may be short, even empty, and still have a next one.",
    ]


class Fault(TypedDict):
    """One thing wrong with a request."""

    loc: Annotated[str, "Where: names and numbers with dots; empty for the whole."]
    msg: Annotated[str, "What to change."]
    code: NotRequired[Annotated[str, "The provider's code, where one fits."]]


class Problem(TypedDict):
    """Why a request is not served (RFC 9457)."""

    type: Literal["about:blank"]
    title: Annotated[str, "The status' own phrase."]
    status: Annotated[int, "The HTTP status."]
    detail: Annotated[str, "What to change, for people."]
    code: Annotated[str, "The reason, for programs: stable."]
    errors: NotRequired[Annotated[list[Fault], "Every fault, on validation."]]
    task_id: NotRequired[Annotated[str, "The task that has the `external_id` already."]]


class CallbackTaken(TypedDict):
    """The callback was understood."""

    status: Literal["ok"]


class UploadRequest(TypedDict):
    """What is to be uploaded."""

    content_type: Annotated[str, {"enum": [*FILE_ENDINGS]}, "Of the image."]


class Upload(TypedDict):
    """A form that takes one image."""

    url: Annotated[str, {"format": "uri"}, "Where to POST the form (multipart/form-data)."]
    fields: Annotated[dict[str, str], "The form's fields; the image goes last, as `file`."]
    uri: Annotated[str, {"pattern": "^s3://"}, "What to write into `images` afterwards."]
    expires_at: Annotated[Moment, "Until when the form is taken."]


class VideoTaskEvent(TypedDict):
    """The detail of an event about a task."""

    event_id: Annotated[
        str,
        {"pattern": f"^{TASK_ID.pattern}:[1-9][0-9]*$"},
        "`<task_id>:<version>`: the same however often the event comes.",
    ]
    tenant_id: TenantId
    client_callback: NotRequired[Annotated[bool, "Whether the client gave a `callback_url`."]]
    task: EventTask


class Rejection(TypedDict):
    """A dropped file or an event was refused: no task came of it."""

    event_id: Annotated[str, {"pattern": "^.+:rejected$"}, "The same however often the rejection is repeated."]
    tenant_id: Annotated[str | None, "Null where the request acts for no tenant."]
    source: Annotated[str, "The event's source, or the file as `s3://bucket/key`."]
    error: Problem


EventEnvelope = TypedDict(
    "EventEnvelope",
    {
        "version": Annotated[str, "Of EventBridge's envelope."],
        "id": Annotated[str, "EventBridge's: another one when an event is repeated or replayed."],
        "detail-type": str,
        "source": str,
        "account": str,
        "time": Moment,
        "region": str,
        "resources": list[str],
        "replay-name": NotRequired[Annotated[str, "Only on an event that is replayed from an archive."]],
    },
)
"""What EventBridge puts around a detail."""
