"""The ring of recent traces.

Knows the newest finished traces by id, whose they are and which records they name. Reads nothing else of them.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection

from jc1.errors import UnknownTrace
from jc1.trace import Trace


class RecentTraces:
    """The last `keep` finished traces. May be used from any thread.

    The oldest of the owner who has most gives way, so that nobody's requests push another's out.
    """

    def __init__(self, keep: int = 500) -> None:
        self._keep = keep
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._owners: Counter[str] = Counter()
        """How many there are of each owner."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._traces)

    def add(self, trace: Trace) -> None:
        """Keep `trace` as the newest."""
        with self._lock:
            if trace.id in self._traces:
                self._remove(trace)
            self._traces[trace.id] = trace
            self._owners[trace.owner] += 1
            if len(self._traces) > self._keep:
                most = max(self._owners, key=self._owners.__getitem__)
                self._remove(next(old for old in self._traces.values() if old.owner == most))

    def get(self, trace_id: str, owner: str | None = None) -> Trace:
        """Return one trace. With `owner`, another owner's trace is as unknown as none.

        Raises:
            UnknownTrace: It is not among the newest, or another owner's.
        """
        with self._lock:
            trace = self._traces.get(trace_id)
        if trace is None or (owner is not None and trace.owner != owner):
            raise UnknownTrace(trace_id)
        return trace

    def list(self, owner: str | None = None, *, limit: int | None = None) -> tuple[Trace, ...]:
        """Return the traces, newest first; with `owner`, that owner's; at most `limit`."""
        with self._lock:
            traces = [t for t in reversed(self._traces.values()) if owner is None or t.owner == owner]
        return tuple(traces[:limit])

    def drop(self, owner: str, records: Collection[str]) -> None:
        """Drop the owner's traces that name any of these records, by id."""
        with self._lock:
            for trace in [t for t in self._traces.values() if t.owner == owner]:
                named = {item.get(name) for item in trace.recalled for name in ("id", "expanded_from")}
                if not named.isdisjoint(records):
                    self._remove(trace)

    def _remove(self, trace: Trace) -> None:
        del self._traces[trace.id]
        self._owners[trace.owner] -= 1
        if not self._owners[trace.owner]:
            del self._owners[trace.owner]
