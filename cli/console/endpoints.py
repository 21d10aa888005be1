"""The tool's commands as endpoints: what each takes, which command line it is, and its answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from cli.answer import Answer
from cli.command import FAULTS, Command, Relay
from cli.connection import Connection, ConnectionFailedError
from cli.screen import Screen

READS = frozenset(
    {
        "alarms", "failures list", "faults list", "keys list", "prices export", "prices list", "queue show",
        "queues list", "queues peek", "reconcile", "task list", "task overdue", "task show", "tenants list",
        "tenants show", "usage", "webhooks failing",
    }
)  # fmt: skip
"""Commands that change nothing without an option of `ACTING`, and show no secret."""
ACTING = frozenset({"now"})
CHANGES = frozenset(
    {
        "doctor", "failures republish", "faults end", "faults inject", "keys create", "keys revoke", "prices credit",
        "prices remove", "prices set", "queue pause", "queue resume", "queues redrive", "schemas delete",
        "schemas publish", "task check", "task deliver", "task notify", "task publish", "tenants add-bucket",
        "tenants add-source", "tenants create", "tenants disable", "tenants enable", "tenants remove-bucket",
        "tenants remove-source", "tenants set-budget", "tenants set-cap", "webhooks rotate", "webhooks secret",
    }
)  # fmt: skip
"""Commands that ask first."""
ELSEWHERE = frozenset(
    {
        "batch retry", "batch show", "batch submit", "batch watch",  # a client's, with an API key
        "cancel", "delete", "get", "list", "models", "submit", "watch",
        "webhooks attempts", "webhooks replay", "webhooks test",
        "console", "env", "tail",  # for a terminal
        "prices import", "provider set-key",  # they read a file, or a secret, of the terminal
    }
)  # fmt: skip
"""Commands that the console does not have: like one that is on no list."""

Line = Mapping[str, Any]


class UnknownCommandError(Exception):
    """There is no such command on the console."""


class WrongUsageError(Exception):
    """The values are none that the command takes. The message says which."""


class Endpoints:
    """Runs commands on the relay that `relay` names. Used by several threads at once."""

    def __init__(self, tool: click.Group, relay: Relay) -> None:
        self._options = relay.options
        self._commands = {path: command for path, command in _commands(tool) if path in READS | CHANGES}
        self._secret = secrets.token_bytes(32)
        self._connecting = threading.Lock()
        self._connection: Connection | None = relay.connection

    def about(self) -> dict[str, Any]:
        """Which relay it is, and what each command does and takes."""
        local = self._relay().stack_file is not None
        commands = [
            {
                "path": path,
                "help": command.get_short_help_str(),
                "reads": path in READS,
                "takes": [_described(parameter) for parameter in _parameters(command)],
            }
            for path, command in self._commands.items()
            if local or not path.startswith("faults ")
        ]
        return {"stack": self._options.get("stack") or "local stack", "local": local, "commands": commands}

    def only_reads(self, path: str, values: Mapping[str, Any]) -> bool:
        """Whether the command changes nothing with these values, so that it need not ask first."""
        return path in READS and not ACTING & values.keys()

    def command_line(self, path: str, values: Mapping[str, Any]) -> tuple[str, str]:
        """The command line, and what confirms it. Raises `UnknownCommandError`, `WrongUsageError`."""
        words = self._words(path, values)
        confirm = hmac.new(self._secret, "\0".join(words).encode(), hashlib.sha256).hexdigest()
        return self._relay().again(*words), confirm

    def run(self, path: str, values: Mapping[str, Any], say: Callable[[Line], None]) -> Line:
        """Run a command. Each line that it prints meanwhile goes to `say`.

        The end is `text` and `data`, or `error`. Raises `UnknownCommandError`, `WrongUsageError`.
        """
        words, command, relay = self._words(path, values), self._command(path), self._relay()
        relay.screen = _Lines(say)
        try:
            relay.connection = self._connect(relay)
            context = command.make_context(path, words[len(path.split()) :], obj=relay)
            with context:
                answer = context.invoke(command.callback or (lambda *_: 0), relay, **context.params)
        except click.UsageError as error:
            raise WrongUsageError(error.format_message()) from error
        except FAULTS as error:
            if isinstance(error, ClientError | BotoCoreError | ConnectionFailedError):
                self._connection = None  # the stack may be another one now, or the credentials over
            return {"error": str(error)}
        if isinstance(answer, Answer):
            return {"text": answer.text, "data": answer.data}
        return {"text": "", "data": {"status": answer}}

    def _relay(self) -> Relay:
        relay = Relay()
        relay.options = dict(self._options)
        return relay

    def _connect(self, relay: Relay) -> Connection:
        with self._connecting:
            if self._connection is None:
                self._connection = relay.connection
            return self._connection

    def _command(self, path: str) -> Command:
        if path not in self._commands:
            raise UnknownCommandError(path)
        return self._commands[path]

    def _words(self, path: str, values: Mapping[str, Any]) -> list[str]:
        """The command and its options as words of a command line; arguments stand behind `--` if one has a hyphen."""
        options, arguments = list[str](), list[str]()
        taken = {str(parameter.name): parameter for parameter in _parameters(self._command(path))}
        if unknown := sorted(values.keys() - taken.keys()):
            raise WrongUsageError(f"{path} does not take {', '.join(unknown)}")
        for name, parameter in taken.items():
            given = values.get(name)
            flag = isinstance(parameter, click.Option) and parameter.is_flag
            each = given if isinstance(given, list) else [] if given in (None, "", False) else [given]
            if not all(one in (True, "true") if flag else isinstance(one, str) and one.isprintable() for one in each):
                raise WrongUsageError(f"{name} must be {'true' if flag else 'text of printable characters'}")
            if isinstance(parameter, click.Argument):
                arguments += each
            else:
                options += [parameter.opts[-1] if flag else f"{parameter.opts[-1]}={one}" for one in each]
        hyphen = ["--"] if any(one.startswith("-") for one in arguments) else []
        return [*path.split(), *options, *hyphen, *arguments]


class _Lines(Screen):
    """The screen of a command that prints while it runs."""

    def __init__(self, say: Callable[[Line], None]) -> None:
        super().__init__(as_json=True)
        self._say = say

    def line(self, text: str, data: Mapping[str, Any]) -> None:  # noqa: ARG002 - the data says the same
        self._say({"line": data})

    def remark(self, text: str) -> None:
        self._say({"remark": text})


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        elif isinstance(command, Command):
            yield f"{before}{name}", command


def _parameters(command: Command) -> Iterator[click.Parameter]:
    """What the command itself takes: not the options that say which relay is meant."""
    return (parameter for parameter in command.params if parameter.expose_value)


def _described(parameter: click.Parameter) -> dict[str, Any]:
    option = isinstance(parameter, click.Option)
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    return {
        "name": parameter.name,
        "label": parameter.opts[-1] if option else str(parameter.name).replace("_", " "),
        "kind": "flag" if flag else "choice" if isinstance(parameter.type, click.Choice) else "text",
        "choices": list(parameter.type.choices) if isinstance(parameter.type, click.Choice) else [],
        "several": parameter.multiple or parameter.nargs == -1,
        "required": parameter.required,
        "help": getattr(parameter, "help", None) or "",
    }
