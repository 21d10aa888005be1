"""Both providers' clients against the simulated provider: whatever happens on the way, a task is billed once."""

from collections.abc import Iterator
from typing import Any

import pytest

from cli.doctor.outside import read_unknown_task
from local.simulator import Simulator
from tests.contract.simulator_client import call
from tests.contract.socket_server import SocketServer, says
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.catalogue import models
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CancelNotSupportedError,
    CancelRefusedError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
    ThrottledError,
)
from vidu_relay.domain.snapshot import ProgressState, Usage
from vidu_relay.outbound import provider_calls

PARAMS = {"prompt": "@1 dances", "subjects": [{"id": "1", "images": ["https://example.com/cat.png"]}], "duration": 1}
TAG = "vidu-relay:task:digest"
AnyProvider = GatewayProvider | ViduProvider
KINDS = pytest.mark.parametrize("kind", [GatewayProvider, ViduProvider])
CALLBACK = "http://127.0.0.1:9/v1/callbacks/t?token=k.x"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(
        generation_seconds=0,
        callback_retry_seconds=0.01,
        callback_timeout_seconds=0.1,
        off_peak_available=True,
        unlisted_models=True,
    ) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    running.reset()
    monkeypatch.setattr(provider_calls, "QUICK_SECONDS", 60)  # a break is at once, however slow this machine is
    return running


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls that are never answered given up soon."""
    monkeypatch.setattr(provider_calls, "CREATE_SECONDS", 0.5)
    monkeypatch.setattr(provider_calls, "READ_SECONDS", 0.5)


def client(kind: type[AnyProvider], simulator: Simulator, key: str | None = None) -> AnyProvider:
    base_url = simulator.vidu_url if kind is ViduProvider else simulator.url
    return kind(lambda: (base_url, key or simulator.api_key))


@pytest.fixture(params=[GatewayProvider, ViduProvider], ids=["gateway", "vidu"])
def provider(simulator: Simulator, request: pytest.FixtureRequest) -> AnyProvider:
    """Every test that asks for it runs against both API flavours."""
    return client(request.param, simulator)


@pytest.fixture
def gateway(simulator: Simulator) -> GatewayProvider:
    return GatewayProvider(lambda: (simulator.url, simulator.api_key))


@pytest.fixture
def vidu(simulator: Simulator) -> ViduProvider:
    return ViduProvider(lambda: (simulator.vidu_url, simulator.api_key))


def create(provider: AnyProvider, **params: Any) -> str:
    return provider.create(MODEL, {**PARAMS, **params}, CALLBACK, tag=TAG).remote_id


def creates(simulator: Simulator) -> int:
    return sum(request["method"] == "POST" for request in simulator.requests())


def test_a_task_is_created_with_our_callback_url_and_read_to_its_video(
    simulator: Simulator, provider: AnyProvider
) -> None:
    simulator.script({"callbacks": {"drop": True}})
    remote_id = create(provider)
    (task,) = simulator.tasks()
    assert task["id"] == remote_id
    assert CALLBACK in str(task)
    snapshot = provider.read(remote_id)
    assert snapshot.state is ProgressState.SUCCEEDED
    (link,) = snapshot.video_urls
    assert call("GET", link).body == simulator.video(remote_id)
    if isinstance(provider, GatewayProvider):
        assert snapshot.created_at is not None
        assert snapshot.upstream_id not in (None, remote_id)
        assert snapshot.usage is not None
    else:
        assert (snapshot.created_at, snapshot.tag, snapshot.usage) == (None, TAG, Usage(credits="4"))


AMBIGUOUS: dict[str, dict[str, Any]] = {
    "500 after creating": {"server_error": {"created": True}},
    "connection closed": {"lose_reply": {"how": "close"}},
    "connection reset": {"lose_reply": {"how": "reset"}},
    "half a body": {"lose_reply": {"how": "half_body"}},
    "silence after creating": {"hang": {"seconds": 3, "created": True}},
    "a page in place of json": {"html": {"status": 200, "created": True}},
}


@pytest.mark.parametrize("script", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_call_that_may_have_created_is_made_once(
    simulator: Simulator, provider: AnyProvider, script: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1. The provider has no idempotency key: a second call is a second bill."""
    if "hang" in script:
        hasten(monkeypatch)
    simulator.script({"create": script, "callbacks": {"drop": True}})
    with pytest.raises(CreateAmbiguousError):
        create(provider)
    assert creates(simulator) == 1
    assert len(simulator.tasks()) <= 1


def test_a_throttled_call_created_nothing_and_carries_retry_after(simulator: Simulator, provider: AnyProvider) -> None:
    simulator.script({"create": {"throttle": {"retry_after": 7}}})
    with pytest.raises(NotCreatedError) as caught:
        create(provider)
    assert caught.value.retry_after_seconds == 7
    assert simulator.tasks() == []
    assert creates(simulator) == 1


