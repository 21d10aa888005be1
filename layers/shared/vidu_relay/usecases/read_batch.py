"""A tenant's own batch, or why its file was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.domain.batch import BATCH_ID, BatchState, uploaded_key
from vidu_relay.domain.batch_representation import batch_facts
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.representation import timestamp

if TYPE_CHECKING:
    from vidu_relay.domain import batch_documents

__all__ = ["read_batch"]


def read_batch(
    batch_id: str, tenant_id: str, *, batches: BatchStore, inbox: RequestInbox, links: VideoLinks
) -> batch_documents.Batch | batch_documents.RejectedBatch | None:
    """A batch as the API shows it; None if this tenant has no such batch, or its file is not read yet.

    A file that was uploaded by a form and refused as a whole is shown with the answer to it.
    """
    if not BATCH_ID.fullmatch(batch_id):
        return None
    batch = batches.get(batch_id)
    if batch is None:
        uploaded = DroppedFile(inbox.bucket, uploaded_key(tenant_id, batch_id), None)
        refused = inbox.find_rejection(uploaded)
        if refused is None:
            return None
        at, problem = refused
        return {"batch_id": batch_id, "state": "rejected", "rejected_at": timestamp(at), "error": problem}
    if batch.tenant_id != tenant_id:
        return None
    shown = cast("batch_documents.Batch", batch_facts(batch))
    if batch.state is BatchState.COMPLETED:
        shown["summary_url"] = links.link(S3Object(batch.file.bucket, batch.summary_key))
        if batch.retries:
            shown["retry_url"] = links.link(S3Object(batch.file.bucket, batch.retry_key))
    return shown
