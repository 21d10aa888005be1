"""The doorbell under attack: every bit flipped, every nonsense, a thousand rings, keys that change meanwhile."""

import base64
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.usecases.account import PROVIDER_KEY, empty
from tests.unit.usecases.scripted import NOON
from tests.unit.usecases.world import PUBLIC_URL, World
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.adapters.secret_store import ProviderKey, Secret
from vidu_relay.domain.callback_signature import TOLERANCE_SECONDS, signature_for
from vidu_relay.domain.callback_token import callback_url
from vidu_relay.domain.errors import CallbackRefusedError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.usecases.receive_callback import Callback, receive_callback

ON_ONE_WORLD = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Nothing that is refused leaves a trace, so examples may share a world."""


def signed(
    world: World, task_id: str, *, key: str = PROVIDER_KEY, base: str = PUBLIC_URL, at: int | None = None
) -> dict[str, str]:
    """The headers of a well-signed callback, as API Gateway gives them."""
    date = formatdate((world.clock() if at is None else at) / 1000, usegmt=True)
    names = (("Date", date), ("x-request-nonce", "n-1"))
    url = callback_url(base, task_id, world.token(task_id))
    return {
        "date": date,
        "x-request-nonce": "n-1",
        "x-hmac-signed-headers": "Date;x-request-nonce",
        "x-hmac-signature": signature_for(key, method="POST", url=url, date=date, signed_headers=names),
        "x-hmac-algorithm": "hmac-sha256",
        "x-hmac-access-key": "vidu",
    }


def mode(world: World, signature_mode: str, **ports: Any) -> World:
    world.callbacks = replace(world.callbacks, signature_mode=signature_mode, **ports)
    return world


def refused(world: World, task_id: str, **ring: Any) -> str:
    with pytest.raises(CallbackRefusedError) as caught:
        world.ring(task_id, **ring)
    return caught.value.reason


# ------------------------------------------------------------------------------------------------- every bit


def test_no_bit_of_the_token_may_differ(world: World) -> None:
    task = world.submit()
    good = world.token(task.task_id).encode()
    for bit in range(len(good) * 8):
        forged = bytearray(good)
        forged[bit // 8] ^= 1 << bit % 8
        assert refused(world, task.task_id, token=forged.decode("latin-1")) == "token"
    assert world.provider.reads == []


def test_no_bit_of_the_signature_may_differ(world: World) -> None:
    task = mode(world, "require").submit()
    headers = signed(world, task.task_id)
    mac = base64.b64decode(headers["x-hmac-signature"])
    for bit in range(len(mac) * 8):
        forged = bytearray(mac)
        forged[bit // 8] ^= 1 << bit % 8
        changed = {**headers, "x-hmac-signature": base64.b64encode(forged).decode()}
        assert refused(world, task.task_id, headers=changed) == "signature_wrong"
    text = headers["x-hmac-signature"].encode()
    for bit in range(len(text) * 8):  # and of its text: base 64 has spellings that decode to the same
        forged = bytearray(text)
        forged[bit // 8] ^= 1 << bit % 8
        changed = {**headers, "x-hmac-signature": forged.decode("latin-1")}
        assert refused(world, task.task_id, headers=changed) == "signature_wrong"
    assert world.provider.reads == []


@pytest.mark.parametrize("name", ["date", "x-request-nonce", "x-hmac-signed-headers"])
def test_no_bit_of_a_signed_header_may_differ(world: World, name: str) -> None:
    task = mode(world, "require").submit()
    headers = signed(world, task.task_id)
    value = headers[name].encode()
    for bit in range(len(value) * 8):
        forged = bytearray(value)
        forged[bit // 8] ^= 1 << bit % 8
        refused(world, task.task_id, headers={**headers, name: forged.decode("latin-1")})
    assert world.provider.reads == []


@given(body=st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=ON_ONE_WORLD, deadline=None)
def test_no_body_makes_a_bad_call_good_or_a_good_one_bad(world: World, body: bytes) -> None:
    task = mode(world, "require").submit()
    headers = signed(world, task.task_id)
    assert world.ring(task.task_id, body, headers=headers).version == task.version
    changed = {**headers, "x-request-nonce": "n-2"}
    assert refused(world, task.task_id, body=body, headers=changed) == "signature_wrong"


# --------------------------------------------------------------------------------------------- what is signed


@pytest.mark.parametrize("side", [-1, 1])
def test_date_is_good_for_five_minutes_either_way_and_not_a_second_more(world: World, side: int) -> None:
    task = mode(world, "require").submit()
    inside, outside = (NOON + side * (TOLERANCE_SECONDS + more) * 1000 for more in (0, 1))
    assert world.ring(task.task_id, headers=signed(world, task.task_id, at=inside)).task_id == task.task_id
    assert refused(world, task.task_id, headers=signed(world, task.task_id, at=outside)) == "signature_out_of_time"


@pytest.mark.parametrize(
    "base",
    [
        "https://relay.example.com/",
        "https://relay.example.com/video%20relay",
        "https://relay.example.com/a/b//c",
        "https://Relay.Example.com:8443/Stage",
        "http://127.0.0.1:4566/_aws/execute-api/abc/$default",
    ],
)
def test_path_is_the_one_the_provider_was_sent_whatever_stands_before_the_route(world: World, base: str) -> None:
    task = mode(world, "require", public_base_url=base).submit()
    assert world.ring(task.task_id, headers=signed(world, task.task_id, base=base)).task_id == task.task_id
    if base.count("/") > 3:
        assert refused(world, task.task_id, headers=signed(world, task.task_id)) == "signature_wrong"


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_case_of_header_names_does_not_matter(world: World, spelling: Callable[[str], str]) -> None:
    task = mode(world, "require").submit()
    headers = {spelling(name): value for name, value in signed(world, task.task_id).items()}
    assert world.ring(task.task_id, headers=headers).task_id == task.task_id


@pytest.mark.parametrize("name", ["date", "x-request-nonce", "x-hmac-signed-headers", "x-hmac-signature"])
@pytest.mark.parametrize("first", [True, False])
def test_header_that_is_sent_twice_is_not_taken_once(world: World, name: str, *, first: bool) -> None:
    """API Gateway joins the two with a comma; somewhere else they may come under two spellings."""
    task = mode(world, "require").submit()
    headers = signed(world, task.task_id)
    pair = (headers[name], "x") if first else ("x", headers[name])
    refused(world, task.task_id, headers={**headers, name: ",".join(pair)})
    refused(world, task.task_id, headers={**headers, name: pair[0], name.upper(): pair[1]})


@pytest.mark.parametrize("left", ["x-hmac-signature", "x-hmac-signed-headers", "x-hmac-algorithm", "x-hmac-access-key"])
@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_part_of_a_signature_is_verified_where_present_and_never_passed(
    world: World, left: str, spelling: Callable[[str], str]
) -> None:
    """Leaving out the one header that is checked must not switch the check off."""
    task = mode(world, "verify-if-present").submit()
    value = signed(world, task.task_id)[left]
    assert refused(world, task.task_id, headers={spelling(left): value}) == "signature_missing"
    whole = {name: value for name, value in signed(world, task.task_id).items() if name != left}
    assert refused(world, task.task_id, headers=whole) == "signature_missing"


def test_headers_that_any_call_may_carry_are_no_signature(world: World) -> None:
    task = mode(world, "verify-if-present").submit()
    assert world.ring(task.task_id, headers={"date": "yesterday", "x-request-nonce": "n"}).task_id == task.task_id


# -------------------------------------------------------------------------------------------- keys that change


def rotate_provider_key(world: World, content: dict[str, str]) -> None:
    world.account.clients["secretsmanager"].put_secret_value(
        SecretId=world.account.provider_secret, SecretString=json.dumps(content)
    )


@pytest.fixture
def clock_of_secrets() -> list[float]:
    return [1000.0]


@pytest.fixture
def warm(world: World, clock_of_secrets: list[float]) -> World:
    """A world whose callback function has read the provider's key, and requires a signature."""
    client = world.account.clients["secretsmanager"]
    rotate_provider_key(world, {"api_key": PROVIDER_KEY})
    key = ProviderKey(Secret(client, world.account.provider_secret, lambda: clock_of_secrets[-1]))
    assert key.signing() == (PROVIDER_KEY,)
    return mode(world, "require", signature_keys=key.signing, fresh_signature_keys=key.fresh_signing)


