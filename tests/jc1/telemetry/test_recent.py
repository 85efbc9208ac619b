"""The ring of recent traces: bounded, newest first, and each owner's own."""

import pytest

from jc1.errors import UnknownTrace
from jc1.telemetry import RecentTraces
from jc1.trace import Trace


def test_the_newest_comes_first_and_the_oldest_gives_way() -> None:
    ring = RecentTraces(keep=3)
    traces = [Trace(owner="ann") for _ in range(5)]
    for trace in traces:
        ring.add(trace)
    assert ring.list() == (traces[4], traces[3], traces[2])
    assert ring.list(limit=1) == (traces[4],)
    assert len(ring) == 3
    assert ring.get(traces[2].id) is traces[2]
    with pytest.raises(UnknownTrace):
        ring.get(traces[1].id)


def test_an_owner_sees_no_trace_of_another() -> None:
    ring = RecentTraces()
    anns, bens = Trace(owner="ann"), Trace(owner="ben")
    ring.add(anns)
    ring.add(bens)
    assert ring.list("ann") == (anns,)
    assert ring.get(anns.id, "ann") is anns
    with pytest.raises(UnknownTrace) as unknown:
        ring.get(bens.id, "ann")
    with pytest.raises(UnknownTrace) as none:
        ring.get("tr_none", "ann")
    assert unknown.value.message.replace(bens.id, "") == none.value.message.replace("tr_none", "")


def test_nobodys_requests_push_anothers_out() -> None:
    ring = RecentTraces(keep=4)
    for owner in ("ann", "ann", *("bob" for _ in range(20))):
        ring.add(Trace(owner=owner))
    assert (len(ring.list("ann")), len(ring.list("bob"))) == (2, 2)
    cleos = Trace(owner="cleo")
    ring.add(cleos)
    ring.add(cleos)
    assert (len(ring), len(ring.list("cleo"))) == (4, 1)


def test_traces_that_name_a_record_are_dropped_and_only_the_owners() -> None:
    ring = RecentTraces()
    recalled, widened, other, bens = (Trace(owner=owner) for owner in ("ann", "ann", "ann", "ben"))
    recalled.recalled = bens.recalled = [{"id": "mem_1", "expanded_from": None}]
    widened.recalled = [{"id": "mem_2", "expanded_from": "mem_1"}]
    other.recalled = [{"id": "mem_3", "expanded_from": None}]
    for trace in (recalled, widened, other, bens):
        ring.add(trace)
    ring.drop("ann", ["mem_1"])
    assert ring.list() == (bens, other)
