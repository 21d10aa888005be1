"""Tenants: who may use the relay, how much, and what acts for them."""

from typing import Any

import pytest

from tests.unit.cli.conftest import Deployment, Run
from vidu_relay.adapters.tenant_directory import TenantDirectory, TenantMapping


@pytest.fixture
def directory(deployment: Deployment) -> TenantDirectory:
    return TenantDirectory(deployment.client("dynamodb"), deployment.account.table)


def keys_of(deployment: Deployment) -> set[str]:
    return {item["pk"]["S"] for item in deployment.items()}


def test_tenant_is_created_once(relay: Run, deployment: Deployment) -> None:
    status, out, _ = relay("tenants", "create", "acme")
    assert (status, out) == (0, "Tenant acme created.\n")
    before = deployment.items()
    assert relay("tenants", "create", "acme")[1] == "Tenant acme was there already.\n"
    assert deployment.items() == before
    assert keys_of(deployment) == {"tenant#acme"}


@pytest.mark.parametrize("tenant", ["", "Acme", "-acme", "acme-", "a b", "acme/x", "../x", "a" * 41, "acme\n", "é"])
def test_tenant_id_that_cannot_be_an_s3_prefix_is_refused(relay: Run, deployment: Deployment, tenant: str) -> None:
    status, out, complaint = relay("tenants", "create", "--", tenant)
    assert (status, out) == (1, "")
    assert "a-z" in complaint
    assert deployment.items() == []


def test_the_name_of_the_doctors_tenant_is_reserved(relay: Run, deployment: Deployment) -> None:
    status, _, complaint = relay("tenants", "create", "relay-doctor")
    assert (status, "relay doctor" in complaint, deployment.items()) == (1, True, [])


def test_list_shows_every_tenant_and_no_task(relay: Run, ask: Any, deployment: Deployment) -> None:
    assert relay("tenants", "list")[1].startswith("No tenants.")
    # tasks are listed by the id of their tenant: none may be the name that tenants themselves are listed by
    ask("tenants", "create", "tenants")
    ask("tenants", "create", "acme", "--event-source", "acme.orders")
    ask("tenants", "set-cap", "acme", "7")
    ask("tenants", "disable", "acme")
    deployment.client("dynamodb").put_item(
        TableName=deployment.account.table,
        Item={"pk": {"S": "task#x"}, "owner": {"S": "tenants"}, "created_at": {"N": "1"}},
    )
    found = {tenant["tenant_id"]: tenant for tenant in ask("tenants", "list")["tenants"]}
    assert set(found) == {"tenants", "acme"}
    assert (found["acme"]["disabled"], found["acme"]["daily_cap"]) == (True, 7)
    assert found["acme"]["event_sources"] == ["acme.orders"]
    assert (found["tenants"]["disabled"], found["tenants"]["daily_cap"]) == (False, None)
    _, out, _ = relay("tenants", "list")
    assert [line.split()[0] for line in out.splitlines()] == ["TENANT", *found]


def test_show_tells_all_of_a_tenant_and_nothing_secret(relay: Run, ask: Any) -> None:
    ask("tenants", "create", "acme", "--event-source", "acme.orders")
    ask("tenants", "add-bucket", "acme", "acme-drops")
    key = ask("keys", "create", "--tenant", "acme", "--name", "backend")
    shown = ask("tenants", "show", "acme")
    assert shown["keys"] == [{name: key[name] for name in ("key_id", "name", "created_at")}]
    assert (shown["event_sources"], shown["buckets"]) == (["acme.orders"], ["acme-drops"])
    out = relay("tenants", "show", "acme")[1]
    assert all(word in out for word in ("acme.orders", "acme-drops", key["key_id"], "default"))
    assert key["api_key"] not in out


def test_disabled_tenant_is_opened_again_and_both_may_be_repeated(ask: Any) -> None:
    ask("tenants", "create", "acme")
    assert [ask("tenants", "disable", "acme")["disabled"] for _ in range(2)] == [True, True]
    assert [ask("tenants", "enable", "acme")["disabled"] for _ in range(2)] == [False, False]


