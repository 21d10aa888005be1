"""Write what became of a batch: a summary of what did not complete, and the file that submits that again.

Both are made in temporary files, so that the memory taken does not grow with the batch. They may be written twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO

from vidu_relay.adapters.batch_files import BatchFiles
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.batch_progress import RETRIED, Tally, may_pass, retry_header, retry_line
from vidu_relay.domain.batch_representation import batch_facts
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger

if TYPE_CHECKING:
    from vidu_relay.domain import batch_documents

__all__ = ["complete_batch"]

Tasks = Iterable[tuple[int, Task]]


def complete_batch(
    batch: Batch, *, tasks: Callable[[], Tasks], batches: BatchStore, files: BatchFiles
) -> Batch:
    """Write both objects; the batch as `completed`, with the counts that the summary has.

    Without a line to submit again there is no retry file, nor where the batch's file is gone.
    """
    tally, failures, again = Tally(), [], dict[int, bool]()
    for line, task in tasks():
        tally.add(task)
        if task.status is not Status.COMPLETED:
            failures.append(_failure(line, task))
        if task.status in RETRIED:
            again[line] = True
    with TemporaryFile() as summary:
        summary.write(b'{"rejections": [')
        _write_list(summary, _rejections(batch, batches, files, again))
        summary.write(b'], "failures": [')
        _write_list(summary, failures)
        completed = tally.put(replace(batch, retries=_write_retry(batch, files, again)), state=BatchState.COMPLETED)
        summary.write(b"], " + json.dumps(batch_facts(completed), ensure_ascii=False).encode()[1:] + b"\n")
        files.put(batch.summary_key, summary, "application/json")
    return completed


def _failure(line: int, task: Task) -> batch_documents.BatchFailure:
    error = task.error
    return {
        "line": line,
        "task_id": task.task_id,
        "status": task.status.value,
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def _rejections(
    batch: Batch, batches: BatchStore, files: BatchFiles, again: dict[int, bool]
) -> Iterator[Mapping[str, Any]]:
    """Each rejection; adds the lines that are to be submitted again to `again`."""
    for first_line, result in sorted(batches.results(batch).items()):
        if result.rejected:
            for rejection in files.read_rejections(batch, first_line):
                if may_pass(rejection["error"]):
                    again[rejection["line"]] = False
                yield rejection


def _write_list(file: BinaryIO, values: Iterable[Any]) -> None:
    separator = b"\n"
    for value in values:
        file.write(separator + json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        separator = b",\n"


def _write_retry(batch: Batch, files: BatchFiles, again: Mapping[int, bool]) -> int:
    """Write the retry file; how many lines it has. `again` says of each line whether it had a task."""
    if not again:
        return 0
    with TemporaryFile() as retry:
        retry.write(retry_header(batch))
        for lines in batch.ranges:
            wanted = ...
        files.put(batch.retry_key, retry, "application/jsonl")
    return len(again)
