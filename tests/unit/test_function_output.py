"""The log of an invocation is whole when the invocation has ended."""

import os
import queue
import threading

from local.emulator.function_output import FunctionOutput


def all_of(lines: "queue.Queue[str]") -> list[str]:
    return [lines.get_nowait() for _ in range(lines.qsize())]


def test_written_lines_are_taken_without_a_pump() -> None:
    reader, writer = os.pipe()
    lines: queue.Queue[str] = queue.Queue()
    output = FunctionOutput(os.fdopen(reader, "rb"), lines)
    os.write(writer, b"one\r\ntwo \xff\nbeg")
    output.take()
    assert all_of(lines) == ["one", "two \ufffd"]
    os.write(writer, b"un\n")
    output.take()
    assert all_of(lines) == ["begun"]
    output.take()
    assert all_of(lines) == []
    os.write(writer, b"last")
    os.close(writer)
    output.pump()
    assert all_of(lines) == ["last"]
    assert output.stream.closed


def test_pump_and_take_at_once_lose_nothing_and_keep_the_order() -> None:
    reader, writer = os.pipe()
    lines: queue.Queue[str] = queue.Queue()
    output = FunctionOutput(os.fdopen(reader, "rb"), lines)
    pump = threading.Thread(target=output.pump)
    pump.start()
    found: list[str] = []
    for number in range(2000):
        os.write(writer, f"{number}\n".encode())
        output.take()
        found += all_of(lines)
        assert len(found) == number + 1
    os.close(writer)
    pump.join()
    assert found == [str(number) for number in range(2000)]


def test_oldest_line_is_dropped_where_no_reader_takes_lines() -> None:
    reader, writer = os.pipe()
    lines: queue.Queue[str] = queue.Queue(maxsize=2)
    output = FunctionOutput(os.fdopen(reader, "rb"), lines)
    os.write(writer, b"1\n2\n3\n")
    os.close(writer)
    output.pump()
    assert all_of(lines) == ["2", "3"]
