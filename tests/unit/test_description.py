"""The API's description: current, valid, whole, and true to what the handlers answer."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from local.description.files import files
from local.description.schemas import EXAMPLES, PARAMETERS, schemas
from tests.documents import table
from tests.unit.builders import OFFERING, task_in
from tests.unit.domain.test_catalogue import OFFERS, inside, smallest
from tests.unit.template import ROUTES, WITHOUT_A_KEY, properties
from vidu_relay.domain.catalogue import models
from vidu_relay.domain.model_schema import SUBJECT
from vidu_relay.domain.representation import represent
from vidu_relay.domain.request_model import Subject, parse_request
from vidu_relay.domain.states import Status
from vidu_relay.http import STATUS_OF_CODE
from vidu_relay.openapi_page import CONTENT_SECURITY_POLICY, OPENAPI, STYLE, render

DOCUMENT = json.loads(OPENAPI.read_text("utf-8"))


def conforms(instance: Any, name: str) -> None:
    """Raises if the instance does not fit a schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas()}}
    Draft202012Validator(schema).validate(instance)


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def codes(document: dict[str, Any]) -> dict[str, set[str]]:
    """The codes of problem documents, by status."""
    found: dict[str, set[str]] = {}
    for operation in operations(document).values():
        for status, answer in operation["responses"].items():
            if problem := answer["content"].get("application/problem+json"):
                found.setdefault(status, set()).update(problem["schema"]["allOf"][1]["properties"]["code"]["enum"])
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_generated_file_is_current(path: Path) -> None:
    assert path.read_text("utf-8") == files()[path], "make schemas"


def test_document_is_valid_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_document_describes_the_routes_of_the_template_and_no_others() -> None:
    assert set(operations(DOCUMENT)) == {route.replace("+}", "}") for route in ROUTES}


def test_every_parameter_is_explained() -> None:
    taken = {name for model in models().values() for offer in model.offers.values() for name in offer.parameters}
    assert set(PARAMETERS) == taken | {"model", "callback_url"}
    assert set(schemas()["Subject"]["properties"]) == set(SUBJECT["properties"]) == set(Subject.model_fields)


def test_subject_is_described_as_it_is_checked() -> None:
    checked = Subject.model_json_schema()["properties"]
    for name, schema in schemas()["Subject"]["properties"].items():
        said, limits = (dict(one.get("anyOf", [one])[0]) for one in (schema, checked[name]))
        said.pop("description", None)
        limits.pop("title", None)
        assert said == limits, name


def test_request_of_each_model_is_named_by_its_discriminator_and_takes_what_a_provider_takes() -> None:
    every = DOCUMENT["components"]["schemas"]
    request = every["VideoRequest"]
    assert request["discriminator"]["mapping"] == {name: f"#/components/schemas/{name}" for name in models()}
    assert [one["$ref"] for one in request["oneOf"]] == [*request["discriminator"]["mapping"].values()]
    assert OPENAPI.stat().st_size < 200_000  # a function reads and serves it
    for model, provider in OFFERS:
        form = {**smallest(model, provider), "callback_url": None}
        conforms(form, "VideoRequest")
        schema = {"$ref": f"#/components/schemas/{model.id}", "components": DOCUMENT["components"]}
        fits = Draft202012Validator(schema).is_valid
        for name, spec in model.offers[provider].parameters.items():
            assert all(fits({**form, name: value}) for value in inside(spec)), (model.id, name)
            assert fits({**form, name: None}) or spec.required, (model.id, name)
            assert not fits({**form, name: {}}), (model.id, name)
        assert not fits({**form, "unknown": 1})


def test_operations_without_a_key_are_those_of_the_template() -> None:
    for route, operation in operations(DOCUMENT).items():
        without = operation.get("security") == []
        assert without == (route.replace("{file}", "{file+}") in WITHOUT_A_KEY), route
        assert without == ("401" not in operation["responses"])


OF_QUEUES = {"unknown_tenant", "source_not_mapped", "tenant_mismatch", "tenant_disabled"}
OF_QUEUES |= {"file_too_large", "too_many_lines", "file_empty", "file_compressed", "file_not_utf8", "line_too_long"}
OF_QUEUES |= {"file_gone"}
"""Codes of files and events alone: over HTTP, the API key names the tenant."""


def test_codes_are_those_of_the_reference_with_their_statuses() -> None:
    said: dict[str, set[str]] = {}
    for code, cells in table("docs/reference.md", "## Codes of refused requests").items():
        if code not in OF_QUEUES:
            said.setdefault(cells[0], set()).add(code)
    assert codes(DOCUMENT) == said
    for status, those in codes(DOCUMENT).items():
        assert all(STATUS_OF_CODE[code] == int(status) for code in those if code in STATUS_OF_CODE)


def test_time_to_revoke_is_the_authorizers() -> None:
    said = DOCUMENT["components"]["securitySchemes"]["apiKey"]["description"]
    assert f"{properties('ApiKeyAuthorizer')['AuthorizerResultTtlInSeconds']} seconds" in said


@pytest.mark.parametrize("status", Status)
def test_task_in_every_state_is_as_described(status: Status) -> None:
    conforms(represent(task_in(status), sign=lambda video: f"https://signed.example/{video.key}"), "Task")
    conforms(represent(task_in(status)), "Task")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_as_described(name: str) -> None:
    conforms(EXAMPLES[name], name)


def test_example_of_a_request_is_accepted() -> None:
    example = EXAMPLES["VideoRequest"]
    assert parse_request(json.dumps(example), OFFERING).parameters == example


# --- the page


class Reader(HTMLParser):
    """Collects what a browser would load or run, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        assert not {name for name in given if name.startswith("on") or name in ("style", "src")}
        self.links |= {given["href"] or ""} if "href" in given else set()
        self.ids |= {given["id"] or ""} if "id" in given else set()
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def reader() -> Reader:
    made = Reader()
    made.feed(render(DOCUMENT))
    return made


BESIDE = {"openapi.json", "console"}


def test_page_loads_and_runs_nothing(reader: Reader) -> None:
    assert reader.open == []
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert all(link.startswith("#") or link in BESIDE for link in reader.links)
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_page_shows_everything_and_its_links_lead_somewhere(reader: Reader) -> None:
    assert {link.removeprefix("#") for link in reader.links} - BESIDE <= reader.ids
    for route, operation in operations(DOCUMENT).items():
        assert route.split(" ")[1] in reader.text
        assert operation["summary"] in reader.text
    for webhook in DOCUMENT["webhooks"].values():
        assert webhook["post"]["summary"] in reader.text
        assert all(header["name"] in reader.text for header in webhook["post"]["parameters"])
    for name in (
        *PARAMETERS,
        *DOCUMENT["components"]["schemas"],
        *(code for some in codes(DOCUMENT).values() for code in some),
    ):
        assert name in reader.text, name
    assert set(DOCUMENT["x-states"]) == set(Status)
    assert all(text in reader.text for text in DOCUMENT["x-states"].values() if "`" not in text)
    assert (
        '"$API/v1/tasks" \\\n  -H "Authorization: Bearer $KEY" \\\n  -H \'Idempotency-Key: order-4711\'' in reader.text
    )


def test_page_escapes_what_it_shows() -> None:
    servers = [{"url": "https://a.example/<script>alert(1)</script>"}]
    text = render({**DOCUMENT, "servers": servers, "info": {"title": "<b>&", "description": ""}})
    assert "https://a.example/&lt;script" in text
    assert "<script" not in text
    assert "<b>" not in text


def test_policy_is_for_the_style_in_the_page() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", render(DOCUMENT), re.DOTALL)
    assert style == STYLE
