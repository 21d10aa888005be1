"""A client that holds every event on the bus to its published schema."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.client import RelayClient
from local.description.events import RECEIVED
from local.stack import LocalStack
from tests.e2e.waiting import wait_until
from tests.event_schemas import faults_of
from vidu_relay.adapters.event_bus import SOURCE

GENERATION_SECONDS = 1.0
PARAMETERS = {"FirstCheckSeconds": "2", "CheckIntervalSeconds": "1", "OffPeakAvailable": "true"}

VALIDATED: Counter[str] = Counter()
"""Events of this run that were held to their schema, by detail type."""

PROBE, FORGER = "Probe", "forger"
"""Detail type and tenant of what tests publish with a publisher's credentials: no events of the relay's."""


class WatchedClient(RelayClient):
    """Fails at the first event of the relay that is not as published, also if no test waits for it.

    A request that does not fit its schema is no fault here, but must have been refused.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: set[tuple[str, str]] = set()
        self._published: set[str] = set()
        self._unfit: set[str] = set()

    def _keep(self, event: dict[str, Any]) -> None:
        super()._keep(event)
        self._check(event)

    def close(self) -> None:
        """Check the events that no test asked for, and then close."""
        try:
            wait_until(self._answered, "the rejection of each request that is not as published")
        finally:
            super().close()

    def _answered(self) -> bool:
        self.new_events("")
        return self._unfit <= self._published

    def _check(self, event: dict[str, Any]) -> None:
        delivery = (event["id"], event.get("replay-name", ""))
        if delivery in self._seen:
            return
        self._seen.add(delivery)
        name, detail = event["detail-type"], event["detail"]
        if name == PROBE or detail.get("tenant_id") == FORGER:
            return
        if name in RECEIVED:
            if faults_of(name, detail) and "replay-name" not in event:
                self._unfit.add(f"{event['id']}:rejected")
        elif event["source"] == SOURCE:
            faults = faults_of(name, detail)
            assert faults == [], f"{name} is not as docs/schemas/events.json says: {faults}"
            self._published.add(detail["event_id"])
        else:
            return
        VALIDATED[name] += 1


@contextmanager
def watched_stack(folder: Path, **parameters: str) -> Iterator[WatchedClient]:
    """A client of a stack of its own, with these parameters of the template."""
    parameters = {**PARAMETERS, **parameters}
    with LocalStack(folder, parameters=parameters, generation_seconds=GENERATION_SECONDS) as stack:
        client = WatchedClient(stack)
        yield client
        client.close()
