"""Each line of the provider's page, through functions and simulator: `docs/provider-contract.md` names these tests."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.handlers import Handlers, running
from tests.contract.simulator_client import call
from tests.unit.domain.test_request_model import BASE, FORM, JUST_INSIDE, JUST_OUTSIDE, URL, body
from vidu_relay.domain.polling import OFF_PEAK_DEADLINE_MS
from vidu_relay.usecases.begin_submission import MAX_WAITING_BODY_BYTES

Body = dict[str, Any]


@pytest.fixture(scope="module")
def stack() -> Iterator[Handlers]:
    with running() as handlers:
        yield handlers


@pytest.fixture
def relay(stack: Handlers) -> Handlers:
    stack.reset()
    return stack


@pytest.fixture
def daytime(relay: Handlers, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    """As deployed by default: without off-peak mode."""
    return Handlers(relay.account, relay.simulator, monkeypatch, OFF_PEAK_AVAILABLE="false")


def whole(relay: Handlers) -> Body:
    """Every parameter at once, but for `images`, which excludes `subjects`."""
    return {
        "model": BASE["model"],
        "subjects": [
            {"id": "fox", "images": [relay.image("fox.png"), relay.image("tail.jpg")], "voice_id": "warm"},
            {"id": "robot", "images": [relay.image("robot.webp")]},
        ],
        "prompt": "@fox und @robot tanzen 🦊",
        "audio": True,
        "duration": 8,
        "seed": -7,
        "aspect_ratio": "21:9",
        "resolution": "1080p",
        "payload": '{"order": "ä"}',
        "off_peak": False,
        "watermark": True,
        "wm_position": 1,
        "wm_url": relay.image("logo.png"),
        "meta_data": '{"Label":  "x", "n": 1.50}',  # the very text
        "callback_url": "https://client.example/hook?key=secret",
    }


def provider_would(relay: Handlers, request: Body) -> str | None:
    """The code with which the simulator, by its own reading of the page, refuses a request."""
    params = {name: value for name, value in request.items() if name != "model"}
    sent = json.dumps({"model": request["model"], "input": [{"params": params}]}).encode()
    answer = call(
        "POST", f"{relay.simulator.url}/generation", sent, {"Authorization": f"Bearer {relay.simulator.api_key}"}
    )
    if answer.status == 200:
        return None
    error = answer.json().get("error")
    return str(error["code"]) if isinstance(error, dict) else ""


def local(relay: Handlers, changes: Body) -> Body:
    """A request of the model's own tests, its images where the simulator has them."""
    found: Body = json.loads(json.dumps(body(**changes)).replace(f'"{URL}"', json.dumps(relay.image("fox.png"))))
    return found


def script(relay: Handlers, script: Body) -> None:
    """What happens to the next tasks; done at once where nothing else is said."""
    relay.simulator.reset()
    relay.simulator.script({"callbacks": {"drop": True}, "generation_seconds": 0, **script})


def read_after_callback(relay: Handlers) -> Body:
    """A new task, as a client reads it once the provider has called back."""
    task_id = relay.submit(relay.request()).body["task_id"]
    assert relay.call_back(task_id) == 200
    return relay.read(task_id)


# --- parameters


def test_every_parameter_goes_to_the_provider_as_it_was_given(relay: Handlers) -> None:
    request = whole(relay)
    answer = relay.submit(request)
    assert answer.status == 202
    kept_back = {"model", "callback_url"}
    assert relay.received() == [{name: value for name, value in request.items() if name not in kept_back}]
    (seen,) = relay.simulator.tasks()
    assert json.loads(seen["request"]["body"])["model"] == request["model"]
    assert request["callback_url"] not in json.dumps(seen), "the client's own address is kept back"
    assert f"/v1/callbacks/{answer.body['task_id']}?token=" in seen["callback_url"]
    assert relay.read(answer.body["task_id"])["request"] == request