@pytest.mark.parametrize("cap", ["1", "500", "10000000"])
def test_cap_is_set_and_taken_back(ask: Any, cap: str) -> None:
    ask("tenants", "create", "acme")
    assert ask("tenants", "set-cap", "acme", cap)["daily_cap"] == int(cap)
    assert ask("tenants", "show", "acme")["daily_cap"] == int(cap)
    assert ask("tenants", "set-cap", "acme", "default")["daily_cap"] is None


@pytest.mark.parametrize(
    "cap", ["-1", "10000001", "9" * 40, "1.5", "1e3", "1_000", "1,000", "", "ten", "\u0661", "Default"]
)
def test_absurd_cap_is_refused(relay: Run, ask: Any, cap: str) -> None:
    ask("tenants", "create", "acme")
    status, _, complaint = relay("tenants", "set-cap", "acme", cap)
    assert status == 1
    assert "10,000,000" in complaint
    assert ask("tenants", "show", "acme")["daily_cap"] is None


def test_cap_of_nothing_must_be_meant(relay: Run, ask: Any) -> None:
    ask("tenants", "create", "acme")
    status, _, complaint = relay("tenants", "set-cap", "acme", "0")
    assert status == 1
    assert "--accept-nothing" in complaint
    assert ask("tenants", "show", "acme")["daily_cap"] is None
    assert ask("tenants", "set-cap", "acme", "0", "--accept-nothing")["daily_cap"] == 0


@pytest.mark.parametrize(("mapping", "name"), [("source", "acme.orders"), ("bucket", "acme-drops")])
def test_source_or_bucket_belongs_to_one_tenant_only(
    relay: Run, ask: Any, deployment: Deployment, directory: TenantDirectory, mapping: str, name: str
) -> None:
    ask("tenants", "create", "acme")
    ask("tenants", "create", "globex")
    for _ in range(2):
        ask("tenants", f"add-{mapping}", "acme", name)
    owner = directory.find_owner(TenantMapping(mapping), name)
    assert owner is not None
    assert owner.tenant_id == "acme"
    before = deployment.items()
    for command in (f"add-{mapping}", f"remove-{mapping}"):
        status, _, complaint = relay("tenants", command, "globex", name)
        assert status == 1
        assert "belongs to another tenant, acme" in complaint
    assert deployment.items() == before

    ask("tenants", f"remove-{mapping}", "acme", name)
    assert directory.find_owner(TenantMapping(mapping), name) is None
    assert directory.find_former_owner(TenantMapping(mapping), name) == directory.find_tenant("acme")
    # kept as closed for messages that SQS delivers again
    assert keys_of(deployment) == {"tenant#acme", "tenant#globex", f"{mapping}#{name}"}
    status, out, _ = relay("tenants", f"remove-{mapping}", "acme", name)
    assert (status, "already gone" in out) == (0, True)
    ask("tenants", f"add-{mapping}", "globex", name)
    owner = directory.find_owner(TenantMapping(mapping), name)
    assert owner is not None
    assert owner.tenant_id == "globex"


def test_tool_says_what_sources_and_buckets_open(relay: Run, ask: Any) -> None:
    for words, command in (
        ("VideoTaskRequested", ("tenants", "create", "acme", "--event-source", "acme.web")),
        ("VideoTaskRequested", ("tenants", "add-source", "acme", "acme.orders")),
        ("reference images", ("tenants", "add-bucket", "acme", "acme-images")),
        ("requests/acme/", ("tenants", "show", "acme")),
    ):
        assert words in relay(*command)[1], command


@pytest.mark.parametrize(
    ("mapping", "name"), [("source", ""), ("source", "a*"), ("bucket", ""), ("bucket", "s3://acme")]
)
def test_name_that_nobody_can_have_is_not_called_gone(relay: Run, ask: Any, mapping: str, name: str) -> None:
    ask("tenants", "create", "acme")
    assert relay("tenants", f"remove-{mapping}", "acme", name)[0] == 1


