"""The commands of `relay`: what they are called, what they take, and what their help teaches."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli import (
    download,
    failures,
    keys,
    provider,
    queues,
    schemas,
    submission,
    tailing,
    tasks,
    tenants,
    watching,
    webhooks,
)
from cli.answer import Answer, RefusedError
from cli.api import KEY_VARIABLE, Api, NoAnswerError, connect_api
from cli.connection import Connection, ConnectionFailedError, connect_local, connect_stack
from cli.doctor import running as doctor
from vidu_relay.domain.errors import ViduRelayError

__all__ = ["main", "parser"]

Run = Callable[[argparse.Namespace, Connection], Answer | int] | Callable[[argparse.Namespace, Api], Answer | int]
"""An `Answer` is printed here; what a command printed as it went, it answers by its exit status alone."""

CONSUMERS = ("submit", "watch", "get", "tail")
DOCTOR = "doctor"
GROUPS = ("tenants", "keys", "webhooks", "provider", "task", "queues", "failures", "schemas")
WITH_VALUE = ("--stack", "--api-url", "--api-key-file", "--region", "--profile")
BEFORE_COMMAND = (*WITH_VALUE, "--local", "--json")
LOCAL_FILE = Path(__file__).parents[1] / ".local" / "stack.json"
MAX_CAP = f"{tenants.MAX_DAILY_CAP:,}"

EXAMPLES = """
examples:
  relay --stack vidu-relay provider set-key
  relay --stack vidu-relay doctor
  relay --stack vidu-relay tenants create acme
  relay --stack vidu-relay keys create --tenant acme --name backend
  relay --stack vidu-relay task show TASK_ID
  relay --stack vidu-relay queues list
  relay --local tenants list             (the stack that `make local` runs)
  relay --api-url https://… submit --prompt 'a fox in the snow' --image fox.png --watch
  relay --api-url https://… get TASK_ID

Every command says more with --help. Exit status: 0 done, or nothing to do; 1 refused or failed; 2 wrong usage;
130 after Ctrl-C; of `watch` also 3 failed, 4 expired, 5 canceled; of `doctor` 3 unknown.
docs/runbook.md says which command to use when.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted; others of `watch`."""
    words, top = _spelt_out(sys.argv[1:] if argv is None else argv), parser()
    late = _late_option(words)
    if late:
        top.error(f"{late} says where or how, and stands before the command: relay {late} … COMMAND")
    arguments = top.parse_args(words)
    if arguments.api_url and arguments.connect is not connect_api:
        top.error("this command needs --stack or --local: --api-url serves submit, watch and get")
    try:
        answer = _run(arguments)
        if isinstance(answer, int):
            return answer
        print(json.dumps(answer.data) if arguments.json else answer.text)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nrelay: interrupted", file=sys.stderr)
        return watching.INTERRUPTED
    except OSError as error:
        # what Python flushes at its end must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # whoever reads may leave, as `head` does
            print(f"relay: {error.strerror or error}", file=sys.stderr)
        return 1
    except (RefusedError, ConnectionFailedError, ViduRelayError, ClientError, BotoCoreError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> Answer | int:
    relay = arguments.connect(arguments)
    try:
        answer: Answer | int = arguments.run(arguments, relay)
    except NoAnswerError as error:
        raise RefusedError(f"{relay.url} gives no answer ({error}): try again") from error
    return answer


def _connect(arguments: argparse.Namespace) -> Connection:
    """The deployment, as an operator reaches it: with AWS credentials."""
    if arguments.stack:
        return connect_stack(arguments.stack, arguments.region, arguments.profile)
    return connect_local(arguments.local)


def _spelt_out(argv: Sequence[str]) -> list[str]:
    """`--local` before a command means the default file, where argparse would take the command for the file."""
    words = list(argv)
    for index, (word, following) in enumerate(pairwise(words)):
        if word == "--local" and following in (*CONSUMERS, DOCTOR, *GROUPS):
            words[index] = f"--local={LOCAL_FILE}"
            break
    return words


def _late_option(words: Sequence[str]) -> str | None:
    """The first option behind the command that belongs before it."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if rest and (option in WITH_VALUE or (option == "--local" and not rest[0].startswith("-"))):
            rest.pop(0)
    behind = takewhile(lambda word: word != "--", rest)
    return next((option for word in behind if (option := word.partition("=")[0]) in BEFORE_COMMAND), None)