def test_request_without_subjects_goes_with_its_images_and_without_defaults(relay: Handlers) -> None:
    images = [relay.image(f"{number}.png") for number in range(7)]
    assert relay.submit(relay.request(images=images, prompt="write to @unknown", duration=None)).status == 202
    assert relay.received() == [{"images": images, "prompt": "write to @unknown"}]


OPTIONAL = sorted(name for name, field in FORM.model_fields.items() if not field.is_required())


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_optional_parameter_that_is_null_or_empty_was_not_given(relay: Handlers, nothing: str | None) -> None:
    plain = relay.request(duration=None)
    answer = relay.submit({**dict.fromkeys(OPTIONAL, nothing), **plain}, key=f"nothing-{nothing}")
    assert answer.status == 202
    assert relay.received() == [{name: value for name, value in plain.items() if name != "model"}]
    assert relay.read(answer.body["task_id"])["request"] == plain
    assert relay.submit(plain, key=f"nothing-{nothing}").body["task_id"] == answer.body["task_id"]
    subjects = [{"id": "1", "images": plain["images"], "voice_id": nothing}]
    assert relay.submit({**plain, "images": nothing, "subjects": subjects}).status == 202
    assert relay.received()[-1]["subjects"] == [{"id": "1", "images": plain["images"]}]


def test_whole_number_is_passed_on_without_point_and_exponent(relay: Handlers) -> None:
    plain = relay.request(duration=5, seed=1000, wm_position=3)
    text = json.dumps(plain).replace(": 5", ": 5.0").replace(": 1000", ": 1e3").replace(": 3", ": 0.3e1")
    answer = relay.submit(None, raw=text, key="whole-numbers")
    assert answer.status == 202
    (params,) = relay.received()
    assert repr([params[name] for name in ("duration", "seed", "wm_position")]) == "[5, 1000, 3]"
    assert relay.submit(plain, key="whole-numbers").body["task_id"] == answer.body["task_id"]
    assert relay.submit(None, raw=text.replace("5.0", "5.5")).places == ["duration"]
    assert relay.creates() == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ('{"model": [' + "[]," * 1_000_000 + "0]}", 422),
        ("[" * 1_000_000, 400),
        ('{"seed": ' + "9" * 1_000_000 + "}", 400),
    ],
    ids=["lists", "levels", "digits"],
)
def test_body_that_no_request_comes_near_is_refused_before_it_is_read(relay: Handlers, raw: str, status: int) -> None:
    answer = relay.submit(None, raw=raw)
    assert (answer.status, relay.creates()) == (status, 0)
    assert answer.body["code"] in ("malformed_json", "validation_error")


@pytest.mark.parametrize(
    "changes", [one for one in JUST_INSIDE if "data:" not in str(one)], ids=lambda changes: str(changes)[:60]
)
def test_value_just_inside_a_limit_reaches_the_provider_which_takes_it(relay: Handlers, changes: Body) -> None:
    request = local(relay, changes)
    answer = relay.submit(request)
    assert (answer.status, answer.body.get("error")) == (202, None)
    if answer.body["status"] == "accepted":  # no client waits while more than 1 MB is sent
        relay.check(answer.body["task_id"])
    assert relay.received() == [{n: v for n, v in request.items() if n not in ("model", "callback_url")}]