FORMS = ["envelope", "flat", "string", "object", "html", "text", "empty"]


@pytest.mark.parametrize("form", FORMS)
def test_a_clear_refusal_is_final_in_every_form(simulator: Simulator, provider: AnyProvider, form: str) -> None:
    simulator.script({"create": {"reject": {"status": 422, "form": form, "code": 42201, "message": "too small"}}})
    with pytest.raises(CreateRejectedError) as caught:
        create(provider)
    assert simulator.tasks() == []
    assert caught.value.code
    assert caught.value.message
    if isinstance(provider, GatewayProvider) and form in ("envelope", "object"):
        assert (caught.value.code, caught.value.message) == ("42201", "too small")


@pytest.mark.parametrize("form", ["envelope", "empty"])
def test_an_empty_balance_refuses_the_account_in_every_form(
    simulator: Simulator, provider: AnyProvider, form: str
) -> None:
    simulator.script({"create": {"reject": {"status": 402, "form": form, "code": 40201, "message": "no credits"}}})
    with pytest.raises(AccountRefusedError) as caught:
        create(provider)
    assert simulator.tasks() == []
    assert caught.value.status == 402
    assert caught.value.code
    assert caught.value.message


@KINDS
def test_a_wrong_key_refuses_the_account_and_is_not_shown(simulator: Simulator, kind: type[AnyProvider]) -> None:
    with pytest.raises(AccountRefusedError) as caught:
        create(client(kind, simulator, "wrong-key"))
    assert caught.value.status == 401
    assert "wrong-key" not in f"{caught.value} {caught.value.message}"


@KINDS
def test_a_read_that_is_refused_because_the_key_was_rotated_is_repeated_with_the_new_one(
    simulator: Simulator, kind: type[AnyProvider]
) -> None:
    made = create(client(kind, simulator))
    base = simulator.url if kind is GatewayProvider else simulator.vidu_url
    keys = ["old-key"]

    def refreshed(used: str) -> bool:
        keys.append(simulator.api_key)
        return keys[-1] != used

    rotated = kind(lambda: (base, keys[-1]), refreshed)
    with pytest.raises(AccountRefusedError):
        create(rotated)
    assert rotated.read(made).remote_id == made
    assert create(rotated)
    with pytest.raises(ProviderUnavailableError):
        kind(lambda: (base, "old-key")).read(made)


def test_a_reply_without_an_id_created_nothing_where_the_page_says_so(
    simulator: Simulator, gateway: GatewayProvider, vidu: ViduProvider
) -> None:
    simulator.script({"create": {"reply_without_id": True}})
    with pytest.raises(CreateRejectedError):
        create(gateway)
    with pytest.raises(CreateAmbiguousError):
        create(vidu)


@pytest.mark.parametrize(("end", "state"), [("completed", ProgressState.SUCCEEDED), ("failed", ProgressState.FAILED)])
def test_an_immediate_end_is_known_from_the_create_reply(
    simulator: Simulator, provider: AnyProvider, end: str, state: ProgressState
) -> None:
    simulator.script({"create": {"immediate": end}, "callbacks": {"drop": True}})
    assert provider.create(MODEL, PARAMS, CALLBACK, tag=TAG).state is state


FLAPS: list[dict[str, Any]] = [
    {"kind": "status", "status": 404},
    {"kind": "html"},
    # a connection that breaks at once is tried once more, on a fresh one
    {"kind": "close", "n": 2},
    {"kind": "reset", "n": 2},
    {"kind": "half_body", "n": 2},
    {"kind": "hang", "seconds": 3, "n": 2},
]


