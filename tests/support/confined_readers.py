"""Readers that misbehave, for the process that confines them."""

from __future__ import annotations

import os
import signal
import sys
import threading

from jc1.confined import Answer
from jc1.errors import DamagedDocument


def echo(data: bytes, **arguments: object) -> Answer:
    """Return what came in, after some noise on standard output."""
    print("a library prints this")
    return {"arguments": arguments, "size": len(data)}, data


def environment(data: bytes) -> Answer:
    """Return the variables that the process has."""
    return {"names": sorted(os.environ)}, b""


def identify(data: bytes) -> Answer:
    """Return the process's id."""
    return {"process": os.getpid()}, b""


def refuse(data: bytes) -> Answer:
    """Refuse the data by name."""
    raise DamagedDocument("It is torn.")


def break_down(data: bytes) -> Answer:
    """Fail as code does that has a fault."""
    raise RuntimeError(data.decode())


def crash(data: bytes) -> Answer:
    """End as a process does whose decoder writes where it may not."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, b""


def take_memory(data: bytes) -> Answer:
    """Take more memory than there is."""
    return {}, bytes(2**40)


def wait_for_ever(data: bytes) -> Answer:
    """Take no processor time and never end."""
    threading.Event().wait()
    return {}, b""


def spin(data: bytes) -> Answer:
    """Take processor time and never end."""
    while True:
        pass


def flood(data: bytes) -> Answer:
    """Answer with more than anybody asked for."""
    return {}, bytes(1_000_000)


def lie(data: bytes) -> Answer:
    """Answer, as a process may that was taken over, with something else than the wire has."""
    os.write(max(fd for fd in range(3, 20) if _is_pipe(fd)), data)
    sys.stdout.flush()
    os._exit(0)


def write_file(data: bytes) -> Answer:
    """Write a file at the path that came in."""
    try:
        with open(data.decode(), "wb") as file:
            file.write(b"written")
    except OSError as error:
        return {"errno": error.errno}, b""
    return {"errno": 0}, b""


def _is_pipe(descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
    except OSError:
        return False
