"""Our reading and writing of DynamoDB's attribute values is boto3's."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.attribute_values import from_attribute, to_attribute

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.binary()
    | st.integers(-(10**38) + 1, 10**38 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_value_is_written_as_boto3_writes_it_and_comes_back(value: Any) -> None:
    attribute = to_attribute(value)
    assert attribute == TypeSerializer().serialize(value)
    assert from_attribute(attribute) == value == _plain(TypeDeserializer().deserialize(attribute))


def test_numbers_come_back_exact() -> None:
    assert isinstance(from_attribute({"N": "0.1"}), Decimal)


@pytest.mark.parametrize("value", [0.1, {"a"}, object()])
def test_what_dynamodb_would_change_or_refuse_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        to_attribute([value])


def test_a_type_no_task_has_is_not_read() -> None:
    with pytest.raises(TypeError):
        from_attribute({"SS": ["a"]})


def _plain(value: Any) -> Any:
    if isinstance(value, Binary):
        return value.value  # type: ignore[attr-defined]  # missing in the stubs
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value
