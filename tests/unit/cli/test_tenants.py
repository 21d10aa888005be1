"""Tenants: who may use the relay, how much, and which sources and buckets are theirs."""

from itertools import product

import pytest

from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from vidu_relay.adapters.tenant_directory import TenantDirectory, TenantMapping


@pytest.fixture
def directory(deployment: Deployment) -> TenantDirectory:
    return TenantDirectory(deployment.client("dynamodb"), deployment.account.table)


def keys_of(deployment: Deployment) -> set[str]:
    return {item["pk"]["S"] for item in deployment.items()}


def test_tenant_is_created_once(relay: Run, deployment: Deployment) -> None:
    assert relay("tenants", "create", "acme")[:2] == (0, "Tenant acme created.\n")
    before = deployment.items()
    assert relay("tenants", "create", "acme")[1] == "Tenant acme exists already.\n"
    assert deployment.items() == before
    assert keys_of(deployment) == {"tenant#acme"}


@pytest.mark.parametrize(
    "tenant", ["", "Acme", "-acme", "acme-", "a b", "acme/x", "../x", "a" * 41, "acme\n", "é", "relay-doctor"]
)
def test_tenant_id_that_is_no_s3_prefix_or_is_reserved_is_refused(
    refused: Refused, deployment: Deployment, tenant: str
) -> None:
    assert ("choose another name" if tenant == "relay-doctor" else "a-z") in refused("tenants", "create", "--", tenant)
    assert deployment.items() == []


def test_list_and_show_have_all_of_a_tenant_and_nothing_secret(relay: Run, ask: Ask, deployment: Deployment) -> None:
    assert relay("tenants", "list")[1].startswith("No tenants.")
    # tasks are listed by the id of their tenant: none may be the name that tenants themselves are listed by
    ask("tenants", "create", "tenants")
    ask("tenants", "create", "acme", "--event-source", "acme.orders")
    ask("tenants", "set-cap", "acme", "7")
    ask("tenants", "add-bucket", "acme", "acme-drops")
    key = ask("keys", "create", "--tenant", "acme", "--name", "backend")
    deployment.client("dynamodb").put_item(
        TableName=deployment.account.table,
        Item={"pk": {"S": "task#x"}, "owner": {"S": "tenants"}, "created_at": {"N": "1"}},
    )
    first, acme = ask("tenants", "list")["tenants"]
    assert (first["tenant_id"], first["disabled"], first["daily_cap"]) == ("tenants", False, None)
    assert (acme["daily_cap"], acme["event_sources"], acme["buckets"]) == (7, ["acme.orders"], ["acme-drops"])
    assert [line.split()[0] for line in relay("tenants", "list")[1].splitlines()] == ["TENANT", "tenants", "acme"]
    shown = {name: key[name] for name in ("key_id", "name", "created_at")}
    assert ask("tenants", "show", "acme") == {**acme, "keys": [shown]}
    out = relay("tenants", "show", "acme")[1]
    assert all(word in out for word in ("acme.orders", "acme-drops", key["key_id"], "requests/acme/"))
    assert key["api_key"] not in out


def test_tenant_is_disabled_and_enabled_and_both_can_be_repeated(ask: Ask) -> None:
    ask("tenants", "create", "acme")
    assert [ask("tenants", "disable", "acme")["disabled"] for _ in range(2)] == [True, True]
    assert [ask("tenants", "enable", "acme")["disabled"] for _ in range(2)] == [False, False]


@pytest.mark.parametrize("cap", ["1", "500", "10000000", "0 --accept-nothing"])
def test_cap_is_set_and_reset(ask: Ask, cap: str) -> None:
    ask("tenants", "create", "acme")
    assert ask("tenants", "set-cap", "acme", *cap.split())["daily_cap"] == int(cap.split(maxsplit=1)[0])
    assert ask("tenants", "set-cap", "acme", "default")["daily_cap"] is None


@pytest.mark.parametrize(
    "cap", ["-1", "10000001", "9" * 40, "1.5", "1e3", "1_000", "1,000", "", "ten", "\u0661", "Default", "0"]
)
def test_absurd_cap_is_refused(refused: Refused, ask: Ask, cap: str) -> None:
    ask("tenants", "create", "acme")
    rule = "--accept-nothing" if cap == "0" else "10,000,000"
    assert rule in refused("tenants", "set-cap", "acme", "--", cap)
    assert ask("tenants", "show", "acme")["daily_cap"] is None


def test_budget_is_set_and_taken_away_each_bound_by_itself(ask: Ask) -> None:
    ask("tenants", "create", "acme")

    def set_budget(*words: str) -> tuple[str | None, str | None]:
        shown = ask("tenants", "set-budget", "acme", *words)
        return shown["daily_budget_usd"], shown["monthly_budget_usd"]

    assert set_budget("--daily", "20", "--monthly", "300.50") == ("20", "300.5")
    assert set_budget("--monthly", "none") == ("20", None)
    assert set_budget("--daily", "0") == ("0", None)
    assert set_budget("--daily", "none") == (None, None)