def parser() -> argparse.ArgumentParser:
    """The parser of every command; `run` in what it parses carries the command out."""
    top = argparse.ArgumentParser(
        prog="relay",
        description="Use a Vidu Relay: submit, watch, get, tail. Operate it: tenants, keys, the provider's key, tasks, "
        "dead letters, lost events.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = top.add_mutually_exclusive_group(required=True)
    where.add_argument("--stack", metavar="NAME", help="the deployed CloudFormation stack")
    where.add_argument(
        "--local",
        metavar="FILE",
        nargs="?",
        type=Path,
        const=LOCAL_FILE,
        help="the local stack (default file: .local/stack.json)",
    )
    where.add_argument(
        "--api-url", metavar="URL", help="the stack's output ApiUrl, without AWS credentials: for submit, watch and get"
    )
    top.add_argument(
        "--api-key-file",
        metavar="FILE",
        type=Path,
        help=f"holds the tenant's API key (default: the variable {KEY_VARIABLE}; with --local the local stack's key). "
        "There is no option for the key itself: other programs see command lines, and shells keep them",
    )
    top.add_argument("--region", help="AWS region of the stack (default: as the AWS configuration says)")
    top.add_argument("--profile", help="AWS profile to use")
    top.add_argument("--json", action="store_true", help="print JSON, for programs")
    groups = top.add_subparsers(title="commands", required=True, metavar=" | ".join((*CONSUMERS, DOCTOR, *GROUPS)))
    for consume, name in zip((_submit, _watch, _get, _tail), CONSUMERS, strict=True):
        consume(groups, name)
    _doctor(groups, DOCTOR)
    operate = (_tenants, _keys, _webhooks, _provider, _task, _queues, _failures, _schemas)
    for add, name in zip(operate, GROUPS, strict=True):
        add(groups, name)
    return top


def _submit(groups: Any, name: str) -> None:
    command = _command(
        groups,
        name,
        submission.submit,
        "submit a task, from a file or from options; a lost answer is asked for again under the same idempotency key",
        "submit request.json --idempotency-key order-4711",
        "submit --prompt 'a fox in the snow' --image fox.png --duration 5 --watch",
        "submit --prompt '@fox meets @robot' --subject fox=fox.png,https://example.com/fox.webp --subject robot=r.png",
        "submit -                                  (from standard input)",
        connect=connect_api,
    )
    command.add_argument("file", nargs="?", help="the body of POST /v1/tasks as JSON; - for standard input")
    command.add_argument("--prompt", help="what is to be seen; @ID mentions a subject")
    command.add_argument(
        "--image", action="append", default=[], metavar="IMAGE", help="https://…, s3://…, or a file, which is uploaded"
    )
    command.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="ID=IMAGE[,IMAGE]",
        help="a subject and its images, as --image takes them; one with a comma needs a request file",
    )
    command.add_argument("--duration", type=int, metavar="SECONDS", help="1 to 8")
    command.add_argument("--resolution", help="720p or 1080p")
    command.add_argument("--aspect-ratio", metavar="W:H", help="for example 16:9")
    command.add_argument("--seed", type=int, help="for a repeatable result")
    command.add_argument("--audio", action="store_true", default=None, help="with sound")
    command.add_argument("--off-peak", action="store_true", default=None, help="cheaper, within 48 hours")
    command.add_argument("--callback-url", metavar="URL", help="where your backend is told of the task, signed: https")
    command.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="the same key and request are the same task (default: a random one, shown on standard error)",
    )
    command.add_argument("--watch", action="store_true", help="go on like `watch`, with its exit status")


def _watch(groups: Any, name: str) -> None:
    command = _command(
        groups,
        name,
        watching.watch,
        "follow tasks until they settle; exit status 0 completed, 3 failed, 4 expired, 5 canceled (of several "
        "the highest), 130 after Ctrl-C, which ends the watching and nothing else",
        "watch mfzwizlnnvsg63dpo5xw2zltmu",
        connect=connect_api,
    )
    command.add_argument("task_id", nargs="+", help="26 of a-z and 2-7, as `submit` shows it")


def _get(groups: Any, name: str) -> None:
    command = _command(
        groups,
        name,
        download.get,
        "save a completed task's videos, checked by size and SHA-256; a file is there whole or not at all",
        "get mfzwizlnnvsg63dpo5xw2zltmu",
        "get mfzwizlnnvsg63dpo5xw2zltmu --output fox.mp4",
        connect=connect_api,
    )
    command.add_argument("task_id", help="26 of a-z and 2-7, as `submit` shows it")
    command.add_argument(
        "-o", "--output", metavar="FILE|FOLDER", default=".", help="where to (default: here, named by the task)"
    )
    command.add_argument("--force", action="store_true", help="write over a file of another content")


