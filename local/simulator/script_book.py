"""Which script a create call runs under, and how often its faults were used.

A client may repeat one request (after a 429, say). Such attempts share a *binding*, so that "429 twice, then fine"
means the same whatever else arrives meanwhile. Attempts belong together if their `callback_url` is equal, or, without
one, their body. A binding ends with an ordinary answer.
"""

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from local.simulator.scripts import Script, ScriptRequest


@dataclass
class Binding:
    """One request's hold on a script; `used` counts the faults it has been given so far."""

    identity: str
    script: Script
    script_id: str | None
    used: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, fault: str, n: int | None) -> bool:
        """True, and counted, if the fault is still to be given (`None`: always)."""
        with self._lock:
            if n is not None and self.used[fault] >= n:
                return False
            self.used[fault] += 1
            return True


@dataclass
class _Entry:
    id: str
    request: ScriptRequest
    left: int | None


def request_identity(params: dict[str, Any], body: bytes) -> str:
    """What attempts of one request have in common."""
    url = params.get("callback_url")
    return url if isinstance(url, str) and url else f"sha256:{hashlib.sha256(body).hexdigest()}"


class ScriptBook:
    """The scripts in the order they were added; the first that matches wins. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._entries: list[_Entry] = []
        self._bindings: dict[str, Binding] = {}

    def add(self, request: ScriptRequest) -> str:
        """Add a script, return its id."""
        with self._lock:
            entry = _Entry(f"script-{next(self._numbers)}", request, request.times)
            self._entries.append(entry)
            return entry.id

    def remove(self, script_id: str) -> bool:
        """Forget a script (tasks that run under it keep it); False if there is none of that id."""
        with self._lock:
            kept = [entry for entry in self._entries if entry.id != script_id]
            found = len(kept) < len(self._entries)
            self._entries = kept
            return found

    def clear(self) -> None:
        """Forget all scripts and bindings."""
        with self._lock:
            self._entries.clear()
            self._bindings.clear()

    def bind(self, params: dict[str, Any], body: bytes) -> Binding:
        """The binding of this attempt: the one its request already has, else a new one that uses up one of `times`."""
        identity = request_identity(params, body)
        with self._lock:
            binding = self._bindings.get(identity)
            if binding is None:
                entry = next((e for e in self._entries if e.left != 0 and e.request.match.accepts(params)), None)
                if entry is None:
                    return Binding(identity, Script(), None)
                if entry.left is not None:
                    entry.left -= 1
                binding = self._bindings[identity] = Binding(identity, entry.request.script, entry.id)
            return binding

    def release(self, binding: Binding) -> None:
        """End a binding: the request got an ordinary answer."""
        with self._lock:
            self._bindings.pop(binding.identity, None)

    def view(self) -> list[dict[str, Any]]:
        """All scripts as JSON, with what is left of their `times`."""
        with self._lock:
            return [
                {
                    "id": entry.id,
                    "match": entry.request.match.model_dump(exclude_none=True),
                    "times": entry.request.times,
                    "left": entry.left,
                    "script": entry.request.script.model_dump(exclude_defaults=True),
                }
                for entry in self._entries
            ]
