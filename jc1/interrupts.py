"""Ctrl-C while a command loads: the process ends at once and quietly, whatever it is doing.

An import or a load that is interrupted by an exception may swallow it, or make another error of it, and a thread that
loads a model cannot be interrupted at all. Nothing needs an orderly end then: what was stored is stored, and processes
of engines end with the one that started them. Knows nothing about commands.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 + SIGINT, as a shell reports it."""
END_SECONDS = 1.5
"""How long an orderly end may take for which somebody waits at a terminal."""
STDERR = 2
"""A file descriptor."""


def end(*_: object) -> NoReturn:
    """End the process: the interpreter would wait for threads that load, and report what they can do no more."""
    with suppress(OSError, RuntimeError, ValueError):  # a stream that is closed, or in the middle of being written
        sys.stdout.flush()
    os._exit(INTERRUPTED)


@contextmanager
def at_once() -> Iterator[None]:
    """Let Ctrl-C end the process while the body runs."""
    with _handled(end):
        yield


@contextmanager
def as_usual() -> Iterator[None]:
    """Let Ctrl-C be a `KeyboardInterrupt` while the body runs, within `at_once`."""
    with _handled(signal.default_int_handler):
        yield


@contextmanager
def soon(farewell: str) -> Iterator[None]:
    """Let Ctrl-C be a `KeyboardInterrupt` in the body, which has `END_SECONDS` to end: the process then does.

    `farewell` is told at once, on standard error.
    """

    def interrupt(number: int, frame: Any) -> NoReturn:
        signal.signal(number, end)
        with suppress(OSError):
            os.write(STDERR, f"\n{farewell}\n".encode())  # the stream itself may be in the middle of something
        timer = threading.Timer(END_SECONDS, end)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Handle SIGINT by `handler` in the body; outside of the main thread nobody can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
