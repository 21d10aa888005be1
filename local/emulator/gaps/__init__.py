"""The gaps between MiniStack and AWS that this stack would fall into: one module each."""

from local.emulator.gaps import (
    api_endpoint,
    embedded_metrics,
    event_archive,
    event_bus_policy,
    event_schemas,
    execution_names,
    http_api_answers,
    http_api_event,
    metric_math_alarms,
    multipart_sizes,
    object_checksums,
    object_event_version,
    python_runtime,
    replay_destination,
    secrets,
    stream_failures,
    table_settings,
)
from local.emulator.settings import Settings

GAPS = (
    api_endpoint,
    embedded_metrics,
    event_archive,
    event_bus_policy,
    event_schemas,
    execution_names,
    http_api_answers,
    http_api_event,
    metric_math_alarms,
    multipart_sizes,
    object_checksums,
    object_event_version,
    python_runtime,
    replay_destination,
    secrets,
    stream_failures,
    table_settings,
)


def close_all(settings: Settings) -> None:
    """Close every gap. Once, before MiniStack serves its first request."""
    for gap in GAPS:
        gap.close(settings)