def test_callback_of_a_task_made_under_the_key_before_is_taken(warm: World, clock_of_secrets: list[float]) -> None:
    task = warm.submit()
    try:
        rotate_provider_key(warm, {"api_key": "new-key", "previous_api_key": PROVIDER_KEY})
        clock_of_secrets.append(1301.0)
        for key in ("new-key", PROVIDER_KEY):
            assert warm.ring(task.task_id, headers=signed(warm, task.task_id, key=key)).task_id == task.task_id
        assert refused(warm, task.task_id, headers=signed(warm, task.task_id, key="third")) == "signature_wrong"
    finally:
        rotate_provider_key(warm, {"api_key": PROVIDER_KEY})


def test_callback_signed_with_a_key_that_came_since_is_taken_at_once(warm: World) -> None:
    """Another instance made the task with the new key; this one read the secret a moment before."""
    task = warm.submit()
    try:
        rotate_provider_key(warm, {"api_key": "new-key", "previous_api_key": PROVIDER_KEY})
        headers = signed(warm, task.task_id, key="new-key")
        assert refused(warm, task.task_id, headers=headers, token="k1.forged") == "token"
        assert warm.ring(task.task_id, headers=headers).task_id == task.task_id
    finally:
        rotate_provider_key(warm, {"api_key": PROVIDER_KEY})


