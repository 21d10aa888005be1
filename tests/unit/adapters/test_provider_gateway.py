"""What only the gateway has: its calls, and the forms in which it shows a task."""

from typing import Any

import pytest

from tests.unit.builders import NOW
from tests.unit.outbound.replies import Wire, reply
from vidu_relay.adapters.provider_gateway import GatewayProvider, read_snapshot
from vidu_relay.domain.errors import ProviderUnavailableError
from vidu_relay.domain.snapshot import Usage
from vidu_relay.outbound.reply_fields import json_object

URL = "https://cdn.example/v.mp4?Signature=a%2Bb"
ID = "remote-1"


def provider() -> GatewayProvider:
    return GatewayProvider(lambda: ("https://p.example/v1/", "key"))


def test_the_create_call_has_the_form_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"id": ID, "status": "pending"}), monkeypatch)
    params = {"prompt": "é", "seed": 2**63 - 1, "callback_url": "https://evil"}
    provider().create("m", params, "https://us.example/cb?token=k.x", tag="m")
    ((method, url, arguments),) = wire.asked
    assert (method, url) == ("POST", "https://p.example/v1/generation")
    ours = {**params, "callback_url": "https://us.example/cb?token=k.x"}
    assert wire.body == {"model": "m", "input": [{"params": ours}]}
    assert arguments["headers"]["Authorization"] == "Bearer key"
    assert arguments["headers"]["Connection"] == "close"
    assert arguments.get("session") is None, "a kept connection could not tell whether the call was sent"


@pytest.mark.parametrize(
    ("remote_id", "path"), [("a-1_b", "a-1_b"), ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"), ("é x", "%C3%A9%20x")]
)
def test_an_id_cannot_lead_a_read_elsewhere(monkeypatch: pytest.MonkeyPatch, remote_id: str, path: str) -> None:
    """A callback names ids too."""
    wire = Wire(reply(200, {"id": ID}), monkeypatch)
    provider().read(remote_id)
    assert wire.asked[0][:2] == ("GET", f"https://p.example/v1/generation/task/{path}")
    for step in (".", "..", "\ud800"):
        with pytest.raises(ProviderUnavailableError):
            provider().read(step)
    assert len(wire.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "remote-1", "usage": {"cost": 1e99999999999999999999}}',
        b'{"id": "remote-1", "created_at": 1e99999999999999999999}',
        b'{"id": "remote-1", "progress": NaN}',
        b'{"id": "remote-1", "created_at": "\xc2\xb2"}',
        b'{"id": "remote-1", "status": ["odd"], "output": "odd", "error": 5, "usage": "odd", "metadata": []}',
    ],
)
def test_a_task_that_was_created_is_not_lost_over_an_odd_reply(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    Wire(reply(201, body), monkeypatch)
    assert provider().create("m", {}, "https://ours", tag="m").remote_id == ID


PAGE = {"task_id": "up", "task_status": "done", "results": [{"type": "video", "url": URL}]}
CLIENTS = {"content": [{"jobId": "up", "url": URL}]}


@pytest.mark.parametrize("output", [PAGE, [PAGE], CLIENTS, [CLIENTS], [None, "x", 5, PAGE], [{**CLIENTS, "extra": 1}]])
def test_the_video_is_found_in_every_form_of_output(output: Any) -> None:
    snapshot = read_snapshot({"status": "completed", "output": output}, ID)
    assert (snapshot.video_urls, snapshot.upstream_id) == ((URL,), "up")


@pytest.mark.parametrize(
    "output",
    [
        *(None, [], {}, "x"),
        *([{"results": results}] for results in ([], None, {"url": URL}, [URL], [{"type": "video"}])),
        *([{"results": [{"type": "video", "url": url}]}] for url in (None, "", ["x"], "file:///etc/passwd")),
        *([{"results": [{"type": kind, "url": URL}]}] for kind in ("cover", "image/png", "video_cover", 5, ["video"])),
    ],
    ids=str,
)
def test_what_is_no_video_link_is_none(output: Any) -> None:
    assert read_snapshot({"status": "completed", "output": output}, ID).video_urls == ()


@pytest.mark.parametrize("kind", ["video", "VIDEO", " Video ", "video/mp4", "mp4", "MP4", "video;codecs=x", "", None])
def test_a_file_is_a_video_by_the_front_of_its_type(kind: str | None) -> None:
    content = {"status": "completed", "output": [{"results": [{"type": kind, "url": URL}]}]}
    assert read_snapshot(content, ID).video_urls == (URL,)


def test_several_videos_keep_their_order_and_one_in_both_forms_is_one() -> None:
    outputs = [{"results": [{"url": f"{URL}1"}, {"url": f"{URL}2"}]}, {"content": [{"url": f"{URL}3"}]}]
    assert read_snapshot({"output": outputs}, ID).video_urls == (f"{URL}1", f"{URL}2", f"{URL}3")
    link = {"type": "video", "url": URL}
    assert read_snapshot({"output": [{"results": [link], "content": [link]}]}, ID).video_urls == (URL,)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (b'{"cost": "0.4000", "discount": 0.9}', Usage("0.4000", "0.9")),
        (b'{"cost": 0.123456789012345678901}', Usage("0.123456789012345678901")),
        (b'{"cost": 0, "discount": 1}', Usage("0", "1.0")),
        (b'{"cost": "0.40"}', Usage("0.40", None)),
        *((usage, None) for usage in (b'{"discount": "none"}', b"{}", b"[]", b"null", b'{"cost": {}}')),
        *((b'{"cost": "1", "discount": "%b"}' % odd, Usage("1", None)) for odd in (b"nan", b"inf", b"1e999")),
    ],
    ids=str,
)
def test_the_cost_is_kept_digit_for_digit_and_the_discount_is_a_number_json_can_hold(
    usage: bytes, expected: Usage | None
) -> None:
    content = json_object(b'{"usage": %b}' % usage)
    assert content is not None
    assert read_snapshot(content, ID).usage == expected