def _tail(groups: Any, name: str) -> None:
    command = _command(
        groups,
        name,
        tailing.tail,
        "show events as they happen until Ctrl-C, through a rule and a queue that are removed at the end; needs AWS "
        "credentials that may make both",
        "tail",
        "tail --tenant acme --type VideoTaskCompleted --type VideoTaskFailed",
    )
    command.add_argument("--task", action="append", default=[], metavar="TASK_ID", help="of this task only; repeatable")
    command.add_argument("--tenant", action="append", default=[], help="of this tenant only; repeatable")
    command.add_argument(
        "--type", action="append", default=[], choices=tailing.TYPES, help="of this detail type only; repeatable"
    )


def _doctor(groups: Any, name: str) -> None:
    checks = [check.name for check in doctor.CHECKS]
    command = _command(
        groups,
        name,
        doctor.doctor,
        "check the whole deployment in at most two minutes; costs nothing at the provider; exit status 0 all "
        "ok, 1 something is not, 3 something could not be found out",
        "doctor",
        "doctor provider callback",
        "doctor --spend                             (pays for one task)",
    )
    command.add_argument(
        "check",
        nargs="*",
        metavar="CHECK",
        help=f"checks to run (default: all): {', '.join(checks)}",
        choices=[*checks, []],
    )
    command.add_argument(
        "--spend",
        action="store_true",
        help="also submit the cheapest real task, which the provider bills, and check its video in S3; skipped if a "
        "check that every task needs is `not`",
    )


def _tenants(groups: Any, name: str) -> None:
    commands = _group(
        groups,
        name,
        "who may use the relay, how much, and which event sources and buckets are theirs",
        "tenants create acme",
    )
    command = _command(
        commands,
        "create",
        tenants.create,
        "create a tenant (nothing happens to one that is there)",
        "tenants create acme",
        "tenants create acme --event-source acme.orders",
    )
    command.add_argument("tenant", help="1 to 40 of a-z, 0-9 and inner hyphens; part of S3 keys")
    command.add_argument(
        "--event-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help=f"an EventBridge source: {tenants.SOURCES_MEAN}",
    )
    _command(commands, "list", tenants.list_all, "list every tenant", "tenants list")
    for name, run, about in (
        ("show", tenants.show, "show one tenant and its keys"),
        (
            "disable",
            tenants.disable,
            "refuse new requests of a tenant and cancel what is not submitted; submitted tasks continue, keys stay",
        ),
        ("enable", tenants.enable, "accept requests of a disabled tenant again"),
    ):
        _command(commands, name, run, about, f"tenants {name} acme").add_argument("tenant", help="which")
    command = _command(
        commands,
        "set-cap",
        tenants.set_cap,
        "set how many tasks a UTC day a tenant may have accepted",
        "tenants set-cap acme 500",
        "tenants set-cap acme default               (the parameter DailyTaskCap again)",
        "tenants set-cap acme 0 --accept-nothing    (reads still work; `tenants disable` closes all)",
    )
    command.add_argument("tenant", help="whose")
    command.add_argument("cap", help=f"1 to {MAX_CAP}, or `default`; 0 needs --accept-nothing")
    command.add_argument("--accept-nothing", action="store_true", help="confirm a cap of 0")
    for what, example, means, add, remove in (
        ("source", "acme.orders", tenants.SOURCES_MEAN, tenants.add_source, tenants.remove_source),
        ("bucket", "acme-images", tenants.BUCKETS_MEAN, tenants.add_bucket, tenants.remove_bucket),
    ):
        for name, run, about in (
            (f"add-{what}", add, f"map a {what} to a tenant: {means}"),
            (f"remove-{what}", remove, f"take a tenant's {what} away (nothing happens if it is gone)"),
        ):
            command = _command(commands, name, run, about, f"tenants {name} acme {example}")
            command.add_argument("tenant", help="whose")
            command.add_argument(what, help=f"the {what}'s name; it can belong to one tenant only")


def _keys(groups: Any, name: str) -> None:
    commands = _group(groups, name, "API keys of a tenant", "keys create --tenant acme --name backend")
    create = _command(
        commands,
        "create",
        keys.create,
        "make a key and show it, once; each call makes another one",
        "keys create --tenant acme --name backend",
    )
    create.add_argument("--name", default="default", help="what it is for: A-Z, a-z, 0-9, . _ -")
    listing = _command(commands, "list", keys.list_all, "list the keys: id, creation, name", "keys list --tenant acme")
    revoke = _command(
        commands,
        "revoke",
        keys.revoke,
        "end a key (nothing happens if it is gone); it may work for another 60 seconds",
        "keys revoke --tenant acme 3f0a52c19d7e",
    )
    revoke.add_argument("key_id", help="as `keys list` shows it")
    for command in (create, listing, revoke):
        command.add_argument("--tenant", required=True, help="whose")


