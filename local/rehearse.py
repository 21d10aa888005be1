"""`make rehearse`: each shell block of `docs/deploy.md`, in order, against an emulated AWS and a simulated provider.

What a person has at hand is there before: a copy of this checkout, settings and a picture of their own, and the
credentials of users who may do what `docs/policies` says and nothing else. Exit status: 0 all went well and nothing
remains; 1 a block failed, or something remains; 130 stopped.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from local.errors import LocalStackError
from local.programs import ROOT, run, venv_program
from local.signals import StopRequestedError, stop_on_signals
from local.stack import LocalStack, origin_of

__all__ = ["PAGE", "POLICIES", "VIDEO", "Block", "blocks", "rehearse"]

PAGE = ROOT / "docs" / "deploy.md"
POLICIES = ROOT / "docs" / "policies"
WORK_DIR = ROOT / ".local" / "rehearsal"
NOT_REHEARSED = "Not rehearsed: "
"""How the paragraph before a block begins that is left out; it goes on with the reason."""

VIDEO = "first.mp4"
"""The file in which the page has the first video saved."""

GENERATION_SECONDS = 1.0
SCRIPT = """
. "$1/given/variables"
{credentials}
cd "$1/checkout"
exec <"$1/given/key"
{commands}
export -p >"$1/given/variables"
"""
"""One block in the shell: what the ones before exported is there, and standard input is the provider's key."""

BLOCK_SECONDS = 600


class Block(NamedTuple):
    """A shell block of the page, and why it is not rehearsed (empty if it is)."""

    commands: str
    reason: str


def blocks(page: str) -> list[Block]:
    """The shell blocks of a page, in order."""
    *parts, _ = re.split(r"^```sh\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)
    said = [text.strip().rpartition("\n\n")[2] for text in parts[::2]]
    reasons = [text.removeprefix(NOT_REHEARSED) if text.startswith(NOT_REHEARSED) else "" for text in said]
    return [Block(*block) for block in zip(parts[1::2], reasons, strict=True)]


def main() -> int:
    try:
        with stop_on_signals():
            remaining = rehearse(WORK_DIR)
    except LocalStackError as error:
        _say(f"The rehearsal failed: {error}")
        return 1
    except StopRequestedError:
        _say("Stopped.")
        return 130
    for what in remaining:
        _say(f"Remains: {what}")
    return 1 if remaining else 0


def rehearse(work_dir: Path, *, without: str | None = None) -> list[str]:
    """Run the blocks, except those with the word `without`; what the page leaves in the account without saying so.

    They run in `checkout` in the folder. Raises `CommandFailedError` at the first block that fails.
    """
    key = secrets.token_urlsafe(24)
    stack = LocalStack(work_dir, provider_key=key, generation_seconds=GENERATION_SECONDS, progress=_say)
    with stack.without_stack() as (environment, provider_url):
        checkout, given = work_dir / "checkout", work_dir / "given"
        shutil.rmtree(checkout, ignore_errors=True)
        shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        (checkout / ".venvs").symlink_to(ROOT / ".venvs")
        simulator = origin_of(provider_url)
        settings = {"ProviderBaseUrl": provider_url, "TrustedOrigins": simulator, "AlarmEmail": "ops@example.com"}
        for name in ("parameters.yaml", "parameters-test.yaml"):
            (checkout / name).write_text(json.dumps(settings))
        (checkout / "picture.png").write_bytes(requests.get(f"{simulator}/images/fox.png", timeout=60).content)
        given.mkdir(exist_ok=True)
        (given / "key").write_text(key)
        (given / "variables").touch()
        own = {
            "PATH": environment["PATH"].partition(":")[2],  # the page itself puts SAM on it
            "REQUESTS_CA_BUNDLE": environment["AWS_CA_BUNDLE"],
            "LAYER_TARGET": "host",
            "LAYER_PYTHON": venv_program("runtime"),
        }
        found = [block for block in blocks(PAGE.read_text()) if without is None or without not in block.commands]
        _run_blocks(found, work_dir, {**environment, **own}, _credentials(stack))
        return _remaining(stack)


def _run_blocks(
    found: Sequence[Block], work_dir: Path, environment: Mapping[str, str], users: Mapping[str, str]
) -> None:
    began, commands = time.monotonic(), 0
    for number, block in enumerate(found, 1):
        if block.reason:
            _say(f"{number}. left out: {' '.join(block.reason.split())}")
            continue
        _say(f"{number}. {block.commands.strip()}")
        script = SCRIPT.format(credentials=users[_user(block)], commands=block.commands)
        command = ["sh", "-ec", script, "sh", str(work_dir)]
        run(f"Block {number}", command, environment, work_dir / "logs" / "blocks.log", BLOCK_SECONDS)
        commands += _commands(block)
        if VIDEO in block.commands:
            _say(f"The first video is there: {commands} commands, {time.monotonic() - began:.0f} s after the first.")
    _say(f"The page is done, {time.monotonic() - began:.0f} s after the first command.")


def _user(block: Block) -> str:
    """Who enters the commands: the operator those of `cli/relay` alone, but not the doctor's."""
    alone = "cli/relay" in block.commands and not re.search(r"sam |relay\S* .*doctor", block.commands)
    return "operator" if alone else "deployer"


def _commands(block: Block) -> int:
    """How many commands a person enters: lines that are neither comments nor go on with the one before."""
    lines = block.commands.replace("\\\n", "").splitlines()
    return sum(bool(line.strip()) and not line.startswith("#") for line in lines)


def _credentials(stack: LocalStack) -> dict[str, str]:
    """What sets the credentials of the users who may do what `docs/policies` says, by their names."""
    iam, users = stack.client("iam"), {}
    for user in ("deployer", "operator"):
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=(POLICIES / f"{user}.json").read_text())
        key = iam.create_access_key(UserName=user)["AccessKey"]
        users[user] = f"export AWS_ACCESS_KEY_ID={key['AccessKeyId']} AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}"
    return users


def _remaining(stack: LocalStack) -> list[str]:
    """What is left in the account, besides SAM's own stack and its bucket, and what is deleted with a delay."""
    stacks = stack.client("cloudformation").describe_stacks()["Stacks"]
    found = [one["StackName"] for one in stacks]
    found += [bucket["Name"] for bucket in stack.client("s3").list_buckets()["Buckets"]]
    found += stack.client("dynamodb").list_tables()["TableNames"]
    found += [secret["Name"] for secret in stack.client("secretsmanager").list_secrets()["SecretList"]]
    found += [group["logGroupName"] for group in stack.client("logs").describe_log_groups()["logGroups"]]
    found += stack.client("sqs").list_queues().get("QueueUrls", [])
    return [name for name in found if not name.startswith("aws-sam-cli-managed-default")]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
