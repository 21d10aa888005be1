"""Secrets of a template, quotas and schema registries."""

import json
import re

import pytest

from tests.local.probe import Emulator


def test_ref_of_a_secret_is_its_arn_and_its_value_has_no_punctuation(emulator: Emulator) -> None:
    arn = emulator.outputs["Secret"]
    assert arn.startswith("arn:aws:secretsmanager:")
    value = emulator.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    assert re.fullmatch("[A-Za-z0-9]{200}", json.loads(value)["key"])


def test_a_secret_without_a_value_has_none_until_one_is_put(emulator: Emulator) -> None:
    secrets, arn = emulator.client("secretsmanager"), emulator.outputs["EmptySecret"]
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=arn)
    secrets.put_secret_value(SecretId=arn, SecretString="value")
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "value"


def test_quotas_are_awss_defaults_and_unknown_ones_are_not_found(emulator: Emulator) -> None:
    client = emulator.client("service-quotas")
    assert client.get_service_quota(ServiceCode="events", QuotaCode="L-9B653E91")["Quota"]["Value"] == 10_000
    with pytest.raises(client.exceptions.NoSuchResourceException):
        client.get_service_quota(ServiceCode="events", QuotaCode="L-00000000")


def test_registry_keeps_the_versions_of_a_schema_and_refuses_nonsense(emulator: Emulator) -> None:
    schemas, registry = emulator.client("schemas"), {"RegistryName": "probe"}
    schema, refused = {**registry, "SchemaName": "probe@t"}, schemas.exceptions
    with pytest.raises(refused.NotFoundException):
        schemas.describe_registry(**registry)
    schemas.create_registry(**registry)
    with pytest.raises(refused.ConflictException):
        schemas.create_registry(**registry)
    with pytest.raises(refused.NotFoundException):
        schemas.update_schema(**schema, Type="OpenApi3", Content="{}")
    schemas.create_schema(**schema, Type="OpenApi3", Content="{}")
    for nonsense in ({"Type": "OpenApi3", "Content": "{"}, {"Type": "Avro", "Content": "{}"}):
        with pytest.raises(refused.BadRequestException):
            schemas.update_schema(**schema, **nonsense)
    schemas.update_schema(**schema, Type="OpenApi3", Content="[]")
    described = schemas.describe_schema(**schema)
    assert (described["Content"], described["SchemaVersion"]) == ("[]", "2")
    schemas.delete_schema(**schema)
    assert schemas.list_schemas(**registry)["Schemas"] == []