def test_source_that_was_taken_in_between_is_not_taken_over(directory: TenantDirectory) -> None:
    """What the tool looks up first, the write checks again."""
    for tenant in ("acme", "globex"):
        directory.create_tenant(tenant, 1)
    directory.add_mapping(TenantMapping.SOURCE, "acme.web", "acme")
    with pytest.raises(Exception, match="another tenant"):
        directory.add_mapping(TenantMapping.SOURCE, "acme.web", "globex")
    with pytest.raises(Exception, match="another tenant"):
        directory.remove_mapping(TenantMapping.SOURCE, "acme.web", "globex", 1)
    with pytest.raises(Exception, match="no tenant nobody"):
        directory.add_mapping(TenantMapping.SOURCE, "free", "nobody")
    assert directory.find_owner(TenantMapping.SOURCE, "free") is None
    globex, acme = directory.find_tenant("globex"), directory.find_tenant("acme")
    assert globex is not None
    assert acme is not None
    assert (globex.event_sources, acme.event_sources) == ((), ("acme.web",))


def test_sources_are_mapped_at_creation_or_nothing_is_created(relay: Run, ask: Any, deployment: Deployment) -> None:
    made = ask("tenants", "create", "acme", "--event-source", "acme.orders", "--event-source", "acme.web")
    assert made["event_sources"] == ["acme.orders", "acme.web"]
    assert ask("tenants", "create", "acme", "--event-source", "acme.web")["created"] is False
    status, _, complaint = relay("tenants", "create", "globex", "--event-source", "acme.web")
    assert (status, "another tenant" in complaint) == (1, True)
    assert "tenant#globex" not in keys_of(deployment)


@pytest.mark.parametrize("source", ["", "a b", "x" * 257, "a\n", "a*", "vidu-relay", "aws.s3", "aws", "aws.partner/x"])
def test_event_source_that_nobody_can_have_is_refused(relay: Run, deployment: Deployment, source: str) -> None:
    assert relay("tenants", "create", "acme", "--event-source", source)[0] == 1
    assert deployment.items() == []
    relay("tenants", "create", "acme")
    assert relay("tenants", "add-source", "acme", source)[0] == 1
    assert keys_of(deployment) == {"tenant#acme"}


@pytest.mark.parametrize("bucket", ["", "ab", "a" * 64, "Acme", "s3://acme", "a/b", "a b", "-acme", "relay-videos"])
def test_bucket_that_nobody_can_have_is_refused(relay: Run, deployment: Deployment, bucket: str) -> None:
    relay("tenants", "create", "acme")
    assert relay("tenants", "add-bucket", "--", "acme", bucket)[0] == 1
    assert keys_of(deployment) == {"tenant#acme"}


@pytest.mark.parametrize(
    "command",
    [
        ("tenants", "show", "{}"),
        ("tenants", "disable", "{}"),
        ("tenants", "enable", "{}"),
        ("tenants", "set-cap", "{}", "5"),
        ("tenants", "add-source", "{}", "a.b"),
        ("tenants", "remove-source", "{}", "a.b"),
        ("tenants", "add-bucket", "{}", "a-b"),
        ("tenants", "remove-bucket", "{}", "a-b"),
        ("keys", "create", "--tenant", "{}"),
        ("keys", "list", "--tenant", "{}"),
        ("keys", "revoke", "--tenant", "{}", "000000000000"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize("tenant", ["nobody", "", "Nobody!", "a b", "a/b"])
def test_unknown_tenant_is_refused_with_what_to_do(
    relay: Run, deployment: Deployment, command: tuple[str, ...], tenant: str
) -> None:
    status, out, complaint = relay(*(word.format(tenant) for word in command))
    assert (status, out) == (1, "")
    assert "tenants create" in complaint
    assert deployment.items() == []
