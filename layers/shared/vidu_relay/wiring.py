"""Dependencies that several functions build at cold start: the provider, the keys, a submission."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vidu_relay import aws
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.secret_store import ProviderKey, Secret
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.settings import AcceptanceSettings, ProviderSettings, SubmissionSettings, polling_policy
from vidu_relay.usecases.attempt_submission import SubmissionDependencies
from vidu_relay.usecases.ports import Provider

if TYPE_CHECKING:
    from vidu_relay.usecases.check_references import ReferenceCheck
    from vidu_relay.usecases.submit_task import Acceptance

__all__ = [
    "acceptance",
    "callback_keys",
    "keys_for",
    "offering",
    "provider",
    "provider_key",
    "reference_check",
    "submission",
]


def provider_key(secret_arn: str) -> ProviderKey:
    """The provider's API key, read when it is first needed."""
    return ProviderKey(Secret(aws.client("secretsmanager"), secret_arn))


def provider(settings: ProviderSettings) -> Provider:
    """The provider that the template's `ProviderName` chose. Raises `ConfigurationError` for an unknown name."""
    key = provider_key(settings.provider_secret_arn)
    match settings.provider_name:  # a function loads the one it talks to
        case "gateway":
            from vidu_relay.adapters.provider_gateway import GatewayProvider

            return GatewayProvider(settings.provider_base_url, key, key.refresh)
        case "vidu":
            from vidu_relay.adapters.provider_vidu import ViduProvider

            return ViduProvider(settings.provider_base_url, key, key.refresh)
        case unknown:
            raise ConfigurationError(f"PROVIDER_NAME: there is no provider {unknown!r}")


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
        prices=PriceBooks(aws.client("dynamodb"), settings.table_name, settings.assumed_task_usd),
        submission=deps,
    )


def offering(settings: AcceptanceSettings) -> Offering:
    """Which models the deployment offers, and where."""
    return Offering((settings.provider_name,), frozenset(settings.offered_models), off_peak=settings.off_peak_available)


def submission(settings: SubmissionSettings) -> SubmissionDependencies:
    """What a create call needs. New tokens are signed with the active key."""
    callback_secret = Secret(aws.client("secretsmanager"), settings.callback_secret_arn)
    table = aws.client("dynamodb")
    return SubmissionDependencies(
        store=TaskStore(table, settings.table_name),
        provider=provider(settings),
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
