"""Write what became of a batch: a summary of what did not complete, and the file that submits that again.

Both are made in temporary files, so that the memory taken does not grow with the batch. They may be written twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, Any

from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.batch_lines import read_lines
from vidu_relay.domain.batch_progress import may_complete, may_pass, retry_header, retry_line
from vidu_relay.domain.batch_representation import batch_facts
from vidu_relay.domain.errors import FileGoneError
from vidu_relay.observability import logger

__all__ = ["complete_batch"]


def complete_batch(batch: Batch, inbox: RequestInbox) -> Batch:
    """Write the objects of a batch whose tasks have all ended; the batch as `completed`.

    There is no retry file where no line would be in it, and where the batch's own file is gone.
    """
    failed, rejected = set[int](), set[int]()
    with TemporaryFile() as summary:
        summary.write(b'{"rejections": [')
        rejections = (inbox.read_lines(batch.rejections_key(first)) for first in batch.parts)
        _write_list(summary, _noted(rejections, may_pass, rejected))
        summary.write(b'], "failures": [')
        failures = (inbox.read_lines(batch.failures_key(name)) for name in batch.failures)
        _write_list(summary, _noted(failures, may_complete, failed))
        retries = _write_retry(batch, inbox, failed, rejected)
        completed = replace(batch, state=BatchState.COMPLETED, retries=retries)
        summary.write(b"], " + json.dumps(batch_facts(completed), ensure_ascii=False).encode()[1:] + b"\n")
        inbox.put_file(batch.summary_key, summary, "application/json")
    return completed


def _noted(
    lists: Iterable[Iterable[Any]], retried: Callable[[Mapping[str, Any]], bool], lines: set[int]
) -> Iterator[Any]:
    """The entries of all lists; adds the lines of those that are to be submitted again."""
    for entries in lists:
        for entry in entries:
            if retried(entry):
                lines.add(entry["line"])
            yield entry


def _write_list(file: IO[bytes], entries: Iterable[Any]) -> None:
    separator = b"\n"
    for entry in entries:
        file.write(separator + json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        separator = b",\n"


def _write_retry(batch: Batch, inbox: RequestInbox, failed: set[int], rejected: set[int]) -> int:
    """Write the retry file, if there is one; how many requests it has."""
    if not failed | rejected:
        return 0
    found = 0
    with TemporaryFile() as retry:
        retry.write(retry_header(batch))
        try:
            for line in read_lines(inbox.pieces(batch.file, 0, batch.size)):
                if line.number in failed or line.number in rejected:
                    retry.write(retry_line(line.whole(), batch.file.folder, had_task=line.number in failed))
                    found += 1
        except FileGoneError:
            logger.warning("batch_file_gone", batch_id=batch.batch_id, tenant_id=batch.tenant_id)
            return 0
        inbox.put_file(batch.retry_key, retry, "application/x-ndjson")
    return found