@pytest.mark.parametrize("flap", FLAPS, ids=str)
def test_a_read_that_fails_ends_no_task_and_the_next_one_works(
    simulator: Simulator, provider: AnyProvider, flap: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.script({"poll": {"flap": flap}, "callbacks": {"drop": True}})
    remote_id = create(provider)
    with monkeypatch.context() as now:
        if flap["kind"] == "hang":
            hasten(now)
        with pytest.raises(ProviderUnavailableError):
            provider.read(remote_id)
    assert provider.read(remote_id).state is ProgressState.SUCCEEDED


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_a_read_on_a_connection_gone_stale_is_made_again_at_once(
    simulator: Simulator, provider: AnyProvider, kind: str
) -> None:
    simulator.script({"poll": {"flap": {"kind": kind}}, "callbacks": {"drop": True}})
    assert provider.read(create(provider)).state is ProgressState.SUCCEEDED


def test_a_read_names_the_task_and_tells_the_provider_s_clock_and_another_finds_none(
    simulator: Simulator, provider: AnyProvider
) -> None:
    remote_id = create(provider)
    snapshot = provider.read(remote_id)
    assert snapshot.named_ids == (remote_id,)
    assert abs(snapshot.clock_offset_ms or 10**6) < 5_000
    with pytest.raises(RemoteTaskNotFoundError):
        provider.read("no-such-task")
    with pytest.raises(ProviderUnavailableError) as caught:
        client(type(provider), simulator, "wrong-key").read(remote_id)
    assert caught.type is ProviderUnavailableError


def refused(kind: type[AnyProvider], status: str, body: bytes) -> CreateError:
    """How replies are read is proven in tests/unit/outbound; the tests below prove that they arrive there."""
    with SocketServer(says(status, body=body)) as server, pytest.raises(CreateError) as caught:
        create(kind(lambda: (server.origin, "key")))
    return caught.value


@KINDS
def test_an_id_in_an_odd_create_reply_is_kept_as_a_candidate(kind: type[AnyProvider]) -> None:
    body = b'{"data": [{"id": "made-1"}], "error": {"id": "e"}, "request_id": "r"}'
    for status, error in (
        ("429 No", ThrottledError),
        ("400 No", CreateRejectedError),
        ("200 OK", CreateAmbiguousError),
    ):
        found = refused(kind, status, body)
        assert (type(found), found.candidates) == (error, ("made-1",))


@KINDS
def test_the_reason_of_a_refusal_is_found_in_other_gateways_shapes(kind: type[AnyProvider]) -> None:
    error = refused(kind, "422 No", b'{"base_resp": {"status_code": 1026, "status_msg": "sensitive"}}')
    assert isinstance(error, CreateRejectedError)
    assert (error.code, error.message) == ("1026", "sensitive")


@KINDS
def test_a_synonym_and_the_upstream_s_shape_show_the_video(kind: type[AnyProvider]) -> None:
    output = b'[{"results": [{"type": "MP4", "url": "HTTPS://c/v"}]}]'
    body = b'{"data": {"task_id": "r", "status": "DONE", "output": %b}}' % output
    with SocketServer(says("200 OK", body=body)) as server:
        snapshot = kind(lambda: (server.origin, "key")).read("r")
    assert (snapshot.state, snapshot.video_urls) == (ProgressState.SUCCEEDED, ("HTTPS://c/v",))


# --- what only the upstream API has


def test_the_client_s_own_payload_is_carried_unchanged_and_an_empty_one_leaves_room_for_the_tag(
    simulator: Simulator, vidu: ViduProvider
) -> None:
    made = vidu.create(MODEL, {**PARAMS, "payload": ""}, CALLBACK, tag=TAG)
    assert vidu.read(made.remote_id).tag == TAG
    simulator.reset()
    simulator.script({"callbacks": {"drop": True}})
    remote_id = create(vidu, payload="vidu")
    (task,) = simulator.tasks()
    subjects = [{"name": "1", "images": ["https://example.com/cat.png"]}]
    sent = {**PARAMS, "subjects": subjects, "payload": "vidu", "callback_url": CALLBACK}
    assert task["request"]["params"] == sent
    assert vidu.read(remote_id).tag is None


def test_the_upstream_api_has_the_models_that_its_pages_list_and_no_other_unless_it_is_set_so() -> None:
    with Simulator(generation_seconds=0) as strict:
        vidu = ViduProvider(lambda: (strict.vidu_url, strict.api_key))
        with pytest.raises(CreateRejectedError) as caught:
            create(vidu)
        assert caught.value.message == "model not found"
        vidu.create("viduq3_turbo_text2video", {"prompt": "a fox"}, CALLBACK, tag=TAG)
        refused, made = (request for request in strict.requests() if request["method"] == "POST")
        assert (refused["status"], made["path"], made["status"]) == (400, "/ent/v2/text2video", 200)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"style": "anime"}, "FieldUnwanted"),
        ({"subjects": [{"id": "1", "images": ["https://example.com/cat.png"], "age": 7}]}, "FieldUnwanted"),
        ({"subjects": [{"id": "1", "images": ["https://example.com/cat.png"] * 4}]}, "FieldItemCountOutOfRange"),
        ({"subjects": [], "audio": True}, "FieldLacking"),
        ({"duration": 9}, "FieldInvalid"),
    ],
)
def test_the_upstream_api_says_by_a_word_why_it_refuses(vidu: ViduProvider, changes: Any, reason: str) -> None:
    with pytest.raises(CreateRejectedError) as caught:
        create(vidu, **changes)
    assert caught.value.code == reason