def _webhooks(groups: Any, name: str) -> None:
    commands = _group(groups, name, "what a tenant's receiver verifies notifications with", "webhooks secret acme")
    _command(
        commands,
        "secret",
        webhooks.secret,
        "show a tenant's secret (whsec_…), as the Standard Webhooks libraries take it",
        "webhooks secret acme",
    ).add_argument("tenant", help="whose")
    command = _command(
        commands,
        "rotate",
        webhooks.rotate,
        "go on to a new secret and show it; the one before signs beside it for 24 hours",
        "webhooks rotate acme",
        "webhooks rotate acme --again               (within those 24 hours: ends the one before at once)",
    )
    command.add_argument("tenant", help="whose")
    command.add_argument("--again", action="store_true", help="confirm a second rotation within 24 hours")


def _provider(groups: Any, name: str) -> None:
    commands = _group(groups, name, "the key that tasks are created with", "provider set-key")
    command = _command(
        commands,
        "set-key",
        provider.set_key,
        "store the provider's key; it is read from standard input, or asked for. The one before is kept beside it to "
        "check signatures with, and used for nothing else",
        "provider set-key",
        "provider set-key                           (from a file: add `< FILE`)",
        "provider set-key --forget-previous         (the key before has leaked)",
    )
    command.add_argument(
        "--forget-previous", action="store_true", help="refuse callbacks that the key before this one has signed"
    )


def _task(groups: Any, name: str) -> None:
    commands = _group(groups, name, "show one task, and repeat a step of it", "task show mfzwizlnnvsg63dpo5xw2zltmu")
    _command(
        commands,
        "overdue",
        tasks.overdue,
        "list tasks whose check is overdue; the sweep starts those checks every minute",
        "task overdue",
    )
    for name, run, about in (
        ("show", tasks.show, "show everything that is known of a task"),
        (
            "check",
            tasks.check,
            "check the task now: submit it, read the provider, deliver or expire it, whatever is next",
        ),
        ("deliver", tasks.deliver, "copy a generated task's videos now; what is there is never written twice"),
        ("notify", tasks.notify, "tell its client of the latest change again, at its callback_url, now"),
        ("publish", tasks.publish, "publish the event of its present version again, under the same event id"),
    ):
        command = _command(commands, name, run, about, f"task {name} mfzwizlnnvsg63dpo5xw2zltmu")
        command.add_argument("task_id", help="26 of a-z and 2-7, as the API returns it")


def _queues(groups: Any, name: str) -> None:
    commands = _group(groups, name, "the dead-letter queues", "queues list")
    _command(commands, "list", queues.list_all, "list each dead-letter queue with its depth", "queues list")
    command = _command(
        commands,
        "redrive",
        queues.redrive,
        "move DLQ messages back to their queue; a message that no worker could parse stays",
        "queues redrive deliveries-dead-letters",
        "queues redrive notifications-dead-letters",
        "queues redrive unrouted-events",
        "queues redrive deliveries-dead-letters --discard-unreadable",
    )
    command.add_argument("queue", help="as `queues list` shows it")
    command.add_argument("--discard-unreadable", action="store_true", help="delete what no worker could read")


def _failures(groups: Any, name: str) -> None:
    commands = _group(groups, name, "stream records that could not be published", "failures list")
    _command(commands, "list", failures.list_all, "list what lies in the failures bucket", "failures list")
    command = _command(
        commands,
        "republish",
        failures.republish,
        "publish the records again, and remove what got through",
        "failures republish",
        "failures republish KEY                     (one object, as `failures list` shows it)",
    )
    command.add_argument("key", nargs="?", help="one object (default: all)")


def _schemas(groups: Any, name: str) -> None:
    commands = _group(groups, name, "the events' schemas in EventBridge's schema registry", "schemas publish")
    for name, run, about in (
        ("publish", schemas.publish, "create the registry <stack>-events and its schemas, or update what has changed"),
        ("delete", schemas.delete, "delete the registry and its schemas; deleting the stack leaves them"),
    ):
        _command(commands, name, run, about, f"schemas {name}")


def _group(groups: Any, name: str, about: str, example: str) -> Any:
    return _parser(groups, name, about, example).add_subparsers(title="commands", required=True, metavar="command")


def _command(
    commands: Any,
    name: str,
    run: Run,
    about: str,
    *examples: str,
    connect: Callable[[argparse.Namespace], Connection | Api] = _connect,
) -> argparse.ArgumentParser:
    command = _parser(commands, name, about, *examples)
    command.set_defaults(run=run, connect=connect)
    return command


def _parser(parsers: Any, name: str, about: str, *examples: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = parsers.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="\n".join(("examples:", *(f"  relay --stack vidu-relay {example}" for example in examples))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made
