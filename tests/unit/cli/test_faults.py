"""Faults of the local stack: orders to the simulator and the emulator, and to nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import faults
from cli.main import main
from local.simulator.scripts import ScriptRequest


class _Switch:
    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def order(self, orders: list[dict[str, Any]], seed: int) -> None:
        assert seed >= 0
        self.orders += orders


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, list[Any], _Switch]:
    """The file of a local stack, what the simulator is sent, and what the emulator is."""
    stack = dict.fromkeys(("region", "stack_name", "table", "aws_endpoint_url", "aws_ca_bundle"), "x")
    file, calls, switch = tmp_path / "stack.json", list[Any](), _Switch()
    file.write_text(json.dumps({**stack, "functions": {"check_task": "check-1"}}))
    monkeypatch.setattr(faults, "_switch", lambda _: switch)
    monkeypatch.setattr(faults, "_simulator", lambda _, *call: calls.append(call))
    return file, calls, switch


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_fault_is_a_script_for_one_task_that_the_simulator_knows(
    sent: tuple[Path, list[Any], _Switch], fault: str
) -> None:
    file, calls, switch = sent
    assert main(["--local-file", str(file), "faults", "inject", fault]) == 0
    ((method, what, order),) = calls
    assert (method, what, order["match"], order["times"]) == ("POST", "scripts", {}, 1)
    assert ScriptRequest.model_validate(order).script.model_dump(exclude_defaults=True)
    assert [(one["at"], one["limit"]) for one in switch.orders] == [("check-1", 1)] * (fault == "kill-function")


@pytest.mark.parametrize("words", [["list"], ["inject", "lose-reply"], ["end"]])
def test_faults_are_refused_for_a_deployed_stack(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "vidu-relay", "faults", *words]) == 1
    assert "say --local" in capsys.readouterr().err
