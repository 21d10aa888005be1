"""What the API, events and the summary say of a batch, as types: see `domain.documents`."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from vidu_relay.domain.batch import BATCH_ID, BatchState
from vidu_relay.domain.documents import Moment, Problem, TaskError, TaskId, TenantId
from vidu_relay.domain.states import SETTLED, Status

__all__ = [
    "Batch", "BatchFailure", "BatchFile", "BatchRejection", "BatchSummary", "BatchUpload", "BatchUploadRequest",
    "EventBatch", "RejectedBatch", "VideoBatchEvent",
]  # fmt: skip

BatchId = Annotated[str, {"pattern": f"^{BATCH_ID.pattern}$", "examples": ["bmyswlg5gzefra7xdps2scd42jm"]}]
ENDS = sorted(status.value for status in SETTLED)


class BatchFacts(TypedDict):
    """What the API, events and the summary say of a batch in the same way."""

    batch_id: Annotated[BatchId, "Made of the tenant and the file's bytes: the same file is the same batch."]
    state: Annotated[
        str,
        {"enum": [state.value for state in BatchState]},
        "`accepting`: cap and budget are reserved, lines become tasks. `accepted`: each line is a task or was "
        "rejected. `completed`: each task has ended, and the summary is written.",
    ]
    created_at: Moment
    name: NotRequired[Annotated[str, "From the file's header."]]
    retry_of: NotRequired[Annotated[BatchId, "The batch whose retry file this is."]]
    attempt: Annotated[int, {"minimum": 1}]
    lines: Annotated[int, {"minimum": 1}, "Lines of the file that are not empty, without its header."]
    tasks: Annotated[int | None, "Lines that became tasks; null while `accepting`."]
    rejected: Annotated[int | None, "Lines that became none; null while `accepting`."]
    expected_cost_usd: Annotated[str, "What budgets count until bills are known. US dollars, an exact decimal."]
    ended: Annotated[
        dict[str, Any],
        "How many tasks have ended, by state: up to the first line whose task is open, and all once `completed`. An "
        "`expired` one may still complete; the count stays.",
    ]
    cost_usd: Annotated[str, "The bills of these, as far as they are known."]
    uncertain_usd: Annotated[str, "What was reserved for those of these whose bill is not known."]


class Batch(BatchFacts):
    """A batch: the requests of one file."""

    summary_url: NotRequired[
        Annotated[str, {"format": "uri"}, "Once `completed`, for at most 15 minutes: each failure and rejection."]
    ]
    retry_url: NotRequired[
        Annotated[str, {"format": "uri"}, "The file to submit again, where anything may succeed then; as long."]
    ]


class RejectedBatch(TypedDict):
    """A file that was refused as a whole: nothing of it was recorded. The same file may be uploaded again."""

    batch_id: BatchId
    state: Literal["rejected"]
    rejected_at: Moment
    error: Problem


class BatchUploadRequest(TypedDict):
    """The file that is to be uploaded."""

    sha256: Annotated[str, {"pattern": "^[0-9a-f]{64}$"}, "Of the file's bytes."]
    size: Annotated[int, {"minimum": 1}, "Bytes."]


class BatchUpload(TypedDict):
    """A form that takes this file, and the batch that it becomes."""

    batch_id: BatchId
    url: Annotated[str, {"format": "uri"}, "Where to POST the form (multipart/form-data)."]
    fields: Annotated[dict[str, str], "The form's fields; the file goes last, as `file`."]
    expires_at: Annotated[Moment, "Until when the form is taken."]


class BatchFile(TypedDict):
    """An object of the inbox bucket."""

    bucket: str
    key: str


class EventBatch(BatchFacts):
    summary: NotRequired[Annotated[BatchFile, "Once `completed`: each failure and rejection."]]
    retry: NotRequired[Annotated[BatchFile, "The file to submit again, where anything may succeed then."]]


class VideoBatchEvent(TypedDict):
    """The detail of an event about a batch."""

    event_id: Annotated[
        str, {"pattern": f"^{BATCH_ID.pattern}:(accepted|completed)$"}, "The same however often the event comes."
    ]
    tenant_id: TenantId
    batch: EventBatch


class BatchFailure(TypedDict):
    """A task that did not complete."""

    line: Annotated[int, {"minimum": 1}, "In the file, empty lines and the header counted."]
    task_id: TaskId
    status: Annotated[str, {"enum": [end for end in ENDS if end != Status.COMPLETED]}]
    error: TaskError | None


class BatchRejection(TypedDict):
    """A line that became no task, or `lines` of them from this one on."""

    line: Annotated[int, {"minimum": 1}]
    lines: NotRequired[Annotated[int, {"minimum": 1}]]
    error: Problem


class BatchSummary(BatchFacts):
    """The object `summary.json` of a completed batch: what did not complete, in order of lines."""

    failures: list[BatchFailure]
    rejections: list[BatchRejection]
