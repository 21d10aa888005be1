"""What the emulator is started with."""

from dataclasses import dataclass
from pathlib import Path

MINISTACK_VERSION = "1.5.33"
"""The patches reach into parts of MiniStack that are not its public interface: any other version is refused."""

REGION = "us-east-1"


@dataclass(frozen=True)
class Settings:
    port: int
    """Port on 127.0.0.1 where every service answers."""
    ca_bundle: Path
    """PEM file with the authority that signed the emulator's certificate."""
    function_python: Path
    """Interpreter that has ``awslambdaric`` and nothing else; it runs every Python function."""

    @property
    def endpoint_url(self) -> str:
        return f"https://127.0.0.1:{self.port}"
