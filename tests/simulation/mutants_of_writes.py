from dataclasses import replace
from typing import Any

from tests.simulation.mutants import I, Patch, mutant, points, scenario, schedules, wrap
from tests.simulation.mutants_of_tasks import overdue_and_unreadable
from tests.simulation.scenarios import (
    HttpSimulation,
    submit,
)
from vidu_relay.adapters import task_item, task_store
from vidu_relay.adapters.event_bus import Event, EventBus, PutResult
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.domain.task import Task
from vidu_relay.usecases import (
    publish_events,
    submit_task,
)


@mutant(schedules("callback and check", "two callbacks"), I.ONE_WRITE, I.TRUE_EVENTS)
def drop_the_revision_condition(patch: Patch) -> None:
    def mutated(put: Any, store: TaskStore, task: Task, *, condition: str, values: Any) -> Any:
        if condition.startswith("revision"):
            condition, values = "attribute_exists(pk)", {}
        return put(store, task, condition=condition, values=values)

    wrap(patch, TaskStore, "_put", mutated)


@mutant(schedules("one external id for two requests"), I.ONE_OWNER)
def drop_the_condition_on_the_external_id(patch: Patch) -> None:
    def mutated(external: Any, *given: Any) -> Any:
        put = external(*given)
        return {"Item": put["Item"]}

    wrap(patch, task_store, "external_put", mutated)


@mutant(scenario(overdue_and_unreadable), I.ONE_WRITE)
def raise_the_version_at_every_write(patch: Patch) -> None:
    def mutated(save: Any, store: TaskStore, task: Task, owned: Any = ()) -> Any:
        return save(store, replace(task, version=task.version + 1), owned)

    wrap(patch, TaskStore, "save", mutated)


@mutant(scenario(submit), I.ONE_WRITE)
def count_versions_from_one(patch: Patch) -> None:
    wrap(patch, submit_task, "new_task", lambda make, *given, **more: replace(make(*given, **more), version=1))


@mutant(points("callback settles"), I.TRUE_EVENTS)
def publish_before_the_write(patch: Patch) -> None:
    """The event is published first; the stream adds nothing."""
    sims: list[HttpSimulation] = []

    def begun(begin: Any, sim: HttpSimulation, *given: Any, **more: Any) -> None:
        begin(sim, *given, **more)
        sims.append(sim)

    def early(put: Any, store: TaskStore, task: Task, **given: Any) -> Any:
        current = sims[-1].item(f"task#{task.task_id}")
        if current is None or int(current["version"]["N"]) != task.version:
            sims[-1].bus.publish([Event(event_type(task), event_detail(task), 0)])
        return put(store, task, **given)

    wrap(patch, HttpSimulation, "__init__", begun)
    wrap(patch, TaskStore, "_put", early)
    patch.setattr(publish_events, "_changed_task", lambda _: None)


@mutant(scenario(overdue_and_unreadable), I.TRUE_EVENTS)
def publish_every_write(patch: Patch) -> None:
    """An event for each record of the stream, whether or not the version changed."""
    patch.setattr(publish_events, "_changed_task", lambda change: task_item.task_from_image(change["NewImage"]))


@mutant(points("publish"), I.TRUE_EVENTS)
def skip_what_was_refused(patch: Patch) -> None:
    """The publisher goes on behind an event that was not put on the bus."""

    def mutated(put: Any, bus: EventBus, entries: Any) -> PutResult:
        for entry in entries:
            put(bus, [entry])
        return PutResult({})

    wrap(patch, EventBus, "put", mutated)
