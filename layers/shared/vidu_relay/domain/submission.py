"""The tag of ours in a create call, for a provider that hands it back."""

from __future__ import annotations

import hashlib

from vidu_relay.domain.task import Attempt

__all__ = ["TAG_PREFIX", "correlation_tag", "shared_token"]

TAG_PREFIX = "vidu-relay:"


def correlation_tag(task_id: str, attempt: Attempt) -> str:
    """The correlation tag of a create call, for a provider that hands it back when the task is read.

    Only a create call of this task can have given it: it holds a digest of the random part that the tokens of all
    attempts of the task share.
    """
    digest = hashlib.sha256(f"{task_id}\0{shared_token(attempt)}".encode()).hexdigest()
    return f"{TAG_PREFIX}{task_id}:{digest[:32]}"


def shared_token(attempt: Attempt) -> str:
    """The part of an attempt's token that all attempts of the task share: the task's own token."""
    return attempt.token.partition(".")[0]
