"""`relay`: every command, by the modules that define them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from cli.admission import queue
from cli.alarms import alarms
from cli.answer import Answer
from cli.batches import batch
from cli.command import INTERRUPTED, Group, Relay
from cli.console.running import console
from cli.doctor.running import doctor
from cli.download import get
from cli.environment import env
from cli.failures import failures
from cli.faults import faults
from cli.keys import keys
from cli.models import models
from cli.prices import prices
from cli.provider import provider
from cli.queues import queues
from cli.reconcile import reconcile
from cli.submission import submit
from cli.tailing import tail
from cli.task_lists import task
from cli.tenant_tasks import cancel, delete_tasks, list_
from cli.tenants import tenants
from cli.usage import usage
from cli.watching import watch
from cli.webhooks import webhooks

WRONG_USAGE = 2
EXAMPLES = (
    "--local list                           (the stack that `make local` runs)",
    "--api-url https://… submit --prompt 'a fox in the snow' --image fox.png --watch",
    "--stack vidu-relay doctor",
    "--stack vidu-relay tenants create acme",
    "--stack vidu-relay task show TASK_ID",
)
EPILOG = """Options stand before the command or behind it; every command says more with --help.

Exit status: 0 done, or nothing to do; 1 refused or failed; 2 wrong usage; 130 after Ctrl-C; of `watch` also 3 failed, 4
expired, 5 canceled; of `doctor` 3 unknown.

Completion of commands and options: eval "$(_RELAY_COMPLETE=bash_source relay)", or zsh_source, fish_source."""


@click.group("relay", cls=Group, examples=EXAMPLES, epilog=EPILOG)
def relay() -> None:
    """Use a Vidu Relay: models, submit, watch, get, list, cancel, delete, batch. Operate it: the other commands."""


@relay.group("schemas")
def registry() -> None:
    """The events' schemas in EventBridge's schema registry."""


@registry.command(examples=["schemas publish"])
def publish(relay: Relay) -> Answer:
    """Create the registry <stack>-events and its schemas, or update those that have changed."""
    from cli import schemas  # slow to import

    return schemas.publish(relay.connection)


@registry.command(examples=["schemas delete"])
def delete(relay: Relay) -> Answer:
    """Delete the registry and its schemas; deleting the stack leaves them."""
    from cli import schemas

    return schemas.delete(relay.connection)


CLIENTS = (models, submit, watch, get, list_, cancel, delete_tasks, batch)
OPERATORS = (
    tenants,
    keys,
    webhooks,
    provider,
    prices,
    task,
    queue,
    queues,
    failures,
    alarms,
    usage,
    reconcile,
    console,
    faults,
)
for command in (*CLIENTS, env, tail, doctor, *OPERATORS):
    relay.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        status: int = relay.main(
            argv if argv is None else list(argv), "relay", "_RELAY_COMPLETE", standalone_mode=False, obj=Relay()
        )
    except click.UsageError as error:
        error.show()
        return WRONG_USAGE
    except click.Abort:
        print("\nrelay: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status