def test_only_the_holder_of_a_token_makes_us_reread_the_provider_s_key(warm: World) -> None:
    task = warm.submit()
    rereads: list[str] = []

    def reread() -> tuple[str, ...]:
        rereads.append("reread")
        return ()

    mode(warm, "require", fresh_signature_keys=reread)
    for token in ("", "k1.x", "k9.x", warm.token("a" * 26)):
        refused(warm, task.task_id, headers=signed(warm, task.task_id, key="other"), token=token)
    assert rereads == []
    assert refused(warm, task.task_id, headers=signed(warm, task.task_id, key="other")) == "signature_wrong"
    assert rereads == ["reread"]


def test_every_refusal_does_the_same_work(world: World) -> None:
    """A wrong token and a wrong signature cost the same: neither check waits for the other."""
    task = world.submit()
    done: list[str] = []
    keys = world.callbacks.callback_keys

    def callback_keys(token: str) -> Any:
        done.append("token")
        return keys(token)

    def signature_keys() -> tuple[str, ...]:
        done.append("signature")
        return (PROVIDER_KEY,)

    mode(world, "require", callback_keys=callback_keys, signature_keys=signature_keys)
    good = signed(world, task.task_id)
    for headers, token in (({}, None), (good, "k1.x"), ({}, "\ud800"), ({**good, "date": "?"}, None), (good, "")):
        done.clear()
        refused(world, task.task_id, headers=headers, token=token)
        assert done == ["token", "signature"]


# ------------------------------------------------------------------------------------------------ nonsense


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


NONSENSE = [
    b"[" * 200_000,
    b'{"a":' * 200_000,
    nested(100_000),
    b'{"id":' + b"9" * 100_000 + b"}",
    b'{"id":1e999999,"status":NaN,"state":-Infinity}',
    b'{"id":"\\ud800","state":"\\udfff"}',
    b'{"id":"\xed\xa0\x80"}',
    b'{"state":"failed","state":{"a":1},"status":["completed"]}',
    b'{"id":"' + b"x" * 3_000_000 + b'"}',
    b'{"state":"' + b"s" * 3_000_000 + b'"}',
    b'{"id":"..","task_id":"."}',
    b'{"id":"a\\u0000b","task_id":"\\u202egnp"}',
    b"\x00" * 1000,
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    '{"state":"completed"}'.encode("utf-16"),
    '{"state":"completed"}'.encode("utf-32"),
    b'{"\\u0069d":"gen-2","status":"processing"}',
    b'"' + b"\\u0041" * 10_000 + b'"',
]


