"""The latency phase: how long the best trials take, measured side by side on each engine.

Knows which figures are there already and which engine comes first. Knows nothing about how load is put on
(jc1_lab.latency).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from jc1_lab.latency.measure import measure
from jc1_lab.latency.targets import PipelineTarget
from jc1_lab.records.results import Latency

if TYPE_CHECKING:
    from jc1_lab.records.store import SweepStore
    from jc1_lab.sweep.board import TrialState
    from jc1_lab.sweep.snapshot import Engines, Snapshot
    from jc1_lab.sweep.spec import Sweep

WARM_UP = 2
"""Requests before each block that do not count."""


async def time_best(
    sweep: Sweep,
    store: SweepStore,
    engines: Engines,
    snapshot: Snapshot,
    members: Sequence[TrialState],
    *,
    on_begin: Callable[[int], None],
    on_block: Callable[[], None],
    note: Callable[[str], None],
) -> dict[int, list[Latency]]:
    """Return the latencies of the members by trial, interleaved on each engine; the one that runs comes first.

    Those that were measured in the same way before are taken from the store. `on_begin` is told how many blocks there
    are to measure, `on_block` of each that is done, and `note` what a reader of the figures has to know.
    """
    how = {
        "loads": [load.model_dump() for load in sweep.loads],
        "requests": sweep.requests,
        "blocks": sweep.blocks,
        "objective": sweep.objective and asdict(sweep.objective),
    }
    before = store.get("latency") or {}
    stored = before["trials"] if before.get("timing") == how else {}
    by_engine: dict[str, list[TrialState]] = {}
    for trial in members:
        if sweep.loads and str(trial.number) not in stored:
            by_engine.setdefault(trial.engine, []).append(trial)
    if sweep.loads and len({trial.engine for trial in members}) > 1:
        note("Latencies of different engine settings were measured one engine after the other.")
    snapshot.memory.search_anew()
    on_begin(len(sweep.loads) * sweep.blocks * sum(map(len, by_engine.values())))
    for trials in sorted(by_engine.values(), key=lambda trials: trials[0].engine != engines.key):
        workbench = await engines.running(trials[0].settings.engine)
        if workbench.settings.base_url and not await workbench.engine.forget_prefixes():
            note(
                "The prefix cache of a server cannot be emptied over its API: whoever came first in a round read the "
                "prompts for the others."
            )
        target = PipelineTarget(workbench, lambda item: snapshot.owner_of(item.owner))
        timed = await measure(
            {trial.number: (target, trial.settings.preset(f"trial-{trial.number}")) for trial in trials},
            (*sweep.items, *sweep.heldout),
            sweep.loads,
            requests=sweep.requests,
            blocks=sweep.blocks,
            warm_up=WARM_UP,
            objective=sweep.objective,
            seed=sweep.seed,
            on_block=lambda _: on_block(),
        )
        stored |= {
            str(number): [one.model_dump(mode="json") for one in latencies] for number, latencies in timed.items()
        }
        store.put("latency", {"timing": how, "trials": stored})
    return {
        trial.number: [Latency.model_validate(one) for one in stored.get(str(trial.number), [])] for trial in members
    }
