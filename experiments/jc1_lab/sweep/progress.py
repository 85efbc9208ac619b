"""A bar for long work, on standard error: how far it is and when it will be done.

It is called with a phase and two counts; their unit is the caller's.
"""

from __future__ import annotations

from typing import Any, Self

from tqdm import tqdm

WORDS = {
    "memory": "copying memory",
    "search": "searching",
    "heldout": "evaluating the winner",
    "latency": "timing the best",
}
"""What each phase of a sweep is called beside its bar."""


class Bar:
    """One bar a phase, the next below it. Call it with phase, how much is done and how much there is."""

    def __init__(self) -> None:
        self._phase = ""
        self._bar: Any = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase != self._phase:
            self.close()
            self._phase = phase
            # What was done earlier does not count in the pace.
            self._bar = tqdm(desc=WORDS.get(phase, phase), total=total, initial=done, unit="", dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