@pytest.mark.parametrize(("where", "changes"), JUST_OUTSIDE, ids=lambda part: str(part)[:60])
def test_value_just_outside_a_limit_is_refused_at_its_place_and_costs_nothing(
    relay: Handlers, where: str, changes: Body
) -> None:
    answer = relay.submit(local(relay, changes))
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert where in answer.places
    assert all(fault["msg"] for fault in answer.body["errors"])
    assert relay.creates() == 0


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("008017001", {"audio": True}),
        ("008017001", {"audio": True, "images": ...}),
        ("008017001", {"audio": True, "images": []}),
        ("008017002", {"images": ...}),
        ("008017002", {"images": ..., "subjects": []}),
        ("008017003", {"images": []}),
        ("008017003", {"images": [URL] * 8}),
        ("008017003", {"images": ..., "subjects": [{"id": str(n), "images": [URL] * 2} for n in range(4)]}),
        (None, {"audio": False}),
        (None, {"images": [URL] * 7}),
        (None, {"audio": True, "images": ..., "subjects": [{"id": "1", "images": [URL]}]}),
    ],
    ids=lambda part: str(part)[:60],
)
def test_codes_of_the_page_are_given_exactly_when_the_provider_would(
    relay: Handlers, code: str | None, changes: Body
) -> None:
    request = local(relay, changes)
    answer = relay.submit(request)
    assert answer.body.get("code") == code
    assert answer.status == (422 if code else 202)
    first = next((fault["code"] for fault in answer.body.get("errors", []) if "code" in fault), None)
    assert first == code
    assert provider_would(relay, request) in ({code} if code else {None})


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ('"' + "\\ud83e\\udd8a" * 2000 + '"', 202),  # a pair of surrogates is one character
        ('"' + "\\ud83e\\udd8a" * 2001 + '"', 422),
        (json.dumps("ä" * 2000, ensure_ascii=False), 202),  # 4,000 bytes
        (json.dumps("e\u0301" * 1000), 202),  # a base character and its accent are two
        (json.dumps("e\u0301" * 1001), 422),
        ('"a lone \\ud83e surrogate"', 400),  # no character at all: not JSON that anybody could store
    ],
    ids=["pairs", "one pair more", "bytes", "accents", "one accent more", "half a pair"],
)
def test_prompt_is_measured_in_characters(relay: Handlers, prompt: str, status: int) -> None:
    raw = f'{{"model": "{BASE["model"]}", "images": ["{relay.image("fox.png")}"], "prompt": {prompt}}}'
    answer = relay.submit(None, raw=raw)
    assert answer.status == status
    if status == 202:
        assert [params["prompt"] for params in relay.received()] == [json.loads(prompt)]
    else:
        assert relay.creates() == 0
        assert answer.places == (["prompt"] if status == 422 else [])


@pytest.mark.parametrize("character", ["p", "\u2028", "\0"], ids=["ascii", "line separator", "null"])
def test_payload_goes_and_comes_back_unchanged(relay: Handlers, character: str) -> None:
    request = relay.request(payload=character * 500_000 + ' {"a": "\\n"} ')
    answer = relay.submit(None, raw=json.dumps(request, ensure_ascii=False))
    assert answer.status == 202, answer.body
    large = len(json.dumps(request, ensure_ascii=False).encode()) > MAX_WAITING_BODY_BYTES
    assert answer.body["status"] == ("accepted" if large else "submitted")
    if large:  # no client waits while more than 1 MB is sent
        relay.check(answer.body["task_id"])
    assert [params["payload"] for params in relay.received()] == [request["payload"]]
    assert relay.read(answer.body["task_id"])["request"]["payload"] == request["payload"]


def test_off_peak_is_refused_while_the_provider_does_not_offer_it(daytime: Handlers) -> None:
    answer = daytime.submit(daytime.request(off_peak=True))
    assert (answer.status, answer.places) == (422, ["off_peak"])
    assert daytime.creates() == 0
    assert daytime.submit(daytime.request(off_peak=False)).status == 202


def test_off_peak_task_goes_out_and_has_48_hours(relay: Handlers) -> None:
    answer = relay.submit(relay.request(off_peak=True))
    assert answer.status == 202
    assert [params["off_peak"] for params in relay.received()] == [True]
    key = {"pk": {"S": f"task#{answer.body['task_id']}"}}
    item = relay.account.clients["dynamodb"].get_item(TableName=relay.account.table, Key=key)["Item"]
    assert int(item["deadline_at"]["N"]) - int(item["created_at"]["N"]) == OFF_PEAK_DEADLINE_MS == 48 * 3_600_000


# --- the answer

