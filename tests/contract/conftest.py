"""The simulated provider, for tests that ask how it behaves, and a certificate for this machine."""

import ssl
from collections.abc import Iterator

import pytest

from local.emulator.certificate import Certificate, make_certificate
from local.simulator import Simulator
from vidu_relay.outbound import exchange


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0, callback_retry_seconds=0.02, off_peak_available=True) as simulator:
        yield simulator


@pytest.fixture
def provider(running_simulator: Simulator) -> Simulator:
    """One that has just started, as far as it remembers."""
    running_simulator.reset()
    return running_simulator


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusting(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay knows the authority that signed the test's certificate, as it would a public one."""
    known = ssl.create_default_context(cafile=str(certificate.ca_bundle))
    monkeypatch.setattr(exchange, "_tls", lambda: known)
