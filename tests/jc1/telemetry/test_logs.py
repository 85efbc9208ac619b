"""What a log record looks like, and what of an exception is in it."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from jc1.telemetry.context import Current, answering
from jc1.telemetry.logs import JsonFormatter, TextFormatter

REQUEST = Current("req_1", trace="tr_2", key="0123456789ab")
FORMATTERS = pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    return logging.LogRecord("jc1.x", logging.WARNING, "x.py", 1, message, arguments, sys.exc_info() if error else None)


def test_a_record_of_a_request_names_it_its_trace_and_its_key() -> None:
    with answering(REQUEST):
        text, read = TextFormatter().format(record("%d left", 3)), json.loads(JsonFormatter().format(record("%d", 3)))
    assert re.fullmatch(
        r"[-\d]{10} [:\d]{8},\d{3} WARNING jc1\.x: request=req_1 trace=tr_2 key=0123456789ab 3 left", text
    )
    assert read.pop("time").endswith("+00:00")
    assert read == {
        "level": "warning",
        "logger": "jc1.x",
        "message": "3",
        "request": "req_1",
        "trace": "tr_2",
        "key": "0123456789ab",
    }


def test_a_record_of_no_request_names_none() -> None:
    assert TextFormatter().format(record("Hi.")).endswith("jc1.x: Hi.")
    assert "request" not in json.loads(JsonFormatter().format(record("Hi.")))


@FORMATTERS
@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\x1b[2K", "\u202e", "\x00", "\ud800"])
def test_nothing_that_is_logged_forges_a_record_or_moves_the_cursor(formatter: logging.Formatter, end: str) -> None:
    line = formatter.format(record("no preset %s", f"x{end}2026-12-01 00:00:00,000 INFO jc1: all is well"))
    assert end not in line
    assert len(line.splitlines()) == 1
    line.encode()


WORDS = "hunter2", "my cat\nis Ada"


def failure(formatter: logging.Formatter) -> str:
    try:
        try:
            raise KeyError(WORDS[0])
        except KeyError as error:
            raise RuntimeError(WORDS[1]) from error
    except RuntimeError:
        return formatter.format(record("It broke.", error=True))


@FORMATTERS
def test_within_a_request_an_exception_says_where_and_not_what(formatter: logging.Formatter) -> None:
    with answering(REQUEST):
        told = failure(formatter)
    assert "hunter2" not in told
    assert "my cat" not in told
    assert "builtins.KeyError" in told
    assert "builtins.RuntimeError" in told
    assert "test_logs.py" in told


@FORMATTERS
def test_outside_of_requests_it_says_what(formatter: logging.Formatter) -> None:
    assert "RuntimeError: my cat" in failure(formatter)
