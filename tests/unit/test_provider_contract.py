"""The lists of the provider's page are whole, and every test that they name exists."""

import ast
import re
from functools import cache

import pytest

from local.description.json_schema import Schema
from local.description.schemas import schemas
from tests.documents import ROOT
from vidu_relay.adapters.provider_gateway import INCONCLUSIVE_CODES
from vidu_relay.domain import catalogue, image_format, strict_json
from vidu_relay.domain.model_schema import SUBJECT
from vidu_relay.domain.states import Status

PAGE = "docs/provider-contract.md"
SECTIONS = ("Parameters", "Limits", "Statuses", "Fields of the answer", "Error codes")
FIELDS_OF_THE_PAGE = ("error", "output", "usage", "metadata")
FINAL_CODES = {"008017095", "008017099"}
OFFER = catalogue.models()[catalogue.DEFAULT_MODEL].offers["gateway"]
"""What the page is about."""
TAKEN = OFFER.parameters


def rows(section: str) -> dict[str, str]:
    """What the page says of each row of a section, by the row's name; the test that proves it stands last."""
    text = (ROOT / PAGE).read_text().split(f"\n## {section}\n", 1)[1].partition("\n## ")[0]
    found = [line.removeprefix("- ").split(": ", 1) for line in text.splitlines() if line.startswith("- ")]
    said = {name.strip("`"): what for name, what in found}
    assert len(said) == len(found), f"{section}: twice the same row"
    return said


ROWS = {section: rows(section) for section in SECTIONS}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize(("row", "said"), [(row, said) for section in ROWS.values() for row, said in section.items()])
def test_every_row_is_proven_through_the_simulator_by_a_test_that_exists(row: str, said: str) -> None:
    proof = re.fullmatch(r"`(?:(tests/(?:browser|contract|e2e)/\w+\.py)::)?(\w+)`", said.rpartition(" ")[2])
    assert proof, row
    assert proof[2] in names_in(proof[1] or "tests/contract/test_provider_page.py")


def test_every_parameter_has_a_row() -> None:
    subjects = {f"subjects[].{name}" for name in SUBJECT["properties"]}
    assert set(ROWS["Parameters"]) == {"model", *TAKEN, "callback_url", *subjects, "authorization"}


def test_every_status_has_a_row() -> None:
    assert set(ROWS["Statuses"]) == {status.value for status in Status}


def test_every_field_of_the_page_has_a_row() -> None:
    found: set[str] = set()

    every = schemas()

    def note(name: str, schema: Schema) -> None:
        found.add(name)
        for part in schema.get("anyOf", [schema]):
            inner, above = (part["items"], f"{name}[]") if "items" in part else (part, name)
            inner = every.get(inner.get("$ref", "").rpartition("/")[2], inner)
            for field, of in inner.get("properties", {}).items():
                note(f"{above}.{field}", of)

    for field in FIELDS_OF_THE_PAGE:
        note(field, every["Task"]["properties"][field])
    assert set(ROWS["Fields of the answer"]) == found | {"polling"}


def test_every_code_has_a_row_that_says_what_the_code_does() -> None:
    refused = {part.code for part in (*OFFER.rules, *TAKEN.values()) if part.code}
    said = ROWS["Error codes"]
    assert set(said) == refused | INCONCLUSIVE_CODES | FINAL_CODES
    assert {code for code, text in said.items() if text.startswith("422")} == refused
    assert {code for code, text in said.items() if text.startswith("ends no task")} == INCONCLUSIVE_CODES


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("prompt", f"1 to {TAKEN['prompt'].most:,} characters"),
        ("payload", f"at most {TAKEN['payload'].most:,} characters"),
        ("subjects", f"1 to {TAKEN['subjects'].most}"),
        ("images", f"1 to {TAKEN['images'].most}"),
        ("subjects[].images", f"1 to {catalogue.MAX_IMAGES_PER_SUBJECT}, {catalogue.MAX_IMAGES} in all"),
        ("subjects[].id", f"1 to {catalogue.MAX_SUBJECT_ID_CHARACTERS} characters"),
        ("subjects[].voice_id", f"at most {catalogue.MAX_VOICE_ID_CHARACTERS} characters"),
        ("meta_data", f"at most {TAKEN['meta_data'].most:,} characters"),
        ("callback_url", f"at most {catalogue.MAX_URL_BYTES:,} bytes"),
        ("wm_url", f"at most {catalogue.MAX_URL_BYTES:,} bytes"),
    ],
)
def test_limit_of_a_row_is_the_one_in_the_code(row: str, said: str) -> None:
    assert said in ROWS["Parameters"][row]


def test_limits_of_json_and_images_are_those_in_the_code() -> None:
    structure, depth, number = strict_json.MAX_STRUCTURE, strict_json.MAX_DEPTH, strict_json.MAX_NUMBER_CHARACTERS
    pixels, ratio, size = image_format.MIN_IMAGE_PIXELS, image_format.MAX_IMAGE_RATIO, image_format.MAX_IMAGE_BYTES
    assert f"{structure:,} brackets, commas and colons; {depth} levels; {number} characters a number" in ROWS["Limits"]
    assert f"{pixels}×{pixels} pixels, 1:{ratio} to {ratio}:1, {size >> 20} MiB" in ROWS["Limits"]