def test_a_task_goes_through_the_upstream_s_states(simulator: Simulator, vidu: ViduProvider) -> None:
    held: dict[str, Any] = {"generation_seconds": 3600, "outcome": {"never_finish": True}, "callbacks": {"drop": True}}
    simulator.script(held)
    made = vidu.create(MODEL, PARAMS, CALLBACK, tag=TAG)
    seen = [(made.state, made.usage)]
    for sooner in ({"generation_seconds": 0}, {"outcome": {"never_finish": False}}):
        simulator.patch(made.remote_id, sooner)
        read = vidu.read(made.remote_id)
        seen.append((read.state, read.usage))
    states = (ProgressState.PENDING, ProgressState.PROCESSING, ProgressState.SUCCEEDED)
    assert seen == [*((state, None) for state in states[:2]), (states[2], Usage(credits="4"))]
    assert made.created_at is not None


def test_the_reason_of_a_failure_or_a_refusal_is_its_code(simulator: Simulator, vidu: ViduProvider) -> None:
    simulator.script({"outcome": {"fail": {"code": "AuditSubmitIllegal"}}, "callbacks": {"drop": True}}, times=1)
    snapshot = vidu.read(create(vidu))
    assert snapshot.state is ProgressState.FAILED
    assert snapshot.error is not None
    assert snapshot.error.code == "AuditSubmitIllegal"
    simulator.reset()
    simulator.script({"create": {"reject": {"status": 400, "code": "ModelUnavailable", "message": "no"}}})
    with pytest.raises(CreateRejectedError) as caught:
        create(vidu)
    assert (caught.value.code, caught.value.message) == ("ModelUnavailable", "no")


def test_a_lack_of_credits_refuses_the_account(simulator: Simulator, vidu: ViduProvider) -> None:
    simulator.script({"create": {"reject": {"status": 400, "code": "CreditInsufficient", "message": "no"}}})
    with pytest.raises(AccountRefusedError) as caught:
        create(vidu)
    assert (caught.value.status, caught.value.code, caught.value.message) == (400, "CreditInsufficient", "no")


@pytest.mark.parametrize(
    ("script", "off_peak", "before", "after"),
    [
        ({"generation_seconds": 600}, False, ProgressState.PENDING, ProgressState.CANCELED),
        ({"outcome": {"never_finish": True}}, True, ProgressState.PROCESSING, ProgressState.CANCELED),
        ({"outcome": {"never_finish": True}}, False, ProgressState.PROCESSING, ProgressState.PROCESSING),
        ({}, False, ProgressState.SUCCEEDED, ProgressState.SUCCEEDED),
    ],
)
def test_a_task_is_canceled_while_it_waits_and_an_off_peak_one_until_its_end(
    simulator: Simulator,
    vidu: ViduProvider,
    script: dict[str, Any],
    off_peak: bool,
    before: ProgressState,
    after: ProgressState,
) -> None:
    simulator.script({**script, "callbacks": {"drop": True}})
    remote_id = create(vidu, off_peak=off_peak)
    assert vidu.read(remote_id).state is before
    if after is ProgressState.CANCELED:
        vidu.cancel(remote_id)
    else:
        with pytest.raises(CancelRefusedError, match="can not cancel") as caught:
            vidu.cancel(remote_id)
        assert caught.value.code == "BadRequest"
    assert vidu.read(remote_id).state is after


def test_an_unknown_task_cannot_be_canceled_and_a_wrong_key_is_no_word_about_it(
    simulator: Simulator, vidu: ViduProvider
) -> None:
    with pytest.raises(CancelRefusedError) as caught:
        vidu.cancel("no-such-task")
    assert caught.value.code == "TaskNotFound"
    with pytest.raises(ProviderUnavailableError):
        ViduProvider(lambda: (simulator.vidu_url, "wrong")).cancel("1")


def test_the_gateway_cancels_nothing_and_makes_no_call(simulator: Simulator, gateway: GatewayProvider) -> None:
    simulator.script({"callbacks": {"drop": True}})
    remote_id = create(gateway)
    calls = len(simulator.requests())
    with pytest.raises(CancelNotSupportedError):
        gateway.cancel(remote_id)
    assert len(simulator.requests()) == calls


@pytest.mark.parametrize("name", ["gateway", "vidu"])
def test_the_catalogue_says_where_a_task_can_be_canceled(simulator: Simulator, name: str, request: Any) -> None:
    simulator.script({"callbacks": {"drop": True}})
    provider: AnyProvider = request.getfixturevalue(name)
    remote_id = create(provider)
    can = True
    try:
        provider.cancel(remote_id)
    except CancelNotSupportedError:
        can = False
    except CancelRefusedError:  # it works on the task already
        pass
    assert {model.offers[name].cancel for model in models().values() if name in model.offers} == {can}


@pytest.mark.parametrize("name", ["gateway", "vidu"])
def test_a_read_of_an_unknown_task_tells_the_key_from_a_made_up_one(simulator: Simulator, name: str) -> None:
    base_url = simulator.vidu_url if name == "vidu" else simulator.url
    statuses = [read_unknown_task(name, base_url, key) for key in (simulator.api_key, "made-up")]
    assert statuses == [404, 401]
