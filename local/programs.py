"""The programs the laptop stack is made of: where they are, what environment they get, and that they end with us."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from local.errors import CommandFailedError
from local.signals import undisturbed

ROOT = Path(__file__).resolve().parent.parent
TETHER = Path(__file__).with_name("tether.py")

PASSED_ON = (
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "USER",
    "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy",
)  # fmt: skip
"""Variables of ours that our programs see; no other, so that settings made for other work change nothing here."""


def venv_program(environment: str, name: str = "python") -> str:
    """Path of a program in one of the environments that ``make setup`` makes."""
    return str(ROOT / ".venvs" / environment / "bin" / name)


def program_environment(temporary: Path, **variables: str) -> dict[str, str]:
    """The environment of a program: what it needs of ours, no AWS account but the emulator's, and `variables`."""
    ours = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    ours.update({name: value for name, value in os.environ.items() if name.startswith("UV_")})
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1,localhost"]))
    return {
        **ours,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "TMPDIR": str(temporary),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }


class Program:
    """A running program that ends when we do, even when we are killed."""

    def __init__(self, what: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start `command` in the project's folder.

        `what` names it in messages; standard error is appended to the file `log`, standard output too once the first
        line was read.
        """
        self.what, self.log = what, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                [sys.executable, "-I", "-S", str(TETHER), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=dict(environment),
                start_new_session=True,
            )
        self._first_line: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def first_line(self, seconds: float) -> str:
        """The first line it writes on standard output: the sign that it is ready.

        Raises `CommandFailedError` when it ends without one, or does not write one within `seconds`.
        """
        try:
            line = self._first_line.get(timeout=seconds)
        except queue.Empty:
            raise CommandFailedError(self.what, f"was not ready within {seconds:g} s", self.log) from None
        if not line:
            raise CommandFailedError(self.what, f"failed with status {self.wait()}", self.log)
        return line

    def wait(self, seconds: float | None = None) -> int:
        """Its exit status, when it has ended."""
        status = self._process.wait(seconds)
        self._reader.join()
        return status

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it, and whatever it started. Does nothing if it has ended."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: we asked for a pipe
        self._process.stdin.close()
        self.wait()

    def _read_output(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: we asked for a pipe
        with self._process.stdout as output, self.log.open("ab") as log:
            self._first_line.put(output.readline().decode())
            for line in output:
                log.write(line)
                log.flush()


@contextmanager
def running(what: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Program]:
    """A `Program` that ends on leaving, even if a signal stops us while it starts."""
    with ExitStack() as cleanup:
        with undisturbed():
            program = cleanup.enter_context(Program(what, command, environment, log))
        yield program


def run(what: str, command: Sequence[str], environment: Mapping[str, str], log: Path, seconds: float = 300) -> None:
    """Run a program to its end; its output goes to `log`.

    Raises `CommandFailedError` when it fails, or takes longer than `seconds`.
    """
    with running(what, command, environment, log) as program:
        try:
            status = program.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CommandFailedError(what, f"took longer than {seconds:g} s", log) from None
    if status:
        raise CommandFailedError(what, f"failed with status {status}", log)
