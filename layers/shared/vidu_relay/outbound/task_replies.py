"""How providers describe a task: the shapes in which they name its state, list ids and videos.

A gateway passes on the upstream's shape now and then, and an upstream's customer may sit behind a gateway: both
adapters read both shapes here, each with its own words. None of these functions raises; a value that cannot be read is
absent or unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vidu_relay.domain.redaction import without_secrets
from vidu_relay.domain.snapshot import CallbackReport, ProgressState, ProviderOutput
from vidu_relay.outbound.reply_fields import (
    MAX_VIDEOS,
    TASK_IDS,
    json_value,
    list_field,
    short_text,
    task_id,
    text,
    video_link,
)

__all__ = [
    "candidate_ids",
    "named_ids",
    "read_callback",
    "read_outputs",
    "read_state",
    "task_objects",
]

MAX_IDS = 4
MAX_OUTPUTS = 16
MAX_WORD_CHARACTERS = 64

_TYPE_FRONT = re.compile(r"[^/;\s]*")


def read_state(
    content: Mapping[str, Any], fields: Sequence[str], words: Mapping[str, ProgressState], *, has_video: bool
) -> tuple[ProgressState, str | None]:
    """The state that the first of `fields` names, or `unknown` and the word that is not among `words`, redacted.

    Success without a video gives way to another field that names a state: some replies say of themselves, not of the
    task, that they are a success.
    """
    written = [found for name in fields if (found := text(content.get(name)))]
    known = [words[word] for found in written if (word := found.strip().lower()) in words]
    for state in known:
        if state is not ProgressState.SUCCEEDED or has_video:
            return state, None
    if known:
        return ProgressState.SUCCEEDED, None
    return ProgressState.UNKNOWN, without_secrets(written[0])[:MAX_WORD_CHARACTERS] if written else None


def named_ids(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The usable ids by which this very object names the task."""
    return tuple(dict.fromkeys(found for name in TASK_IDS if (found := task_id(content.get(name)))))


def candidate_ids(content: Any) -> tuple[str, ...]:
    """Ids of tasks that any JSON value may name, at most four: at its top, or under `data`, as object or as list.

    An `error` object is no task, and `request_id` and `trace_id` name no task: their ids are not taken.
    """
    found = (one for part in task_objects(content) for one in named_ids(part))
    return tuple(dict.fromkeys(found))[:MAX_IDS]


def task_objects(content: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON value that may describe a task: the outermost ones, then the ones under `data`."""
    outer = content if isinstance(content, list) else [content]
    data = content.get("data") if isinstance(content, dict) else None
    for part in (*outer, *(data if isinstance(data, list) else [data])):
        if isinstance(part, dict):
            yield part


def read_callback(body: bytes, words: Mapping[str, ProgressState]) -> CallbackReport:
    """What a callback's body reports, in either provider's shape. Never raises: nonsense reports nothing."""
    content = json_value(body)
    states = (read_state(part, ("state", "status"), words, has_video=True)[0] for part in task_objects(content))
    state = next((state for state in states if state is not ProgressState.UNKNOWN), None)
    return CallbackReport(state, candidate_ids(content))


def read_outputs(content: Mapping[str, Any], creations_id: str | None) -> tuple[ProviderOutput, ...]:
    """The videos of a task, from `output` (the gateway's shape) or, if it has none, `creations` (the upstream's).

    `creations_id` is the upstream task id of the latter.
    """
    outputs = tuple(_outputs(content.get("output")))
    if any(output.video_urls for output in outputs):
        return outputs
    # `url` is the video that was ordered: never the cover, nor the copy with a watermark
    creations = (item for item in list_field(content.get("creations")) if isinstance(item, dict))
    urls = tuple(dict.fromkeys(url for item in creations if (url := video_link(item.get("url")))))[:MAX_VIDEOS]
    return (ProviderOutput(short_text(creations_id), "done", urls),) if urls else outputs


def _outputs(value: Any) -> Iterator[ProviderOutput]:
    for item in value[:MAX_OUTPUTS] if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        files = [f for name in ("results", "content") for f in list_field(item.get(name)) if isinstance(f, dict)]
        yield ProviderOutput(
            task_id=short_text(item.get("task_id"))
            or next((short_text(f["jobId"]) for f in files if f.get("jobId")), None),
            task_status=short_text(item.get("task_status")),
            video_urls=tuple(dict.fromkeys(url for f in files if (url := _video_url(f))))[:MAX_VIDEOS],
        )


def _video_url(file: Mapping[str, Any]) -> str | None:
    """The link of a file whose `type` is absent or begins like a video's: `video`, `VIDEO`, `video/mp4`, `mp4`."""
    kind = file.get("type") or ""
    front = _TYPE_FRONT.match(kind.strip().lower()) if isinstance(kind, str) else None
    return video_link(file.get("url")) if front and front[0] in ("", "video", "mp4") else None
