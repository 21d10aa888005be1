"""What a prompt mentions as `@id`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

__all__ = ["unknown_mentions"]

_MENTION = re.compile(r"(?<![A-Za-z0-9_\u00c0-\u024f@])@(?=\w)")
"""Not behind Latin characters or digits, as in an e-mail address. Other scripts set no space before it."""


def unknown_mentions(prompt: str, ids: Sequence[str]) -> Iterator[str]:
    """What is wrong with each mention in a prompt that names none of the ids."""
    for mention in _MENTION.finditer(prompt):
        rest = prompt[mention.end() :]
        if not any(_mentions(rest, known) for known in ids):
            word = re.match(r"\w+", rest)
            name = word.group() if word else rest[:20]
            yield f"@{name} names no subject; known ids: {', '.join(ids)}{_spelling(rest, ids)}"


def _mentions(rest: str, known: str) -> bool:
    """Whether a text after an @ begins with this id, and not with a longer word: `@10` does not mention `1`."""
    after = rest[len(known) : len(known) + 1]
    joined = known[-1].isascii() and known[-1].isalnum() and after.isascii() and (after.isalnum() or after == "_")
    return rest.startswith(known) and not joined


def _spelling(rest: str, ids: Sequence[str]) -> str:
    """What to add where a mention and an id look the same: é is one character (NFC) or e with an accent (NFD)."""
    for known in ids:
        if _mentions(unicodedata.normalize("NFC", rest), unicodedata.normalize("NFC", known)):
            return f". {known} looks the same but has other characters (Unicode NFC and NFD): write both in NFC"
    return ""
