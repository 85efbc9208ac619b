"""Functions that read what strangers sent, each call in a process of its own: what a file breaks there breaks alone.

Knows the process's limits, its environment and the wire. Knows no format: `jc1.documents.confined` reads documents
with it, `jc1.speech.decode` recordings. A file that was made to exhaust or to take over its reader has a process that
holds no secret, writes no file and ends when it takes too long, too much memory or says too much.

A process takes a third of a second to start, and serves one file: where a person waits, one is started ahead.

The wire, on standard input and on standard output alike: one line of JSON, then bytes.
"""

from __future__ import annotations

import atexit
import importlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from jc1.errors import InvalidRequest, RequestTooLarge

log = logging.getLogger(__name__)

ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""The variables that the process is handed: what Python needs to start, and none that could hold a secret."""
ANSWER_BYTES = 2**28
"""Most bytes that are taken from it."""

SUCCESSOR_SECONDS = 1.0
"""When after a process was put to use the next one is started ahead."""

Answer = tuple[dict[str, Any], bytes]
"""What a confined function returns: fields that JSON can say, and bytes."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A function that is run confined, and how what goes wrong there is reported.

    Attributes:
        function: `module:name` of a function that takes the bytes and keywords, and returns an `Answer`. It is imported
            in the process, with the packages that the module names in `CONFINED_IMPORTS`, and is never a stranger's
            choice.
        noun: What it reads, in the words of an error.
        advice: What to do about one that takes too much, in the words of an error.
        damaged: The error where the process breaks.
        errors: The errors that the function raises; `RequestTooLarge` besides.
        seconds: Seconds that the process may run; the same of processor time.
        memory_bytes: Bytes of address space that it may take.
        answer_bytes: Bytes that it may answer with.
    """

    function: str
    noun: str
    advice: str
    damaged: type[InvalidRequest]
    errors: tuple[type[InvalidRequest], ...]
    seconds: float = 120.0
    memory_bytes: int = 2**30
    answer_bytes: int = ANSWER_BYTES

    def prepare(self) -> None:
        """Start the process of the next call ahead; each call starts the next then. Does nothing where one waits."""
        _SPARES.prepare(self._command())

    def __call__(self, data: bytes, **arguments: Any) -> Answer:
        """Return what the function returns for `data` and keywords that JSON can say. Blocks.

        Raises one of `errors`; `damaged` where the process breaks; `RequestTooLarge` where it takes longer, more memory
        or more words than it may.
        """
        status, answer = self._run(data, arguments)
        # 1) Stopped by this process, or by the system: too much
        if status == "late" or status == -signal.SIGXCPU:
            raise RequestTooLarge(f"The {self.noun} takes longer than {self.seconds:.0f} s to read: {self.advice}.")
        if len(answer) > self.answer_bytes:
            raise RequestTooLarge(f"The {self.noun} holds more than can be handed on: {self.advice}.")
        if status == -signal.SIGKILL:  # the system had no memory left
            raise _too_much_memory(self.noun, self.advice)
        # 2) Broken
        if status:
            log.error("The reader of a %s ended with status %s.", self.noun, status)
            raise self._unreadable()
        # 3) An answer, or an error by its code. A process that was taken over may say anything.
        head, _, body = answer.partition(b"\n")
        errors: tuple[type[InvalidRequest], ...] = (*self.errors, RequestTooLarge)
        known = {error.code: error for error in errors}
        with suppress(ValueError):
            match json.loads(head):
                case {"error": str(code), "message": str(message)} if code in known:
                    raise known[code](message, param="file")
                case {"error": None, **fields}:
                    return {str(name): value for name, value in fields.items()}, body
        log.error("The reader of a %s answered nothing that can be read.", self.noun)
        raise self._unreadable()

    def _unreadable(self) -> InvalidRequest:
        return self.damaged(f"The {self.noun} cannot be read: repair it.", param="file")

    def _run(self, data: bytes, arguments: Mapping[str, Any]) -> tuple[int | str, bytes]:
        """Run the process; return its exit status, `late` where its time was up, and what it answered."""
        head = {"size": len(data), "noun": self.noun, "advice": self.advice, "arguments": arguments}
        late = threading.Event()
        with _SPARES.take(self._command()) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def expire() -> None:
                late.set()
                process.kill()

            writer = threading.Thread(target=_write, args=(process.stdin, json.dumps(head).encode() + b"\n", data))
            timer = threading.Timer(self.seconds, expire)
            writer.start()
            timer.start()
            try:
                answer = process.stdout.read(self.answer_bytes + 1)
                if len(answer) > self.answer_bytes:
                    process.kill()
                status = process.wait()
            finally:
                timer.cancel()
                process.kill()  # where this thread was interrupted; nothing where it has ended
                writer.join()
        return "late" if late.is_set() else status, answer

    def _command(self) -> tuple[str, ...]:
        # -P: a file in the working folder is not taken for a module. -B: nothing is written.
        limits = (str(self.memory_bytes), str(int(self.seconds) + 1))
        return (sys.executable, "-P", "-B", "-m", "jc1.confined", self.function, *limits)


class _Spares:
    """Processes that were started ahead and wait for their file: one for each command that was prepared."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)

    def prepare(self, command: tuple[str, ...]) -> None:
        """Start a process, unless one waits that is alive."""
        with self._lock:
            spare = self._waiting.get(command)
            if spare is None or spare.poll() is not None:
                self._waiting[command] = _start(command)

    def take(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Return a process of this command: the one that waits, whose place another takes, or a new one."""
        with self._lock:
            spare = self._waiting.pop(command, None)
        if spare is None:
            return _start(command)
        # Not at once: it would take the processor from the one that has a file to read now.
        successor = threading.Timer(SUCCESSOR_SECONDS, self.prepare, [command])
        successor.daemon = True
        successor.start()
        if spare.poll() is None:
            return spare
        _end(spare)
        return _start(command)

    def close(self) -> None:
        """End those that wait."""
        with self._lock:
            for spare in self._waiting.values():
                _end(spare)
            self._waiting.clear()


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes its pipes
        process.kill()


_SPARES = _Spares()


def _write(pipe: IO[bytes], *pieces: bytes) -> None:
    """Write what the process is to read. One that ends before it has read all is judged by its status."""
    with suppress(BrokenPipeError):
        for piece in pieces:
            pipe.write(piece)
        pipe.close()


def _environment() -> dict[str, str]:
    """Return the process's environment. Numeric libraries get one thread: each thread's stack counts as memory."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Run the process, whose arguments are the function, and the bytes and seconds that it may take."""
    function, memory_bytes, seconds = sys.argv[1:]
    # What a library prints goes nowhere: standard output is the wire's alone.
    wire = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit(int(memory_bytes), int(seconds))
    # Before the file is there: a process that was started ahead has then done what takes long.
    module_name, _, name = function.partition(":")
    module = importlib.import_module(module_name)
    for package in getattr(module, "CONFINED_IMPORTS", ()):
        importlib.import_module(package)
    head = json.loads(sys.stdin.buffer.readline() or b"null")
    data = sys.stdin.buffer.read()
    if head is None or len(data) < head["size"]:
        return  # who asked is gone
    body = b""
    try:
        fields, body = getattr(module, name)(data, **head["arguments"])
        line = {"error": None, **fields}
    except MemoryError:
        error: InvalidRequest = _too_much_memory(head["noun"], head["advice"])
        line = {"error": error.code, "message": error.message}
    except InvalidRequest as refusal:
        line = {"error": refusal.code, "message": refusal.message}
    with wire:
        wire.write(json.dumps(line).encode() + b"\n")
        wire.write(body)


def _limit(memory_bytes: int, seconds: int) -> None:
    """Bound this process for good: address space, processor time, no file written, no memory dumped."""
    limits = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        # At the hard limit the system kills, as it does where there is no memory; a second earlier it says why.
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }
    for name, (soft, hard) in limits.items():
        _, most = resource.getrlimit(name)
        resource.setrlimit(name, (_least(soft, most), _least(hard, most)))


def _least(wanted: int, most: int) -> int:
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


def _too_much_memory(noun: str, advice: str) -> RequestTooLarge:
    return RequestTooLarge(f"The {noun} takes too much memory to read: {advice}.")


if __name__ == "__main__":
    main()
