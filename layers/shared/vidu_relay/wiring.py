"""Dependencies that several functions build at cold start: the providers, their keys, a submission."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from vidu_relay import aws
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.catalogue import PROVIDERS, Offering, known_ids
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.settings import (
    AcceptanceSettings,
    OfferingSettings,
    ProviderSettings,
    SubmissionSettings,
    polling_policy,
)
from vidu_relay.usecases.attempt_submission import SubmissionDependencies
from vidu_relay.usecases.ports import Provider, Providers

if TYPE_CHECKING:
    from vidu_relay.usecases.check_references import ReferenceCheck
    from vidu_relay.usecases.compare_books import ProviderBooks
    from vidu_relay.usecases.submit_task import Acceptance

__all__ = [
    "acceptance",
    "callback_keys",
    "keys_for",
    "offering",
    "provider_accounts",
    "provider_books",
    "providers",
    "reference_check",
    "submission",
]


@cache
def provider_accounts(settings: ProviderSettings) -> ProviderAccounts:
    """The keys of all providers, read when one is first needed; the same for the same settings.

    Raises `ConfigurationError` for a default provider that is not known.
    """
    if settings.provider_name not in PROVIDERS:
        raise ConfigurationError(f"PROVIDER_NAME: there is no provider {settings.provider_name!r}")
    secret = Secret(aws.client("secretsmanager"), settings.provider_secret_arn)
    return ProviderAccounts(secret, settings.provider_name, settings.provider_base_url or "")


def providers(accounts: ProviderAccounts) -> Providers:
    """Every provider by its name, made on first use: a function loads those that it talks to."""

    @cache
    def named(name: str) -> Provider:
        account, refresh = partial(accounts.account, name), partial(accounts.refresh, name)
        match name:
            case "gateway":
                from vidu_relay.adapters.provider_gateway import GatewayProvider

                return GatewayProvider(account, refresh)
            case "vidu":
                from vidu_relay.adapters.provider_vidu import ViduProvider

                return ViduProvider(account, refresh)
            case unknown:
                raise ConfigurationError(f"there is no provider {unknown!r}")

    return named


def provider_books(name: str, accounts: ProviderAccounts) -> ProviderBooks | None:
    """The books of a provider; None for one that shows none."""
    if name != "vidu":
        return None
    from vidu_relay.adapters.provider_vidu_books import ViduBooks

    return ViduBooks(partial(accounts.account, name), partial(accounts.refresh, name))


def callback_keys(secret_arn: str) -> Callable[[str], CallbackKeys]:
    """The callback keys; for a token whose key is not among them the secret is reread, at most once a minute."""
    secret = Secret(aws.client("secretsmanager"), secret_arn)
    return lambda token: keys_for(token, secret)


def keys_for(token: str, secret: Secret) -> CallbackKeys:
    """The keys in a secret, reread if no key in memory made this token."""
    known = CallbackKeys(secret.get())
    if known.knows(token) or not secret.reread():
        return known
    return CallbackKeys(secret.get())


def acceptance(settings: AcceptanceSettings) -> Acceptance:
    """What an entry point needs to accept requests."""
    from vidu_relay.adapters.daily_quota import DailyQuota
    from vidu_relay.adapters.price_book import PriceBooks
    from vidu_relay.adapters.request_archive import RequestArchive
    from vidu_relay.usecases.submit_task import Acceptance

    deps = submission(settings)
    return Acceptance(
        quota=DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.client("dynamodb", single_try=True)),
        archive=RequestArchive(aws.lazy_s3(), settings.inbox_bucket),
        images=reference_check(settings, deps.images),
        poller=TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn),
        offering=offering(settings),
        prices=PriceBooks(aws.client("dynamodb"), settings.table_name, settings.assumed_task_usd),
        submission=deps,
    )


def offering(settings: OfferingSettings) -> Offering:
    """Which models the deployment offers, and where: read when a request comes, from a secret at most 5 minutes old.

    Raises `ConfigurationError` as `known_ids` does.
    """
    return Offering(
        (settings.provider_name,),
        known_ids(settings.offered_models),
        off_peak=settings.off_peak_available,
        unlisted=settings.allow_unlisted_models,
        also=provider_accounts(settings).others,
    )


def submission(settings: SubmissionSettings) -> SubmissionDependencies:
    """What a create call needs. New tokens are signed with the active key."""
    callback_secret = Secret(aws.client("secretsmanager"), settings.callback_secret_arn)
    table = aws.client("dynamodb")
    return SubmissionDependencies(
        store=TaskStore(table, settings.table_name),
        providers=providers(provider_accounts(settings)),
        pauses=ProviderPauses(table, settings.table_name),
        tenants=TenantDirectory(table, settings.table_name),
        images=ImageBucket(aws.lazy_s3(), settings.inbox_bucket),
        signing_keys=lambda: CallbackKeys(callback_secret.get()),
        public_base_url=settings.public_base_url,
        policy=polling_policy(settings),
    )


def reference_check(settings: AcceptanceSettings, bucket: ImageBucket) -> ReferenceCheck:
    """What the check of references needs. Image URLs are opened only if the template's `ProbeImageUrls` is true."""
    # only where requests come in: these load the request's model
    from vidu_relay.adapters.image_source import ImageSource
    from vidu_relay.outbound.address_guard import AddressGuard
    from vidu_relay.usecases.check_references import ReferenceCheck

    guard = AddressGuard(trusted_origins=settings.trusted_origins)
    return ReferenceCheck(
        bucket=bucket,
        source=ImageSource(guard) if settings.probe_image_urls else None,
        tenants=TenantDirectory(aws.client("dynamodb"), settings.table_name),
        guard=guard,
    )
