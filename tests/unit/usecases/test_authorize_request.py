"""A caller is accepted with a key that exists, of a tenant that exists and is enabled."""

import pytest

from tests.simulation.simulation import Simulation
from vidu_relay.adapters.tenant_directory import ApiKey, TenantDirectory
from vidu_relay.domain.identifiers import api_key_digest
from vidu_relay.usecases.authorize_request import Caller, authorize_request

SECRET = "kJ8_sample-api-key-of-acme"
DEFAULT_CAP = 1000


@pytest.fixture
def directory(sim: Simulation) -> TenantDirectory:
    found = TenantDirectory(sim.account.clients["dynamodb"], sim.account.table)
    found.create_tenant("acme", 1)
    found.add_key(ApiKey(api_key_digest(SECRET), "acme", "backend", 1))
    return found


def caller(header: str | None, directory: TenantDirectory) -> Caller | None:
    return authorize_request(header, directory, default_daily_cap=DEFAULT_CAP)


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"Bearer   {SECRET}"])
def test_good_key_is_accepted_for_its_own_tenant(directory: TenantDirectory, header: str) -> None:
    assert caller(header, directory) == Caller("acme", api_key_digest(SECRET)[:12], DEFAULT_CAP)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        SECRET,
        "Bearer",
        "Bearer ",
        f"Basic {SECRET}",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET} ",
        f" Bearer {SECRET}",
        f"Bearer {SECRET}\n",
        f"Bearer {SECRET}, Bearer {SECRET}",
        f"BEARER{SECRET}",
        f"Bearer {api_key_digest(SECRET)}",
        "Bearer " + "x" * 129,
        "Bearer é" + SECRET,
    ],
)
def test_any_other_header_is_refused(directory: TenantDirectory, header: str | None) -> None:
    assert caller(header, directory) is None


def test_revoked_key_is_refused(directory: TenantDirectory) -> None:
    directory.revoke_key(api_key_digest(SECRET))
    assert caller(f"Bearer {SECRET}", directory) is None


def test_key_of_a_disabled_tenant_is_refused_until_it_is_enabled(directory: TenantDirectory) -> None:
    directory.set_disabled("acme", True)
    assert caller(f"Bearer {SECRET}", directory) is None
    directory.set_disabled("acme", False)
    assert caller(f"Bearer {SECRET}", directory) is not None


def test_key_without_its_tenants_record_is_refused(directory: TenantDirectory) -> None:
    directory.add_key(ApiKey(api_key_digest(SECRET[::-1]), "ghost", "left-behind", 1))
    assert caller(f"Bearer {SECRET[::-1]}", directory) is None


@pytest.mark.parametrize("cap", [0, 1, 10_000_000])
def test_tenants_own_cap_precedes_the_default(directory: TenantDirectory, cap: int) -> None:
    for own, holds in ((cap, cap), (None, DEFAULT_CAP)):
        directory.set_daily_cap("acme", own)
        found = caller(f"Bearer {SECRET}", directory)
        assert found is not None
        assert found.daily_cap == holds