NO_TIME: list[Any] = [0, -5, True, None, "", "yesterday", "²", 10**30, "9" * 5000, []]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, NOW) for value in (NOW // 1000, NOW, str(NOW // 1000))),
        *((value, NOW) for value in ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00", "2027-01-15T09:00:00+01:00")),
        ("٣", 3000),
        *((value, None) for value in NO_TIME),
    ],
    ids=lambda part: str(part)[:30],
)
def test_the_time_of_creation_is_read_in_every_unit_and_nonsense_is_none(value: Any, expected: int | None) -> None:
    assert read_snapshot({"created_at": value}, ID).created_at == expected


def test_no_field_of_a_reply_makes_a_record_that_cannot_be_written() -> None:
    """A DynamoDB item has at most 400 KB, a reply may have 8 MiB: a task must not be stuck over one long word."""
    long = "x" * 500_000
    output = {"task_id": long, "task_status": long, "results": [{"url": URL}]}
    content: dict[str, Any] = {
        "status": "completed",
        "usage": {"cost": long},
        "metadata": {"remote_task_id": long, "model": long},
        "output": [output] * 20_000,
    }
    snapshot = read_snapshot(content, ID)
    kept = [snapshot.usage, snapshot.upstream_id, snapshot.model, *snapshot.outputs]
    assert len(repr(kept)) < 100_000


@pytest.mark.parametrize(
    ("status", "code", "conclusive"),
    [
        *(("failed", code, False) for code in ("008017096", "008017097", "008017098", 8017096, 8017097, 8017098)),
        *(("failed", code, True) for code in ("008017095", None)),
        ("completed", "008017096", True),
    ],
)
def test_only_a_failure_of_the_gateway_itself_is_not_conclusive(status: str, code: Any, conclusive: bool) -> None:
    content = {"status": status, "error": {"code": code, "message": "m"}}
    assert read_snapshot(content, ID).conclusive is conclusive


def test_the_reason_of_a_failure_is_found_behind_a_success_of_the_call() -> None:
    content = {"status": "failed", "message": "SUCCEED", "task_status_msg": "risk control"}
    error = read_snapshot(content, ID).error
    assert error is not None
    assert error.message == "risk control"
