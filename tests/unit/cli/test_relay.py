"""The operator's tool: tenants, and keys that are shown once."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli.main import main
from tests.unit.usecases.account import REGION, Account, mock_aws, new_account
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.usecases.authorize_request import authorize_request


@pytest.fixture
def account(tmp_path: Path) -> Any:
    with mock_aws():
        made = new_account()
        stack = {"region": REGION, "aws_endpoint_url": None, "aws_ca_bundle": None, "table": made.table}
        (tmp_path / "stack.json").write_text(json.dumps(stack))
        yield made


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def relay(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the account: exit status, what it printed, what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["--local", str(tmp_path / "stack.json"), *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def items(account: Account) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.clients["dynamodb"].scan(TableName=account.table)["Items"]
    return found


def made_key(relay: Run, *arguments: str) -> dict[str, Any]:
    status, out, _ = relay("--json", "keys", "create", "--tenant", "acme", *arguments)
    assert status == 0
    shown: dict[str, Any] = json.loads(out)
    return shown


def test_tenant_is_created_once(relay: Run, account: Account) -> None:
    status, out, _ = relay("tenants", "create", "acme")
    assert (status, out) == (0, "Tenant acme created.\n")
    assert relay("tenants", "create", "acme")[1] == "Tenant acme was there already.\n"
    assert [item["pk"]["S"] for item in items(account)] == ["tenant#acme"]


def test_event_sources_are_mapped_to_their_tenant_and_never_to_two(relay: Run, account: Account) -> None:
    relay("tenants", "create", "acme", "--event-source", "acme.orders", "--event-source", "acme.web")
    assert {i["pk"]["S"]: i["tenant_id"]["S"] for i in items(account) if i["pk"]["S"].startswith("source#")} == {
        "source#acme.orders": "acme",
        "source#acme.web": "acme",
    }
    assert relay("tenants", "create", "acme", "--event-source", "acme.web")[0] == 0
    status, _, complaint = relay("tenants", "create", "globex", "--event-source", "acme.web")
    assert status == 1
    assert "another tenant" in complaint


@pytest.mark.parametrize("tenant", ["", "Acme", "-acme", "acme-", "a b", "acme/x", "../x", "a" * 41, "acme\n", "é"])
def test_tenant_id_that_cannot_be_an_s3_prefix_is_refused(relay: Run, account: Account, tenant: str) -> None:
    status, out, complaint = relay("tenants", "create", "--", tenant)
    assert (status, out) == (1, "")
    assert "a-z" in complaint
    assert items(account) == []


@pytest.mark.parametrize("source", ["", "a b", "x" * 257, "a\n", "a*"])
def test_event_source_that_cannot_be_one_is_refused_and_nothing_is_created(
    relay: Run, account: Account, source: str
) -> None:
    assert relay("tenants", "create", "acme", "--event-source", source)[0] == 1
    assert items(account) == []


def test_key_is_shown_once_and_only_its_digest_is_stored(relay: Run, account: Account) -> None:
    relay("tenants", "create", "acme")
    status, out, _ = relay("keys", "create", "--tenant", "acme", "--name", "backend")
    key, _, said = out.partition("\n")
    assert status == 0
    assert len(key) >= 43
    assert "shown this once" in said
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert digest[:12] in said
    stored = json.dumps(items(account), default=str)
    assert key not in stored
    assert f"key#{digest}" in stored
    assert key not in relay("keys", "list", "--tenant", "acme")[1]


def test_key_opens_the_door_until_it_is_revoked(relay: Run, account: Account) -> None:
    relay("tenants", "create", "acme")
    made, other = made_key(relay), made_key(relay)
    directory = TenantDirectory(account.clients["dynamodb"], account.table)
    found = authorize_request(f"Bearer {made['api_key']}", directory)
    assert found is not None
    assert found.tenant_id == "acme"
    status, out, _ = relay("--json", "keys", "revoke", "--tenant", "acme", made["key_id"])
    assert (status, json.loads(out)) == (0, {"key_id": made["key_id"], "revoked": True})
    assert authorize_request(f"Bearer {made['api_key']}", directory) is None
    assert authorize_request(f"Bearer {other['api_key']}", directory) is not None
    assert relay("keys", "revoke", "--tenant", "acme", made["key_id"])[0] == 1


def test_keys_differ(relay: Run) -> None:
    relay("tenants", "create", "acme")
    assert len({made_key(relay)["api_key"] for _ in range(5)}) == 5


def test_list_shows_a_tenants_own_keys_without_their_secret(relay: Run) -> None:
    relay("tenants", "create", "acme")
    relay("tenants", "create", "globex")
    assert relay("keys", "list", "--tenant", "acme")[1] == "No keys.\n"
    made = made_key(relay, "--name", "backend")
    relay("keys", "create", "--tenant", "globex")
    status, out, _ = relay("--json", "keys", "list", "--tenant", "acme")
    (shown,) = json.loads(out)["keys"]
    assert status == 0
    assert shown == {name: value for name, value in made.items() if name != "api_key"}
    assert set(shown) == {"key_id", "tenant_id", "name", "created_at"}
    assert relay("keys", "list", "--tenant", "acme")[1] == f"{made['key_id']}  {made['created_at']}  backend\n"


def test_key_of_another_tenant_is_not_revoked(relay: Run, account: Account) -> None:
    relay("tenants", "create", "acme")
    relay("tenants", "create", "globex")
    made = made_key(relay)
    before = len(items(account))
    status, _, complaint = relay("keys", "revoke", "--tenant", "globex", made["key_id"])
    assert status == 1
    assert complaint.startswith("relay: ")
    assert len(items(account)) == before


@pytest.mark.parametrize("key_id", ["", "x", "*", "0" * 11, "0" * 13, "G" * 12])
def test_key_id_that_names_no_key_is_refused(relay: Run, account: Account, key_id: str) -> None:
    relay("tenants", "create", "acme")
    made_key(relay)
    assert relay("keys", "revoke", "--tenant", "acme", key_id)[0] == 1
    assert len(items(account)) == 2


@pytest.mark.parametrize("name", ["", "x" * 101, "tab\t", "café"])
def test_key_name_that_cannot_be_shown_is_refused(relay: Run, account: Account, name: str) -> None:
    relay("tenants", "create", "acme")
    assert relay("keys", "create", "--tenant", "acme", "--name", name)[0] == 1
    assert len(items(account)) == 1


@pytest.mark.parametrize(
    "command", [("keys", "create"), ("keys", "list"), ("keys", "revoke", "000000000000")], ids=lambda c: c[1]
)
@pytest.mark.parametrize("tenant", ["nobody", "", "Nobody!"])
def test_unknown_tenant_is_refused_with_what_to_do(
    relay: Run, account: Account, command: tuple[str, ...], tenant: str
) -> None:
    status, out, complaint = relay(*command, "--tenant", tenant)
    assert (status, out) == (1, "")
    assert "tenants create" in complaint
    assert items(account) == []


def test_local_stack_that_does_not_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--local", str(tmp_path / "none.json"), "keys", "list", "--tenant", "acme"]) == 1
    assert "make local" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [(), ("keys",), ("keys", "list", "--tenant", "a"), ("--local", "x", "--stack", "y")]
)
def test_incomplete_command_is_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- a deployed stack


def stack_with(outputs: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation knows one stack, with these outputs."""

    class Session(boto3.Session):
        def client(self, service: str, **arguments: Any) -> Any:  # type: ignore[override]  # one client is not AWS's
            made = super().client(service, **arguments)  # type: ignore[call-overload]  # the name is not a literal here
            if service == "cloudformation":
                stub = Stubber(made)
                described = {"StackName": "relay", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
                stub.add_response("describe_stacks", {"Stacks": [{**described, "Outputs": outputs}]})
                stub.activate()
            return made

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr("cli.connection.boto3.Session", Session)


def test_deployed_stack_is_found_by_its_name(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack_with([{"OutputKey": "TableName", "OutputValue": account.table}], monkeypatch)
    assert main(["--stack", "relay", "--region", REGION, "tenants", "create", "acme"]) == 0
    assert [item["pk"]["S"] for item in items(account)] == ["tenant#acme"]


def test_stack_that_is_something_else_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack_with([{"OutputKey": "WebsiteUrl", "OutputValue": "x"}], monkeypatch)
    assert main(["--stack", "website", "--region", REGION, "tenants", "create", "acme"]) == 1
    assert "not a Vidu Relay" in capsys.readouterr().err
