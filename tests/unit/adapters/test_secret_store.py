"""Secrets: read once, kept for a while, and never used if malformed."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.unit.adapters.conftest import SESSION
from vidu_relay.adapters.secret_store import KEEP_SECONDS, NEEDS_THE_OPERATOR, REREAD_SECONDS, ProviderAccounts, Secret
from vidu_relay.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client(account: None) -> "SecretsManagerClient":
    return SESSION.client("secretsmanager")


def secret(client: "SecretsManagerClient", text: str, clock: Callable[[], float]) -> Secret:
    arn = client.create_secret(Name="s", SecretString=text)["ARN"]
    return Secret(client, arn, clock)


def test_a_secret_is_read_once_and_again_after_five_minutes(client: "SecretsManagerClient") -> None:
    clock = Clock()
    one = secret(client, '{"api_key": "old"}', clock)
    assert one.get() == {"api_key": "old"}
    client.put_secret_value(SecretId="s", SecretString='{"api_key": "new"}')
    clock.now += KEEP_SECONDS
    assert one.get() == {"api_key": "old"}
    clock.now += 1
    assert one.get() == {"api_key": "new"}


def test_tokens_with_unknown_keys_cannot_make_us_ask_more_than_once_a_minute(client: "SecretsManagerClient") -> None:
    clock = Clock()
    one = secret(client, '{"k": "1"}', clock)
    assert one.reread(), "there was nothing yet"
    client.put_secret_value(SecretId="s", SecretString='{"k": "2"}')
    clock.now += REREAD_SECONDS - 1
    assert not one.reread()
    assert one.get() == {"k": "1"}
    clock.now += 1
    assert one.reread()
    assert one.get() == {"k": "2"}
    assert not one.reread()


@pytest.mark.parametrize(
    "value",
    [
        *({"SecretString": text} for text in (" ", "not json", "[]", '"key"', "null", "5")),
        *({"SecretBinary": b"{}"}, {}),
    ],
    ids=str,
)
def test_a_secret_that_is_no_json_object_is_the_operator_s_to_fix(client: "SecretsManagerClient", value: Any) -> None:
    client.create_secret(Name="odd", **value)
    for name in ("odd", "no-such-secret"):
        with pytest.raises(ConfigurationError) as caught:
            Secret(client, name).get()
        assert "not json" not in str(caught.value)


@pytest.mark.parametrize("code", NEEDS_THE_OPERATOR)
def test_a_secret_that_cannot_be_read_until_the_operator_acts_says_so_unless_one_is_kept(
    client: "SecretsManagerClient", code: str
) -> None:
    clock = Clock()
    one = secret(client, '{"api_key": "kept"}', clock)
    assert one.get()
    clock.now += KEEP_SECONDS + 1
    with Stubber(client) as stub:
        stub.add_client_error("get_secret_value", code)
        assert one.get() == {"api_key": "kept"}
        stub.add_client_error("get_secret_value", code)
        with pytest.raises(ConfigurationError):
            Secret(client, "arn").get()


def test_trouble_with_secrets_manager_is_no_missing_secret_and_a_kept_one_serves_through_it(
    client: "SecretsManagerClient",
) -> None:
    clock = Clock()
    one = secret(client, '{"api_key": "kept"}', clock)
    assert one.get() == {"api_key": "kept"}
    clock.now += KEEP_SECONDS + 1
    with Stubber(client) as stub:
        for _ in range(4):
            stub.add_client_error("get_secret_value", "ThrottlingException")
        assert one.get() == {"api_key": "kept"}
        with pytest.raises(ClientError):
            Secret(client, "arn").get()
        assert not ProviderAccounts(Secret(client, "arn"), "gateway").refresh("gateway", "old")


def test_trouble_on_a_reread_leaves_what_is_kept_and_is_not_repeated_within_the_minute(
    client: "SecretsManagerClient",
) -> None:
    """Anyone can cause rereads: they must neither break the function nor flood Secrets Manager."""
    clock = Clock()
    one = secret(client, '{"k": "kept"}', clock)
    one.get()
    with Stubber(client) as stub:
        stub.add_client_error("get_secret_value", "ThrottlingException")
        assert not one.reread()
        assert not one.reread(), "the stub has no second answer"
        assert one.get() == {"k": "kept"}
        stub.assert_no_pending_responses()


def accounts(
    client: "SecretsManagerClient", content: Any, clock: Callable[[], float] | None = None
) -> ProviderAccounts:
    """Of a deployment whose default provider is the gateway, behind a proxy."""
    text = content if isinstance(content, str) else json.dumps(content)
    return ProviderAccounts(secret(client, text, clock or Clock()), "gateway", "https://proxy.example.com")


def test_the_key_before_is_one_that_may_have_signed(client: "SecretsManagerClient") -> None:
    clock = Clock()
    found = accounts(client, {"gateway": {"key": "old"}}, clock)
    assert found.signing() == ("old",)
    client.put_secret_value(SecretId="s", SecretString='{"gateway": {"key": "new", "previous_key": " old\\n"}}')
    assert found.signing() == ("old",)
    assert found.fresh_signing("gateway") == ("new", "old")
    assert found.fresh_signing("gateway") == (), "once a minute"
    assert found.signing("gateway") == ("new", "old")


def test_refresh_tells_whether_there_is_another_key_than_the_one_used(client: "SecretsManagerClient") -> None:
    clock = Clock()
    found = accounts(client, {"api_key": "old"}, clock)
    _, used = found.account("gateway")
    assert not found.refresh("gateway", used), "the secret still holds it"
    client.put_secret_value(SecretId="s", SecretString='{"gateway": {"key": "new"}}')
    clock.now += REREAD_SECONDS - 1
    assert not found.refresh("gateway", used), "reread a moment ago"
    clock.now += 1
    assert found.refresh("gateway", used)
    assert found.account("gateway")[1] == "new"
    assert found.refresh("gateway", used), "no reread is needed to see that the used key is an older one"
    assert not found.refresh("gateway", "new")
    for stored in ("not json", "{}", '{"api_key": 5}'):
        client.put_secret_value(SecretId="s", SecretString=stored)
        clock.now += REREAD_SECONDS
        assert not found.refresh("gateway", "new"), "no readable key is no other key"


PROXY = "https://proxy.example.com"
BESIDE = {"gateway": {"key": "g"}, "vidu": {"key": "v", "base": "https://v.example.com/"}}


@pytest.mark.parametrize(
    ("content", "names", "found"),
    [
        ({"api_key": " g\n"}, ("gateway",), {"gateway": (PROXY, "g")}),
        ({"api_key": "g", "note": "ours"}, ("gateway",), {"gateway": (PROXY, "g")}),
        (BESIDE, ("gateway", "vidu"), {"gateway": (PROXY, "g"), "vidu": ("https://v.example.com/", "v")}),
        ({"vidu": {"key": "v"}}, ("vidu",), {"vidu": ("", "v")}),
        ({"another": {"key": "a"}, "gateway": {"key": "g", "base": "http://g:8080/a"}}, ("gateway", "another"),
         {"gateway": ("http://g:8080/a", "g")}),
    ],
    ids=str,
)  # fmt: skip
def test_each_provider_is_asked_with_its_own_key_at_its_own_address(
    client: "SecretsManagerClient", content: Any, names: tuple[str, ...], found: dict[str, tuple[str, str]]
) -> None:
    read = accounts(client, content)
    assert (read.names(), read.others()) == (names, tuple(name for name in names if name != "gateway"))
    assert {name: read.account(name) for name in found} == found
    for name in {"gateway", "vidu"} - set(found):
        with pytest.raises(ConfigurationError, match=f"no key of `{name}`"):
            read.account(name)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        *(({"api_key": key}, r"gateway\.key") for key in ("", "  ", 5, None, "schlüssel")),
        *(({"gateway": {"key": key}}, r"gateway\.key") for key in ("", 5, None, ["k"], "two\nlines")),
        ({}, "no key of `gateway`"),
        ({"gateway": None}, "no key of `gateway`"),
        ({"Gateway": {"key": "g"}}, "no key of `gateway`; it has Gateway"),
        *(({"gateway": entry}, "`gateway` is no object") for entry in ("g", 5, ["g"])),
        ({"gateway": {"key": "g", "api_key": "g"}}, "'api_key': it takes key, previous_key and base"),
        *(({"api_key": "g", name: {"key": "v"}}, f"`api_key` beside `{name}`") for name in ("vidu", "gateway")),
        ({"previous_api_key": "g", "vidu": {"key": "v"}}, "`previous_api_key` beside `vidu`"),
        *(
            ({"gateway": {"key": "g", "base": base}}, r"gateway\.base")
            for base in (
                "", 5, None, "g.example.com", "ftp://g", "https://", "https://u:p@g", "https://g?a=1", "https://g?",
                "https://g/#a", "https://g/ a", "https://g:port", "https://[g", "https://g\\@v",
            )
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_malformed_entry_is_the_operator_s_to_fix_and_its_key_goes_nowhere(
    client: "SecretsManagerClient", content: Any, named: str
) -> None:
    read = accounts(client, content)
    for use in (read.account, read.signing):
        with pytest.raises(ConfigurationError, match=named):
            use("gateway")


def test_a_malformed_entry_stops_no_other_provider(client: "SecretsManagerClient") -> None:
    read = accounts(client, {"gateway": {"key": "g"}, "vidu": {"key": "v", "base": "v.example.com"}})
    assert (read.account("gateway"), read.others()) == ((PROXY, "g"), ("vidu",))
    with pytest.raises(ConfigurationError, match=r"vidu\.base"):
        read.account("vidu")


@pytest.mark.parametrize("previous", ["", 5, "schl\u00fcssel", []])
@pytest.mark.parametrize("form", [("api_key", "previous_api_key"), ("key", "previous_key")])
def test_a_key_before_that_is_none_is_the_operator_s_to_fix(
    client: "SecretsManagerClient", form: tuple[str, str], previous: Any
) -> None:
    entry = dict(zip(form, (" good\n", previous), strict=True))
    read = accounts(client, entry if "api_key" in entry else {"gateway": entry})
    assert read.account("gateway")[1] == "good"
    with pytest.raises(ConfigurationError, match="previous_key"):
        read.signing()


def test_providers_beside_the_default_one_are_none_until_the_secret_has_a_value_and_are_seen_once_stored(
    client: "SecretsManagerClient",
) -> None:
    clock = Clock()
    arn = client.create_secret(Name="s")["ARN"]
    read = ProviderAccounts(Secret(client, arn, clock), "gateway")
    assert read.others() == ()
    client.put_secret_value(SecretId="s", SecretString='{"api_key": "g"}')
    assert read.others() == ()
    client.put_secret_value(SecretId="s", SecretString=json.dumps(BESIDE))
    clock.now += KEEP_SECONDS + 1
    assert read.others() == ("vidu",)
    with Stubber(client) as stub:
        stub.add_client_error("get_secret_value", "DecryptionFailure")
        with pytest.raises(ConfigurationError):
            ProviderAccounts(Secret(client, arn, clock), "gateway").others()
