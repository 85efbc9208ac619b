"""How a reply and what is logged meanwhile share a terminal."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stderr, redirect_stdout

import pytest

from jc1.cli.chat import Line


def test_what_is_logged_while_a_reply_is_written_comes_below_it() -> None:
    log = logging.getLogger("jc1.remember")
    with redirect_stdout(io.StringIO()) as terminal, redirect_stderr(terminal), Line() as line:
        log.warning("before")
        line.write("hello ")
        log.warning("meanwhile")
        line.write("full")
        line.end()
        log.warning("after")
    assert terminal.getvalue() == "before\nhello full\nmeanwhile\nafter\n"


def break_off() -> None:
    with Line() as line:
        line.write("hel")
        logging.getLogger("jc1").warning("it broke")
        raise RuntimeError


def test_a_reply_that_breaks_off_ends_its_line() -> None:
    with redirect_stdout(io.StringIO()) as terminal, redirect_stderr(terminal), pytest.raises(RuntimeError):
        break_off()
    assert terminal.getvalue() == "hel\nit broke\n"
