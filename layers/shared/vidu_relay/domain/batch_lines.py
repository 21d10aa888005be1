"""The lines of a batch's file, read as a stream: no more than one line is in memory."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from vidu_relay.domain.batch import BATCH_ID
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.strict_json import form_faults, read_json

__all__ = ["MAX_FILE_BYTES", "FirstReading", "Header", "Line", "read_lines"]

MAX_FILE_BYTES = 100_000_000
MAX_LINE_BYTES = 1_000_000
MAX_REQUESTS = 10_000
MAX_LINES = 2 * MAX_REQUESTS
"""With the empty ones."""
MAX_NAME = 128
MAX_ATTEMPT = 1000

_BLANKS = b" \t\r"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Line:
    """A line by its number, and where it begins and ends in the file (bytes, with its line end).

    `content` has no line end and no byte order mark; None for a line of more than `MAX_LINE_BYTES`.
    """

    number: int
    first_byte: int
    end_byte: int
    content: bytes | None

    @property
    def empty(self) -> bool:
        """Whether there are only blanks."""
        return self.content is not None and not self.content.strip(_BLANKS)

    def whole(self) -> bytes:
        """The content. Raises `InvalidRequestError` for a line that is too long."""
        if self.content is None:
            raise InvalidRequestError(
                "line_too_long",
                f"The line has {self.end_byte - self.first_byte} bytes; at most {MAX_LINE_BYTES} are taken. Refer to "
                "images by URL or key instead of embedding them.",
            )
        return self.content


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line may say of the batch: a name, or which batch it submits again, for which time."""

    name: str | None = None
    retry_of: str | None = None
    attempt: int = 1


KNOWN = tuple(field.name for field in fields(Header))


def read_lines(chunks: Iterable[bytes], number: int = 1, first_byte: int = 0) -> Iterator[Line]:
    """The lines of a file from the line `number` on, which begins at `first_byte`: LF or CRLF ends a line.

    A long line is passed over chunk by chunk. The last line needs no end.
    """
    kept, size = bytearray(), 0  # of the line under way

    def line(end: int) -> Line:
        content = bytes(kept) if first_byte else kept.removeprefix(codecs.BOM_UTF8)
        whole = bytes(content.removesuffix(b"\r")) if size <= MAX_LINE_BYTES else None
        return Line(number, first_byte, first_byte + size + end, whole)

    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            size += len(part)
            kept += part if size <= MAX_LINE_BYTES else b""
            found = line(1)
            yield found
            number, first_byte, size = number + 1, found.end_byte, 0
            kept.clear()
        size += len(rest)
        if size <= MAX_LINE_BYTES:
            kept += rest
        else:
            kept.clear()
    if size:
        yield line(0)


class FirstReading:
    """The first reading of a whole file: its header, where the lines after it begin, and how many there are."""

    def __init__(self) -> None:
        self.header = Header()
        self.first_line, self.first_byte = 1, 0
        self.lines = 0
        self.last_line = 0

    def requests(self, chunks: Iterable[bytes]) -> Iterator[Line]:
        """The lines that are not empty, behind the header.

        Raises `InvalidRequestError` for a file with none, with more than `MAX_REQUESTS`, with more than `MAX_LINES`,
        with a bad header, and as `check_text` does.
        """
        for line in read_lines(check_text(chunks)):
            self.last_line = line.number
            if line.number > MAX_LINES:
                raise _too_many(f"{MAX_LINES} lines, with empty ones")
            if line.empty:
                continue
            if not self.lines and not self.first_byte and (header := read_header(line)):
                self.header, self.first_line, self.first_byte = header, line.number + 1, line.end_byte
                continue
            self.lines += 1
            if self.lines > MAX_REQUESTS:
                raise _too_many(f"{MAX_REQUESTS} requests")
            yield line
        if not self.lines:
            raise InvalidRequestError("file_empty", "The file has no request: send one a line.")


def _too_many(most: str) -> InvalidRequestError:
    return InvalidRequestError("too_many_lines", f"The file has more than {most}: send several files.")


def check_text(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks. Raises `InvalidRequestError` for a file that is compressed or not UTF-8."""
    decoder, before = codecs.getincrementaldecoder("utf-8")(), 0
    for chunk in chain(chunks, (b"",)):
        if not before and chunk.startswith(_GZIP):
            raise InvalidRequestError("file_compressed", "The file is compressed with gzip: send it uncompressed.")
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                "file_not_utf8", f"The file is not UTF-8 at about byte {before + error.start}: convert it."
            ) from None
        before += len(chunk)
        yield chunk


def read_header(line: Line) -> Header | None:
    """What the first line says of the batch; None for a line that is a request, or should be one.

    Raises `InvalidRequestError` for a header that says something else besides.
    """
    if line.content is None or b'"batch"' not in line.content:
        return None
    try:
        raw = read_json(line.content)
    except InvalidRequestError:
        return None
    if not isinstance(raw, dict) or "batch" not in raw:
        return None
    faults = tuple(_header_faults(raw))
    if faults:
        raise InvalidRequestError("validation_error", "The file's first line is not valid. See `errors`.", faults)
    return Header(**raw["batch"])


def _header_faults(raw: dict[str, Any]) -> Iterator[Fault]:
    yield from form_faults(raw)
    yield from (Fault(name, "does not belong beside `batch`") for name in raw if name != "batch")
    given = raw["batch"]
    if not isinstance(given, dict):
        yield Fault("batch", 'must be an object, such as {"name": "night of 30 November"}')
        return
    name, retry_of, attempt = given.get("name"), given.get("retry_of"), given.get("attempt", 1)
    yield from (
        Fault(f"batch.{key}", f"unknown field; known are: {', '.join(KNOWN)}") for key in given if key not in KNOWN
    )
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= MAX_NAME and name.isprintable()):
        yield Fault("batch.name", f"must be a text of 1 to {MAX_NAME} printable characters")
    if retry_of is not None and not (isinstance(retry_of, str) and BATCH_ID.fullmatch(retry_of)):
        yield Fault("batch.retry_of", "must be the id of a batch")
    if type(attempt) is not int or not 1 <= attempt <= MAX_ATTEMPT:
        yield Fault("batch.attempt", f"must be a whole number from 1 to {MAX_ATTEMPT}")
