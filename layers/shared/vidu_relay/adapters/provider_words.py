"""Words for states and error codes that both providers' adapters read.

A gateway passes on the upstream's reply now and then, and an upstream's customer may sit behind a gateway.
"""

from __future__ import annotations

from collections.abc import Mapping

from vidu_relay.domain.snapshot import ProgressState

__all__ = ["ACCOUNT_CODES", "CANCELED_WORDS", "REQUEST_CODES", "WORDS"]

WORDS: Mapping[str, ProgressState] = {
    "pending": ProgressState.PENDING,
    "created": ProgressState.PENDING,
    "queueing": ProgressState.PENDING,
    "in_progress": ProgressState.PROCESSING,
    "processing": ProgressState.PROCESSING,
    **dict.fromkeys(
        ("completed", "complete", "success", "succeeded", "succeed", "done", "finished"), ProgressState.SUCCEEDED
    ),
    "failed": ProgressState.FAILED,
    "failure": ProgressState.FAILED,
}
"""Words for a state, in lower case. Every other word is unknown, and unknown is not an end."""

CANCELED_WORDS: Mapping[str, ProgressState] = dict.fromkeys(("canceled", "cancelled"), ProgressState.CANCELED)
"""No document names a state for a canceled task; if the upstream has one, it is one of these words."""

ACCOUNT_CODES = frozenset({"40201", "creditinsufficient"})
"""Documented codes, in lower case, that refuse our account under any status."""

REQUEST_CODES = frozenset(
    {
        "fieldlacking", "fieldunwanted", "fieldinvalid", "fielditemcountoutofrange", "pagesizeoutofrange",
        "imagedownloadfailure", "imageformatinvalid", "auditsubmitillegal", "taskpromptpolicyviolation",
        "creationpolicyviolation",
    }
)  # fmt: skip
"""Documented codes, in lower case, that blame the request, whatever stands beside them."""
