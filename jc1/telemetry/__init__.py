"""Telemetry: finished traces go to a ring of recent ones and to Prometheus.

Knows where a finished request is recorded. Knows nothing about how requests run or how figures are fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from jc1.telemetry.recent import RecentTraces
from jc1.trace import Trace

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from jc1.access.admission import Admission
    from jc1.cache.base import Cache
    from jc1.telemetry.metrics import Metrics

__all__ = ["RecentTraces", "Telemetry"]


class Telemetry:
    """What is known about requests, running and finished.

    `keep` is how many finished traces stay in `recent`; `cache` is one whose figures are shown too.
    """

    def __init__(self, *, keep: int = 500, cache: Cache | None = None) -> None:
        self.recent = RecentTraces(keep)
        self._cache = cache
        self.admission: Admission | None = None
        """Whose figures are shown too, set before `metrics` is first used."""

    @cached_property
    def metrics(self) -> Metrics:
        """Return the Prometheus figures, made at first use: the library is not needed to import JC1."""
        from jc1.telemetry.metrics import Metrics

        return Metrics(self._cache, self.admission)

    @property
    def registry(self) -> CollectorRegistry:
        """Return the figures as Prometheus reads them: of this `Telemetry` alone, not the default registry."""
        return self.metrics.registry

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count the body as a request under way."""
        gauge = self.metrics.in_flight
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def finish(self, trace: Trace) -> None:
        """Record a request that ends now; leave one that was finished before as it is."""
        if trace.total is None:
            trace.total = trace.elapsed()
            self.record(trace)

    def count_error(self, code: str) -> None:
        """Count an answer that is an error."""
        self.metrics.http_errors.labels(code).inc()

    def record(self, trace: Trace) -> None:
        """Keep a finished request, also a failed or cancelled one."""
        self.recent.add(trace)
        self.metrics.observe(trace)