@pytest.mark.parametrize("number", range(len(NONSENSE)))
def test_nonsense_neither_raises_nor_changes_anything(world: World, number: int) -> None:
    task = world.submit()
    assert world.ring(task.task_id, NONSENSE[number]).version == task.version
    assert world.task(task.task_id).remote_id == "gen-1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "task_id", "state", "status", "output"), JSON)).map(
        lambda content: json.dumps(content).encode()
    ),
)


@given(body=BODIES)
@settings(max_examples=500, deadline=None)
def test_any_body_is_read_without_a_fault(body: bytes) -> None:
    for provider in (GatewayProvider("https://p.example", lambda: "k"), ViduProvider("https://p.example", lambda: "k")):
        report = provider.read_callback(body)
        assert report.state is None or isinstance(report.state, ProgressState)
        assert len(report.ids) <= 4


@given(
    task_id=st.text(st.characters(exclude_categories=()), max_size=40),
    token=st.text(st.characters(exclude_categories=()), max_size=60),
    headers=st.dictionaries(
        st.sampled_from(
            ["date", "x-request-nonce", "X-HMAC-Signature", "x-hmac-signed-headers", "x-hmac-algorithm", "x-hmac-"]
        ),
        st.text(st.characters(exclude_categories=()), max_size=40),
    ),
    signature_mode=st.sampled_from(["off", "verify-if-present", "require"]),
)
@settings(max_examples=300, suppress_health_check=ON_ONE_WORLD, deadline=None)
def test_whatever_a_stranger_sends_is_refused_and_never_raises(
    world: World, task_id: str, token: str, headers: dict[str, str], signature_mode: str
) -> None:
    mode(world, signature_mode)
    with pytest.raises(CallbackRefusedError):
        receive_callback(Callback(task_id, token, headers, b"{}"), world.callbacks)


# ------------------------------------------------------------------------------------------------- the burst

STATES = ("created", "queueing", "pending", "processing", "in_progress", "success", "completed", "failed", "?", None)


def story(world: World, between: Callable[[], None]) -> None:
    """A task's whole life, with whatever happens between its steps."""
    task_id = world.submit().task_id
    between()
    world.provider.show("gen-1", ProgressState.PROCESSING)
    world.ring(task_id, {"id": "gen-1", "status": "processing"})
    between()
    world.provider.finish("gen-1")
    world.ring(task_id, {"id": "gen-1", "status": "completed"})
    between()
    world._pump()
    between()
    world.run()


def told(world: World) -> tuple[Any, ...]:
    """Everything that lasts: what the record says, and every event, but not how often somebody looked."""
    task = world.task(world.task_id())
    record = replace(task, token="", lease=0, revision=0, due_at=None, checks=0)
    return record, world.published, world.deaths


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_callbacks_leave_what_the_honest_sequence_leaves(world: World, seed: int) -> None:
    """Duplicates, every state, out of order, forged ones between, at every moment of a task's life."""
    rung = {"good": 0, "forged": 0}
    chance = random.Random(seed)  # noqa: S311 - makes a story, guards nothing

    def burst() -> None:
        task_id = world.task_id()
        for _ in range(250):
            state = chance.choice(STATES)
            content: dict[str, Any] = {
                "id": chance.choice(["gen-1", "gen-2", "up-gen-1", 7, None]),
                chance.choice(["status", "state"]): state,
                "output": [{"results": [{"type": "video", "url": "https://evil.example/v.mp4"}]}],
                "error": {"code": "008017003", "message": "no"},
            }
            if chance.random() < 0.3:
                rung["forged"] += 1
                good = world.token(task_id)
                forged = chance.choice(["", "k9." + good[3:], good[:-1], good.swapcase(), world.token("a" * 26)])
                with suppress(CallbackRefusedError):
                    world.ring(task_id, content, token=forged)
                    raise AssertionError("a forged token was taken")
            else:
                rung["good"] += 1
                world.ring(task_id, content)

    honest = World(world.account)
    story(honest, lambda: None)
    expected = told(honest)
    assert honest.task(honest.task_id()).status is Status.COMPLETED

    empty(world.account)
    world = World(world.account)
    story(world, burst)
    assert rung["good"] + rung["forged"] == 1000
    assert told(world) == expected