@pytest.mark.parametrize("amount", ["-1", "NaN", "1e3", "1,5", "$5", "5 EUR", "", "1234567890", "0.1234567891"])
def test_absurd_budget_is_refused(refused: Refused, ask: Ask, amount: str) -> None:
    ask("tenants", "create", "acme")
    assert "plain decimal" in refused("tenants", "set-budget", "acme", f"--daily={amount}")
    assert "--monthly" in refused("tenants", "set-budget", "acme")


@pytest.mark.parametrize(
    ("mapping", "name", "means"),
    [("source", "acme.orders", "VideoTaskRequested"), ("bucket", "drops", "reference images")],
)
def test_source_or_bucket_belongs_to_one_tenant(
    relay: Run, refused: Refused, ask: Ask, deployment: Deployment, directory: TenantDirectory,
    mapping: str, name: str, means: str,
) -> None:  # fmt: skip
    kind = TenantMapping(mapping)
    ask("tenants", "create", "acme")
    ask("tenants", "create", "globex")
    for _ in range(2):
        assert means in relay("tenants", f"add-{mapping}", "acme", name)[1]
    assert directory.find_owner(kind, name) == directory.find_tenant("acme")
    before = deployment.items()
    for command in (f"add-{mapping}", f"remove-{mapping}"):
        assert "belongs to another tenant, acme" in refused("tenants", command, "globex", name)
    assert deployment.items() == before

    ask("tenants", f"remove-{mapping}", "acme", name)
    assert directory.find_owner(kind, name) is None
    assert directory.find_former_owner(kind, name) == directory.find_tenant("acme")
    # kept as closed for messages that SQS delivers again
    assert keys_of(deployment) == {"tenant#acme", "tenant#globex", f"{mapping}#{name}"}
    assert "already gone" in relay("tenants", f"remove-{mapping}", "acme", name)[1]
    ask("tenants", f"add-{mapping}", "globex", name)
    assert directory.find_owner(kind, name) == directory.find_tenant("globex")


def test_source_that_another_operator_has_just_mapped_is_refused(directory: TenantDirectory) -> None:
    """The write checks again what the tool has read before."""
    for tenant in ("acme", "globex"):
        directory.create_tenant(tenant, 1)
    directory.add_mapping(TenantMapping.SOURCE, "acme.web", "acme")
    with pytest.raises(Exception, match="another tenant"):
        directory.add_mapping(TenantMapping.SOURCE, "acme.web", "globex")
    with pytest.raises(Exception, match="another tenant"):
        directory.remove_mapping(TenantMapping.SOURCE, "acme.web", "globex", 1)
    with pytest.raises(Exception, match="no tenant absent"):
        directory.add_mapping(TenantMapping.SOURCE, "free", "absent")
    assert directory.find_owner(TenantMapping.SOURCE, "free") is None
    owners = [directory.find_tenant(tenant) for tenant in ("acme", "globex")]
    assert [owner and owner.event_sources for owner in owners] == [("acme.web",), ()]


def test_sources_are_mapped_at_creation_or_nothing_is_created(
    refused: Refused, ask: Ask, deployment: Deployment
) -> None:
    made = ask("tenants", "create", "acme", "--event-source", "acme.orders", "--event-source", "acme.web")
    assert made["event_sources"] == ["acme.orders", "acme.web"]
    assert ask("tenants", "create", "acme", "--event-source", "acme.web")["created"] is False
    assert "another tenant" in refused("tenants", "create", "globex", "--event-source", "acme.web")
    assert "tenant#globex" not in keys_of(deployment)


SOURCES = ["", "a b", "x" * 257, "a\n", "a*", "vidu-relay", "aws.s3", "aws", "aws.partner/x"]
BUCKETS = ["", "ab", "a" * 64, "Acme", "s3://acme", "a/b", "a b", "-acme", "relay-videos"]


@pytest.mark.parametrize(("mapping", "name"), [*product(["source"], SOURCES), *product(["bucket"], BUCKETS)])
def test_source_or_bucket_that_no_tenant_can_have_is_refused(
    refused: Refused, relay: Run, deployment: Deployment, mapping: str, name: str
) -> None:
    if mapping == "source":
        refused("tenants", "create", "acme", f"--event-source={name}")
        assert deployment.items() == []
    relay("tenants", "create", "acme")
    refused("tenants", f"add-{mapping}", "--", "acme", name)
    if name in ("", "a*", "s3://acme"):  # not called gone, either
        refused("tenants", f"remove-{mapping}", "acme", name)
    assert keys_of(deployment) == {"tenant#acme"}


COMMANDS = [
    *(
        "tenants show {}",
        "tenants disable {}",
        "tenants enable {}",
        "tenants set-cap {} 5",
        "tenants set-budget {} --daily 5",
        "tenants add-source {} a.b",
    ),
    *("tenants remove-source {} a.b", "tenants add-bucket {} a-b", "tenants remove-bucket {} a-b"),
    *("keys create --tenant {}", "keys list --tenant {}", "keys revoke --tenant {} 000000000000"),
    *("webhooks secret {}", "webhooks rotate {}"),
]


@pytest.mark.parametrize(("command", "tenant"), [*product(COMMANDS, ["absent", "", "a/b"])])
def test_unknown_tenant_is_refused_with_what_to_do(
    refused: Refused, deployment: Deployment, command: str, tenant: str
) -> None:
    assert "tenants create NAME" in refused(*(word.format(tenant) for word in command.split()))
    assert deployment.items() == []
