"""The address guard with the system's own resolver: what numbers it reads as addresses is its own affair."""

import pytest

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0",
        "169.254.43518",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
    ],
)
def test_no_spelling_of_a_private_address_gets_through(host: str) -> None:
    """With the system's own reading of numbers: what connects must be what was checked."""
    with pytest.raises(RefusedAddressError):
        AddressGuard().check(f"https://{host}/")
