"""The ring of recent traces.

Knows the newest finished traces by id and whose they are. Knows nothing about what is in them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from jc1.errors import UnknownTrace
from jc1.trace import Trace


class RecentTraces:
    """The last `keep` finished traces; the oldest gives way. May be used from any thread."""

    def __init__(self, keep: int = 500) -> None:
        self._keep = keep
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._traces)

    def add(self, trace: Trace) -> None:
        """Keep `trace` as the newest."""
        with self._lock:
            self._traces[trace.id] = trace
            self._traces.move_to_end(trace.id)
            while len(self._traces) > self._keep:
                self._traces.popitem(last=False)

    def get(self, trace_id: str, owner: str | None = None) -> Trace:
        """One trace. With `owner`, another owner's trace is as unknown as none.

        Raises `UnknownTrace`.
        """
        with self._lock:
            trace = self._traces.get(trace_id)
        if trace is None or (owner is not None and trace.owner != owner):
            raise UnknownTrace(trace_id)
        return trace

    def list(self, owner: str | None = None, *, limit: int | None = None) -> tuple[Trace, ...]:
        """The traces, newest first; with `owner`, that owner's; at most `limit`."""
        with self._lock:
            traces = [t for t in reversed(self._traces.values()) if owner is None or t.owner == owner]
        return tuple(traces[:limit])