FORMS: dict[str, Body] = {
    "as on the page": {},
    "as clients have seen it": {"output": "clients"},
    "a single object": {"output_single": True},
    "a single object as clients have seen it": {"output": "clients", "output_single": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_result_is_shown_as_on_the_page_whatever_form_it_came_in(relay: Handlers, form: Body) -> None:
    script(relay, {"reply": form})
    task_id = relay.submit(relay.request()).body["task_id"]
    assert relay.call_back(task_id) == 200
    relay.deliver(task_id)
    task = relay.read(task_id)
    (seen,) = relay.simulator.tasks()
    (output,) = task["output"]
    (result,) = output["results"]
    assert task["status"] == "completed"
    assert (output["task_id"], output["task_status"]) == (seen["remote_id"], "done")
    assert result["type"] == "video"
    assert task_id in result["url"]
    assert relay.simulator.origin not in json.dumps({**task, "request": None})  # no link of the provider's
    assert task["usage"] == {"cost": "0.0450", "discount": 0.1}  # the very text: a float would lose its last zero
    assert task["metadata"] == {"remote_task_id": seen["remote_id"], "model": BASE["model"]}
    assert task["error"] is None
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]


def test_result_without_usage_and_metadata_is_no_obstacle(relay: Handlers) -> None:
    script(relay, {"reply": {"usage": False, "metadata": False}})
    task = read_after_callback(relay)
    assert (task["status"], task["usage"]) == ("generated", None)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", "submitted"),
        ("in_progress", "processing"),
        ("processing", "processing"),
        ("canceled", "submitted"),  # no word of the gateway's
        ("reviewing", "submitted"),
    ],
)
def test_status_word_of_a_task_under_way_ends_nothing(relay: Handlers, word: str, status: str) -> None:
    reply = {"pending_status": word, "running_status": word}
    script(relay, {"outcome": {"never_finish": True}, "reply": reply})
    task = read_after_callback(relay)
    assert task["status"] == status
    assert (task["error"], task["output"]) == (None, [])


@pytest.mark.parametrize("inner", ["processing", "done", "failed"])
def test_inner_status_of_a_result_is_shown_as_it_came(relay: Handlers, inner: str) -> None:
    """The outer status decides: a video that is there is not thrown away for a word beside it."""
    script(relay, {"reply": {"inner_status": inner}})
    task = read_after_callback(relay)
    assert task["status"] == "generated"
    assert task["output"][0]["task_status"] == inner


@pytest.mark.parametrize(
    ("code", "form"),
    [
        ("008017095", {}),
        ("008017099", {}),
        ("008017001", {"message_key": "error_message"}),
        ("008017002", {"code_type": "number"}),
    ],
)
def test_failure_of_the_provider_fails_the_task_with_its_code(relay: Handlers, code: str, form: Body) -> None:
    fail = {"code": code, "message": "it went wrong", **form}
    script(relay, {"outcome": {"fail": fail}})
    task = read_after_callback(relay)
    assert task["status"] == "failed"
    assert task["error"] == {"code": code, "message": "it went wrong"}  # a number has lost its zeros: given back
    assert (task["output"], task["usage"]) == ([], None)


@pytest.mark.parametrize("code", ["008017096", "008017097", "008017098"])
def test_a_fault_inside_the_provider_ends_no_task(relay: Handlers, code: str) -> None:
    script(relay, {"outcome": {"fail": {"code": code}}})
    task = read_after_callback(relay)
    assert task["status"] in ("submitted", "processing")
    assert task["error"] is None


@pytest.mark.parametrize("code", ["008017001", "008017095", "008017099"])
def test_refusal_of_the_create_call_fails_the_task_with_its_code(relay: Handlers, code: str) -> None:
    script(relay, {"create": {"reject": {"code": code, "message": "no"}}})
    answer = relay.submit(relay.request())
    assert (answer.status, answer.body["status"]) == (202, "failed")
    assert answer.body["error"] == {"code": code, "message": "no"}
    assert relay.creates() == 1


def test_error_that_is_only_a_text_is_kept(relay: Handlers) -> None:
    script(relay, {"outcome": {"fail": {"form": "string"}}})
    assert "Internal generation error" in read_after_callback(relay)["error"]["message"]
