"""Secrets: read once, kept for a while, and never used if malformed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.unit.adapters.conftest import SESSION
from vidu_relay.adapters.secret_store import KEEP_SECONDS, NEEDS_THE_OPERATOR, REREAD_SECONDS, ProviderKey, Secret
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
        assert not ProviderKey(Secret(client, "arn")).refresh("old")


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


def test_the_key_before_is_one_that_may_have_signed(client: "SecretsManagerClient") -> None:
    clock = Clock()
    key = ProviderKey(secret(client, '{"api_key": "old"}', clock))
    assert key.signing() == ("old",)
    client.put_secret_value(SecretId="s", SecretString='{"api_key": "new", "previous_api_key": " old\\n"}')
    assert key.signing() == ("old",)
    assert key.fresh_signing() == ("new", "old")
    assert key.fresh_signing() == (), "once a minute"
    assert (key(), key.signing()) == ("new", ("new", "old"))


def test_refresh_tells_whether_there_is_another_key_than_the_one_used(client: "SecretsManagerClient") -> None:
    clock = Clock()
    key = ProviderKey(secret(client, '{"api_key": "old"}', clock))
    used = key()
    assert not key.refresh(used), "the secret still holds it"
    client.put_secret_value(SecretId="s", SecretString='{"api_key": "new"}')
    clock.now += REREAD_SECONDS - 1
    assert not key.refresh(used), "reread a moment ago"
    clock.now += 1
    assert key.refresh(used)
    assert key() == "new"
    assert key.refresh(used), "no reread is needed to see that the used key is an older one"
    assert not key.refresh("new")
    for stored in ("not json", "{}", '{"api_key": 5}'):
        client.put_secret_value(SecretId="s", SecretString=stored)
        clock.now += REREAD_SECONDS
        assert not key.refresh("new"), "no readable key is no other key"


@pytest.mark.parametrize("text", ["{}", '{"api_key": ""}', '{"api_key": "  "}', '{"api_key": 5}', '{"api_key": null}'])
def test_without_a_provider_key_nothing_is_called(client: "SecretsManagerClient", text: str) -> None:
    with pytest.raises(ConfigurationError):
        ProviderKey(secret(client, text, Clock()))()


@pytest.mark.parametrize("previous", ['""', "5", '"schl\\u00fcssel"', "[]"])
def test_a_key_before_that_is_none_is_the_operator_s_to_fix(client: "SecretsManagerClient", previous: str) -> None:
    text = '{"api_key": " good\\n", "previous_api_key": %s}' % previous  # noqa: UP031 - braces
    key = ProviderKey(secret(client, text, Clock()))
    assert key() == "good"
    with pytest.raises(ConfigurationError, match="previous_api_key"):
        key.signing()
