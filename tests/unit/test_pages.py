"""What the README and the pages for users say of names, defaults and limits is what the code has."""

import re

import pytest

from local.description.events import SENT
from tests.documents import ROOT, blocks, table
from tests.unit.template import TEMPLATE, of_type, properties
from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.states import Status

USAGE, CONFIGURATION, MONEY, WEBHOOKS = (f"docs/{name}.md" for name in ("usage", "configuration", "money", "webhooks"))
PAGES = ("README.md", USAGE, CONFIGURATION, MONEY, WEBHOOKS, "docs/tool.md", "docs/local-stack.md")
SENTENCES = " ".join(word for page in PAGES for word in (ROOT / page).read_text().split())


def test_configuration_table_has_every_parameter_with_its_default() -> None:
    parameters = {name: str(value["Default"]) for name, value in TEMPLATE["Parameters"].items()}
    assert {name: cells[0].strip("`") for name, cells in table(CONFIGURATION, "<!-- parameters:").items()} == parameters


def test_state_table_has_every_state() -> None:
    assert set(table(USAGE, "## States")) == {status.value for status in Status}


@pytest.mark.parametrize("name", SENT)
def test_every_event_type_is_named(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/reference.md").read_text()


def test_money_table_speaks_of_states_and_codes_that_exist() -> None:
    rows = table(MONEY, "<!-- money:")
    said = set(re.findall(r"`([a-z_]+)`", " ".join([*rows, *(cells[0] for cells in rows.values())])))
    codes = set(table("docs/reference.md", "## Codes of tasks"))
    assert said - {status.value for status in Status} - codes == {"usage"}
    bills = re.findall(r"`([a-z]+)`", " ".join(cells[1] for cells in rows.values()))
    assert set(bills) == {state.value for state in BillingState}
    ordinary = {Status.SUBMITTED, Status.PROCESSING, Status.GENERATED, Status.COMPLETED}
    assert {status.value for status in set(Status) - ordinary} <= said


def test_every_route_of_the_template_is_named() -> None:
    routes = {resource["Properties"]["RouteKey"] for resource in of_type("AWS::ApiGatewayV2::Route").values()}
    assert {route.partition("?")[0] for route in table(USAGE, "The body takes the parameters")} == routes


def test_files_dropped_before_s3_sends_events_are_spoken_of() -> None:
    """S3 starts to send events about five minutes after they are enabled, and sends none for earlier files."""
    assert properties("InboxBucket")["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
    assert "first minutes after the first deployment" in SENTENCES


@pytest.mark.parametrize(
    "sentence",
    (
        "EventBridge takes 1 MB in all",
        "401 without a key, 403 with a wrong one, 413, 429, 500, 503",
        "and a few days more, as DynamoDB deletes expired records late",
    ),
)
def test_what_aws_does_is_said(sentence: str) -> None:
    assert sentence in SENTENCES


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_can_be_read(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1_300
