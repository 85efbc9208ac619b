"""A process of its own for each file: what goes in and out, what it may not have, and how it ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jc1.confined import _SPARES, Reader
from jc1.errors import DamagedDocument, RequestTooLarge

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process find the readers of these tests."""
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


def reader(function: str, **limits: Any) -> Reader:
    return Reader(
        f"tests.support.confined_readers:{function}",
        noun="thing",
        advice="send less",
        damaged=DamagedDocument,
        errors=(DamagedDocument,),
        **limits,
    )


def test_bytes_and_keywords_go_in_and_come_out_as_they_are() -> None:
    data = bytes(range(256)) * 1000
    assert reader("echo")(data, rate=16_000, name="日本\n") == (
        {"arguments": {"rate": 16_000, "name": "日本\n"}, "size": len(data)},
        data,
    )


def test_the_process_has_none_of_the_secrets_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JC1_API_KEY", "sk-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    fields, _ = reader("environment")(b"")
    assert not [name for name in fields["names"] if name.startswith(("JC1", "AWS"))]


def test_it_writes_no_file(tmp_path: Path) -> None:
    fields, _ = reader("write_file")(str(tmp_path / "a").encode())
    assert fields["errno"] == errno.EFBIG
    assert (tmp_path / "a").stat().st_size == 0


def test_an_error_of_the_tree_comes_back_as_itself() -> None:
    with pytest.raises(DamagedDocument, match=r"^It is torn\.$"):
        reader("refuse")(b"")


@pytest.mark.parametrize("function", ["break_down", "crash"])
def test_what_breaks_ends_its_process_alone_and_its_text_reaches_nobody(
    function: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DamagedDocument, match=r"^The thing cannot be read: repair it\.$"):
        reader(function)(b"what the file says")
    assert "what the file says" not in caplog.text


@pytest.mark.parametrize("answer", [b"", b"[]\n", b"{\n", b'{"error": "storage_full", "message": ""}\n', b"\xff\n"])
def test_a_process_that_was_taken_over_says_nothing_that_is_believed(answer: bytes) -> None:
    with pytest.raises(DamagedDocument, match="cannot be read"):
        reader("lie")(answer)


def test_what_takes_too_much_memory_ends() -> None:
    with pytest.raises(RequestTooLarge, match="memory to read: send less"):
        reader("take_memory")(b"")


@pytest.mark.parametrize("function", ["wait_for_ever", "spin"])
def test_what_takes_too_long_ends(function: str) -> None:
    with pytest.raises(RequestTooLarge, match="takes longer than 1 s to read: send less"):
        reader(function, seconds=1.0)(b"")


def test_what_answers_too_much_ends() -> None:
    with pytest.raises(RequestTooLarge, match="more than can be handed on"):
        reader("flood", answer_bytes=1000)(b"")


def test_much_that_is_sent_to_a_process_which_reads_nothing_is_no_deadlock() -> None:
    with pytest.raises(DamagedDocument):
        Reader("no.such.module:read", noun="thing", advice="send less", damaged=DamagedDocument, errors=())(
            bytes(10_000_000)
        )


def test_a_process_that_was_started_ahead_serves_one_call_and_the_next_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jc1.confined.SUCCESSOR_SECONDS", 0.0)
    own = reader("identify", seconds=99.0)  # a command of its own
    own.prepare()
    waiting = _SPARES._waiting[own._command()].pid
    own.prepare()
    first, second = (own(b"")[0]["process"] for _ in range(2))
    assert waiting == first != second


def test_a_process_that_died_while_it_waited_is_replaced() -> None:
    own = reader("identify", seconds=98.0)
    own.prepare()
    spare = _SPARES._waiting[own._command()]
    spare.kill()
    spare.wait()
    assert own(b"")[0]["process"] != spare.pid
