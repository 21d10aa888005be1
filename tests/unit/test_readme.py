"""What the README says of names and defaults is what the code has."""

import re
from pathlib import Path

import pytest

from tests.unit.template import TEMPLATE
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPES, Status

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def rows(after: str) -> dict[str, str]:
    """The first two columns of the table that follows a piece of text."""
    table = README.split(after, 1)[1].split("\n\n", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|\s*(?:`([^`]*)`)?", table, flags=re.MULTILINE)
    return dict(found)


def test_configuration_table_has_every_parameter_with_its_default() -> None:
    parameters = {name: str(value["Default"]) for name, value in TEMPLATE["Parameters"].items()}
    assert rows("<!-- parameters:") == parameters


def test_state_table_has_every_state() -> None:
    assert set(rows("| state | means |")) == {status.value for status in Status}


@pytest.mark.parametrize("name", (EVENT_TYPE_ACCEPTED, *EVENT_TYPES.values()))
def test_every_event_type_is_named(name: str) -> None:
    assert f"`{name}`" in README


def test_every_route_of_the_template_is_named() -> None:
    routes = {
        resource["Properties"]["RouteKey"]
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    }
    named = {route.partition("?")[0] for route in rows("| route | answers |")}
    assert named == routes


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE)) <= targets
