"""What the README and the pages for users say of names, defaults and limits is what the code has."""

import re

import pytest

from local.description.events import SENT
from tests.documents import ROOT, blocks, table
from tests.unit.template import TEMPLATE, of_type, properties
from vidu_relay.adapters.video_links import LINK_SECONDS
from vidu_relay.domain import delivery, image_format
from vidu_relay.domain import request_model as request
from vidu_relay.domain.states import Status
from vidu_relay.http import MAX_BODY_BYTES
from vidu_relay.usecases import check_references, create_upload
from vidu_relay.usecases.read_tasks import MAX_LIMIT
from vidu_relay.usecases.submit_task import MAX_KEY_CHARACTERS

USAGE, CONFIGURATION, MONEY, WEBHOOKS = (f"docs/{name}.md" for name in ("usage", "configuration", "money", "webhooks"))
PAGES = ("README.md", USAGE, CONFIGURATION, MONEY, WEBHOOKS, "docs/tool.md", "docs/local-stack.md")
SENTENCES = " ".join(word for page in PAGES for word in (ROOT / page).read_text().split())
ORDINAL = {5: "fifth"}


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
    ordinary = {Status.SUBMITTED, Status.PROCESSING, Status.GENERATED, Status.COMPLETED}
    assert {status.value for status in set(Status) - ordinary} <= said


def test_every_route_of_the_template_is_named() -> None:
    routes = {resource["Properties"]["RouteKey"] for resource in of_type("AWS::ApiGatewayV2::Route").values()}
    assert {route.partition("?")[0] for route in table(USAGE, "`callback_url` is kept")} == routes


@pytest.mark.parametrize(
    "sentence",
    (
        f"A prompt of {request.MAX_PROMPT_CHARACTERS:,} characters",
        f"1 to {request.MAX_SUBJECTS} subjects",
        f"1 to {request.MAX_IMAGES} images in total and {request.MAX_IMAGES_PER_SUBJECT} a subject",
        f"`payload` {request.MAX_PAYLOAD_CHARACTERS:,} characters",
        f"Bodies up to {MAX_BODY_BYTES // 1024**2} MB",
        f"`limit` 1 to {MAX_LIMIT}",
        f"(1 to {MAX_KEY_CHARACTERS} printable ASCII characters)",
        f"at most {LINK_SECONDS // 60} minutes",
        f"at the {ORDINAL[delivery.DELAYED_AFTER]} failed copy",
        f"at least {image_format.MIN_IMAGE_PIXELS}×{image_format.MIN_IMAGE_PIXELS} pixels",
        f"within 1:{image_format.MAX_IMAGE_RATIO} and {image_format.MAX_IMAGE_RATIO}:1",
        f"at most {image_format.MAX_IMAGE_BYTES // 1024**2} MB",
        f"within {check_references.ALL_SECONDS:g} seconds",
        f"send it within {create_upload.UPLOAD_SECONDS // 60} minutes",
    ),
)
def test_limit_is_the_one_in_the_code(sentence: str) -> None:
    assert sentence in SENTENCES


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
        f"links good for at most {LINK_SECONDS // 60} minutes",
        "401 without a key, 403 with a wrong one, 413, 429, 500, 503",
        "and a few days more, as DynamoDB deletes expired records late",
    ),
)
def test_what_aws_does_is_said(sentence: str) -> None:
    assert sentence in SENTENCES


def test_tree_names_what_is_there() -> None:
    (tree,) = (block for block in blocks("README.md", "") if "one stack" in block)
    named = re.findall(r"(?:^|  )([a-z_/]+/|[a-z]+\.yaml)(?= )", tree, re.MULTILINE)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_can_be_read(page: str) -> None:
    for block in blocks(page, "python"):
        compile(block, page, "exec")


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1_300
