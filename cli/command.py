"""What all commands of `relay` share: the options that say which relay is meant, and how a command ends."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from cli.answer import Answer, NoAnswerError, RefusedError
from cli.connection import Connection, ConnectionFailedError, connect_local, connect_stack, default_stack_file
from cli.screen import Screen
from vidu_relay.domain.errors import ViduRelayError

if TYPE_CHECKING:
    from cli.api import Api

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
FAULTS = (RefusedError, ConnectionFailedError, ViduRelayError, ClientError, BotoCoreError)
"""What a command that is refused or failed raises; the message is for the person who called it."""
PLACES = ("stack", "local", "local_file", "api_url")
"""The options that say which relay is meant."""
KEY_HELP = (
    "Holds the tenant's API key (default: the variable RELAY_API_KEY; with --local the local stack's key). There is no "
    "option for the key itself: other programs see command lines, and shells keep them."
)


def program() -> str:
    """What starts the tool: `cli/relay` says how it was called."""
    return os.environ.get("RELAY_PROGRAM") or "relay"


class Relay:
    """The relay that the options name. Each command gets it as its first argument."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        """The shared options that were given, by name: before the command or after it, the last one counts."""

    @property
    def stack_file(self) -> Path | None:
        """The file of the local stack, if that is meant."""
        named: Path | None = self.options.get("local_file")
        return named or (default_stack_file() if "local" in self.options else None)

    @cached_property
    def screen(self) -> Screen:
        return Screen(as_json="json" in self.options)

    @cached_property
    def connection(self) -> Connection:
        """The deployment, as an operator reaches it: with AWS credentials. Raises `ConnectionFailedError`."""
        if self._place() == "api_url":
            raise click.UsageError(
                "this command needs --stack or --local: --api-url serves models, submit, watch, get, list, cancel, "
                "delete, batch, usage, webhooks attempts, replay and test"
            )
        if self.stack_file:
            return connect_local(self.stack_file)
        return connect_stack(self.options["stack"], self.options.get("region"), self.options.get("profile"))

    @cached_property
    def api(self) -> Api:
        """The HTTP API, as a tenant reaches it. Raises `RefusedError`, `ConnectionFailedError`."""
        from cli.api import connect_api

        url = self.options["api_url"] if self._place() == "api_url" else None
        return connect_api(url, self.options.get("api_key_file"), self.stack_file, lambda: self.connection)

    @property
    def named(self) -> bool:
        """Whether an option says which relay is meant."""
        return any(name in self.options for name in PLACES)

    def again(self, *words: str) -> str:
        """The command line that runs another command on the same relay, to paste."""
        names = ("stack", "region", "profile", "local", "local_file", "api_url", "api_key_file")
        given = [(f"--{name.replace('_', '-')}", self.options[name]) for name in names if name in self.options]
        options = [word for name, value in given for word in ([name] if value is True else [name, str(value)])]
        return shlex.join([program(), *options, *words])

    def _place(self) -> str:
        """The option that says which relay. Raises `click.UsageError` unless it is exactly one."""
        places = [name for name in PLACES if name in self.options]
        if len(places) != 1:
            raise click.UsageError("say which relay, once: --stack NAME, --local, --local-file FILE or --api-url URL")
        return places[0]


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value:
        context.ensure_object(Relay).options[str(parameter.name)] = value


def _shared(*, hidden: bool) -> list[click.Parameter]:
    """The options that every command takes; the help of `relay` alone shows them."""
    file = click.Path(path_type=Path, dir_okay=False)
    options: dict[str, dict[str, Any]] = {
        "--stack": {"metavar": "NAME", "help": "The deployed CloudFormation stack."},
        "--local": {"is_flag": True, "help": "The stack that `make local` runs: .local/stack.json."},
        "--local-file": {"type": file, "help": "A local stack, by the file that it has written."},
        "--api-url": {
            "metavar": "URL",
            "help": "The stack's output ApiUrl, no AWS credentials: models, submit, watch, get, list, cancel, delete, "
            "batch, usage.",
        },
        "--api-key-file": {"type": file, "help": KEY_HELP},
        "--region": {"help": "AWS region of the stack (default: as the AWS configuration says)."},
        "--profile": {"help": "AWS profile to use."},
        "--json": {"is_flag": True, "help": "Print JSON, for programs."},
    }
    return [
        click.Option([name], expose_value=False, callback=_keep, hidden=hidden, **attributes)
        for name, attributes in options.items()
    ]


class Command(click.Command):
    """A command: its callback gets the `Relay`, and gives an `Answer` to print or an exit status.

    `examples` are what follows `relay --stack vidu-relay`, each with a remark behind `  (` if it needs one.
    """

    def __init__(self, *arguments: Any, examples: Sequence[str], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += _shared(hidden=True)
        self.examples = examples

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - the first sentence, of any length
        return super().get_short_help_str(200)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's name
        _write_examples(formatter, [f"--stack vidu-relay {example}" for example in self.examples])

    def invoke(self, ctx: click.Context) -> int:
        """The exit status: 0 done, 1 refused or failed, others as the command says."""
        relay = ctx.ensure_object(Relay)
        try:
            answer = ctx.invoke(self.callback, relay, **ctx.params) if self.callback else 0
            if isinstance(answer, Answer):
                print(json.dumps(answer.data) if "json" in relay.options else answer.text)
                sys.stdout.flush()
                return 0
            return int(answer)
        except KeyboardInterrupt:
            print("\nrelay: interrupted", file=sys.stderr)
            return INTERRUPTED
        except OSError as error:
            # what Python flushes at its end must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):  # a reader may leave, as `head` does
                print(f"relay: {error.strerror or error}", file=sys.stderr)
        except NoAnswerError as error:
            print(f"relay: {relay.api.url} gives no answer ({error}): try again", file=sys.stderr)
        except FAULTS as error:
            print(f"relay: {error}", file=sys.stderr)
        return 1


class Group(click.Group):
    """A group of commands, or `relay` itself."""

    command_class = Command
    group_class = type

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += _shared(hidden=self.name != "relay")
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        first = [
            f"--stack vidu-relay {self.name} {command.examples[0].partition(' ')[2]}"
            for command in self.commands.values()
            if isinstance(command, Command)
        ][:1]
        _write_examples(formatter, self.examples or first)
        super().format_epilog(ctx, formatter)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"  {program()} {example}\n")
