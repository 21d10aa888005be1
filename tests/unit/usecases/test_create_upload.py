"""An upload is one key, one type or one file, one size, for a quarter of an hour."""

import base64
import json
from typing import Any

import pytest

from tests.simulation.provider import NOON
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.builders import OFFERING
from vidu_relay.domain.batch import batch_id_of
from vidu_relay.domain.batch_lines import MAX_FILE_BYTES
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.limit_errors import DailyUploadsReachedError
from vidu_relay.domain.request_model import parse_request
from vidu_relay.usecases.create_upload import BatchUpload, Upload, create_batch_upload, create_upload

SHA256 = "00ff" * 16


def create(sim: Simulation, content: Any, tenant: str = TENANT, daily_cap: int = 1000) -> Upload:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return create_upload(
        body,
        tenant_id=tenant,
        daily_cap=daily_cap,
        quota=sim.quota,
        bucket=sim.images.bucket,
        now=sim.clock,
    )


@pytest.mark.parametrize(("kind", "ending"), [("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp")])
def test_form_allows_one_key_one_type_and_50_mb(sim: Simulation, kind: str, ending: str) -> None:
    upload = create(sim, {"content_type": kind})

    key = upload.uri.removeprefix(f"s3://{sim.account.inbox}/")
    assert key.startswith(f"uploads/{TENANT}/")
    assert key.endswith(f".{ending}")
    assert upload.expires_at == NOON + 900_000
    assert (upload.fields["key"], upload.fields["Content-Type"]) == (key, kind)
    policy = json.loads(base64.b64decode(upload.fields["policy"]))
    assert {"Content-Type": kind} in policy["conditions"]
    assert {"key": key} in policy["conditions"]
    assert {"bucket": sim.account.inbox} in policy["conditions"]
    assert ["content-length-range", 1, 50 * 1024 * 1024] in policy["conditions"]
    assert not [one for one in policy["conditions"] if isinstance(one, list) and one[0] == "starts-with"]
    sent = {"model": MODEL, "prompt": "x", "images": [upload.uri]}
    assert parse_request(json.dumps(sent), OFFERING).parameters == sent


def test_two_uploads_never_share_a_key(sim: Simulation) -> None:
    assert create(sim, {"content_type": "image/png"}).uri != create(sim, {"content_type": "image/png"}).uri


def test_making_a_form_writes_the_days_counter_and_nothing_else(sim: Simulation) -> None:
    create(sim, {"content_type": "image/png"})
    assert sim.effects.names == ["dynamodb.update_item"]


def test_forms_of_a_day_are_bounded_by_the_daily_cap_and_refused_requests_do_not_count(sim: Simulation) -> None:
    for _ in range(10):
        create(sim, {"content_type": "image/png"}, daily_cap=1)
        with pytest.raises(InvalidRequestError, match="not valid"):
            create(sim, {"content_type": "image/gif"}, daily_cap=1)
    with pytest.raises(DailyUploadsReachedError):
        create(sim, {"content_type": "image/png"}, daily_cap=1)
    sim.submit(daily_cap=1)  # a task still goes
    sim.clock.advance(86_400)
    create(sim, {"content_type": "image/png"}, daily_cap=1)


@pytest.mark.parametrize(
    ("content", "code", "places"),
    [
        (b"", "malformed_json", []),
        (b"{", "malformed_json", []),
        (b"\xff", "malformed_json", []),
        (b"[" * 100_000, "malformed_json", []),
        ([], "validation_error", [""]),
        ("image/png", "validation_error", [""]),
        ({}, "validation_error", ["content_type"]),
        ({"content_type": None}, "validation_error", ["content_type"]),
        ({"content_type": ["image/png"]}, "validation_error", ["content_type"]),
        ({"content_type": "image/jpg"}, "validation_error", ["content_type"]),
        ({"content_type": "image/gif"}, "validation_error", ["content_type"]),
        ({"content_type": "IMAGE/PNG"}, "validation_error", ["content_type"]),
        ({"content_type": "image/png", "key": "uploads/globex/x.png"}, "validation_error", ["key"]),
        ({"contenttype": "image/png"}, "validation_error", ["contenttype", "content_type"]),
    ],
    ids=lambda part: str(part)[:40],
)
def test_anything_else_is_refused_where_it_is_wrong(
    sim: Simulation, content: Any, code: str, places: list[str]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        create(sim, content)
    assert (caught.value.code, [fault.loc for fault in caught.value.faults]) == (code, places)


def create_batch(sim: Simulation, content: Any, daily_cap: int = 1000) -> BatchUpload:
    return create_batch_upload(
        json.dumps(content).encode(),
        tenant_id=TENANT,
        daily_cap=daily_cap,
        quota=sim.quota,
        bucket=sim.images.bucket,
        now=sim.clock,
    )


def test_form_of_a_batch_allows_one_file_under_the_key_of_its_batch(sim: Simulation) -> None:
    upload = create_batch(sim, {"sha256": SHA256, "size": 4711}, daily_cap=1)
    assert upload.batch_id == batch_id_of(TENANT, SHA256)
    key, digest = f"requests/{TENANT}/batches/{upload.batch_id}.jsonl", base64.b64encode(bytes.fromhex(SHA256)).decode()
    named = {"key": key, "x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": digest}
    assert named.items() <= upload.fields.items()
    conditions = json.loads(base64.b64decode(upload.fields["policy"]))["conditions"]
    for condition in ({"key": key}, {"x-amz-checksum-sha256": digest}, ["content-length-range", 4711, 4711]):
        assert condition in conditions
    for _ in range(9):
        create(sim, {"content_type": "image/png"}, daily_cap=1)
    with pytest.raises(DailyUploadsReachedError):
        create_batch(sim, {"sha256": SHA256, "size": 4711}, daily_cap=1)


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"sha256": None}, ["sha256"]),
        ({"sha256": SHA256.upper()}, ["sha256"]),
        ({"sha256": SHA256[1:]}, ["sha256"]),
        ({"size": 0}, ["size"]),
        ({"size": True}, ["size"]),
        ({"size": "4711"}, ["size"]),
        ({"size": MAX_FILE_BYTES + 1}, ["size"]),
        ({"key": "x", "size": None}, ["key", "size"]),
    ],
)
def test_file_that_cannot_be_a_batch_gets_no_form(sim: Simulation, change: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        create_batch(sim, {"sha256": SHA256, "size": 1, **change})
    assert [fault.loc for fault in caught.value.faults] == places
