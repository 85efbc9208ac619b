"""The log: what a record looks like, as text or as JSON, and whose request it is about.

Knows how records are written. What is logged, each module says; none logs what was asked or replied, or a key.

While a request is answered, the words of an exception are left out of its traceback: they may quote what was sent, as a
database quotes the values of a statement. Its type and its place remain. Outside of requests the words are written.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from jc1.telemetry.context import current

OWN_LOGGERS = ("jc1", "jc1_api", "jc1_ui", "jc1_lab")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, moves a terminal's cursor, or turns the direction of what is read."""


def log_to_stderr(level: str, form: Literal["text", "json"]) -> None:
    """Log our own records from `level` up, those of libraries from warnings up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """A record is a line, and a traceback the lines below it."""

    def format(self, record: logging.LogRecord) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        ids = "".join(f" {name}={value}" for name, value in _ids().items())
        line = f"{began},{int(record.msecs):03d} {record.levelname} {record.name}:{ids} {one_line(record.getMessage())}"
        return f"{line}\n{told}" if (told := _traceback(record)) else line


class JsonFormatter(logging.Formatter):
    """A record is a line that is a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(),
        }
        if told := _traceback(record):
            fields["traceback"] = told
        return json.dumps(fields)


def one_line(text: str) -> str:
    """Return the text with what would end or disguise its line as escapes, so that nobody can forge a record."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _ids() -> dict[str, str]:
    """Return the ids of the request that is being answered, those that it has."""
    request = current()
    if request is None:
        return {}
    ids = {"request": request.request, "trace": request.trace, "key": request.key}
    return {name: value for name, value in ids.items() if value is not None}


def _traceback(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    whole = _places(error) if current() is not None else traceback.format_exception(error)
    return "\n".join(one_line(line) for line in "".join(whole).splitlines())


def _places(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback without what the exception says, and before it those of what it came from."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _places(cause)
        yield "\nand from that:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}\n"
