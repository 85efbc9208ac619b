"""Carrying out a sweep: from the first request to its result.

Knows the order of the phases and what of them is done already. How requests are made, settings proposed, trials held
against each other and latencies measured is each a file of its own; whoever is to be told of the sweep is handed in.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from jc1.errors import Conflict, EngineUnavailable, InvalidRequest, InvalidSettings, Jc1Error
from jc1_lab import statistics
from jc1_lab.records.evals import Asked, Split
from jc1_lab.records.results import SweepResult, Trial, Verified
from jc1_lab.records.store import FILE, SweepStore
from jc1_lab.spaces.search import STRATEGIES, create_search, shares
from jc1_lab.sweep import analysis, outcome
from jc1_lab.sweep.board import TrialBoard, TrialState
from jc1_lab.sweep.evaluation import EvalRequest, extra, run_requests, seed_of
from jc1_lab.sweep.snapshot import Engines, Snapshot
from jc1_lab.sweep.timing import time_best

if TYPE_CHECKING:
    from jc1.trace import Trace
    from jc1.workbench import Workbench
    from jc1_lab.records.items import Item
    from jc1_lab.records.trials import TrialSettings
    from jc1_lab.sweep.plan import Plan
    from jc1_lab.sweep.spec import Sweep

T = TypeVar("T")
log = logging.getLogger(__name__)

TRACES = 100
"""Trials of which the trace of a request is kept at most."""

Progress = Callable[[str, int, int], None]
"""Told of each step forward: the phase, how much of it is done, how much there is."""


class Sink(Protocol):
    """A place where a sweep is reported, beside the store in which it is kept."""

    def begin(self, plan: Plan, created: str, store: SweepStore) -> str:
        """Note that the sweep begins or goes on; return the id under which it is found there, empty for none."""

    def fail(self, status: Literal["KILLED", "FAILED"]) -> None:
        """Note that it ended early."""

    def finish(self, result: SweepResult, store: SweepStore) -> None:
        """Note its result. That of a sweep that was finished before may come again."""


async def run(sweep: Sweep, *, resume: bool, progress: Progress, sinks: Sequence[Sink] = ()) -> SweepResult:
    """Do what of the sweep is not done yet, and return its result.

    Raises:
        Conflict: The name is taken, the plan is another one, or another process runs this sweep.
    """
    sweep.settings.prepare_home()
    if resume and not (sweep.folder / FILE).exists():
        raise Conflict(f"There is no sweep {sweep.name!r} to resume: leave out --resume to begin it.", param="name")
    with SweepStore(sweep.folder) as store:
        created = _begin(sweep, store, resume=resume)
        references = [await asyncio.to_thread(sink.begin, sweep.plan, created, store) for sink in sinks]
        try:
            measured = await Run(sweep, store, progress).measure()
            result = outcome.result_of(measured, sweep, store, created, next(filter(None, references), ""))
            for sink in sinks:
                await asyncio.to_thread(sink.finish, result, store)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
            _tell_failed(sinks, "KILLED" if interrupted else "FAILED")
            raise
    return result


def _begin(sweep: Sweep, store: SweepStore, *, resume: bool) -> str:
    """Keep the plan, or hold it against the one that is kept; return when the sweep was begun, in ISO 8601."""
    stored = store.get("plan")
    if stored is None:
        items = (*sweep.items, *sweep.heldout)
        store.put_prompts({item.id: Asked(item.messages[-1].text, item.references) for item in items})
        created = datetime.now(UTC).isoformat(timespec="seconds")
        store.put("plan", {"created": created, "plan": sweep.plan.model_dump(mode="json")})
        return created
    if not resume:
        raise Conflict(
            f"There is a sweep {sweep.name!r}: continue it with --resume, or choose another --name.", param="name"
        )
    fixed = sweep.plan.fixed_on_resume()
    if changed := [name for name in fixed if stored["plan"].get(name) != fixed[name]]:
        raise Conflict(
            f"The sweep {sweep.name!r} was begun with another {', '.join(changed)}: resume it with what it had "
            "then, or choose another --name.",
            param="name",
        )
    return str(stored["created"])


def _tell_failed(sinks: Sequence[Sink], status: Literal["KILLED", "FAILED"]) -> None:
    for sink in sinks:
        try:
            sink.fail(status)
        except Jc1Error as error:
            log.warning("it could not be noted that the sweep ended early: %s", error.message)


class Run:
    """One run of a sweep, from the first record to the last latency."""

    def __init__(self, sweep: Sweep, store: SweepStore, progress: Progress) -> None:
        self.sweep = sweep
        self.store = store
        self.progress = progress
        self.board = TrialBoard(sweep, store)
        self.notes: list[str] = []
        self.seconds: dict[str, float] = store.get("seconds") or {}
        self.model = ""
        """What a server says that it serves, where one answers."""
        self.done = self.total = 0
        self.worked = 0
        """Records and blocks that this process added."""

    async def measure(self) -> outcome.Measured:
        """Do the phases, each as far as it is not done yet."""
        async with AsyncExitStack() as stack:
            # 1) What memory holds now, which no trial changes
            self.snapshot = await asyncio.to_thread(self._snapshot)
            stack.push_async_callback(asyncio.to_thread, self.snapshot.close)
            self.engines = Engines(self.snapshot, self.sweep.settings)
            stack.push_async_callback(self.engines.close)
            # 2) Every trial on the prompts of the search
            await self._timed("search", self._search())
            trials = self.board.results()
            winner = self.board.winner(trials)
            # 3) The winner and the baseline on the prompts held out from it
            verified = await self._timed("heldout", self._verify(trials, winner))
            # 4) How long the best of them take
            trials = await self._timed("latency", self._latency(trials, winner))
        return outcome.Measured(
            trials=trials,
            winner=winner,
            verified=verified,
            memory=self.snapshot.digest,
            model=self.model,
            engine_starts=self.engines.starts,
            seconds=self.seconds,
            notes=self.notes,
            anew=self.worked > 0,
        )

    def _snapshot(self) -> Snapshot:
        sweep = self.sweep
        return Snapshot(
            self.store,
            sweep.suite,
            sweep.settings,
            owner=sweep.owner,
            progress=lambda done, total: self.progress("memory", done, total),
        )

    async def _timed(self, phase: str, work: Awaitable[T]) -> T:
        """Return the result of `work`, its time added to the phase's unless there was nothing to do."""
        began, before = time.perf_counter(), self.worked
        try:
            return await work
        finally:
            if self.worked > before:
                self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.perf_counter() - began, 3)
                self.store.put("seconds", self.seconds)

    def _step(self, phase: str) -> None:
        self.done += 1
        self.worked += 1
        self.progress(phase, self.done, self.total)

    # the search

    async def _search(self) -> None:
        """Measure every trial on the prompts of the search, engine by engine."""
        sweep = self.sweep
        self.total = sweep.plan.requests
        self.done = sum(record.split == "search" for record in self.store)
        self.progress("search", self.done, self.total)
        searched = [group for group in sweep.groups if group.varied is not None]
        points = [sweep.space.points(group.varied) for group in searched]
        parts = iter(shares(sweep.trials, [None if listed is None else len(listed) for listed in points]))
        batch = STRATEGIES[sweep.kind].batch or max(sweep.trials or 0, sweep.space.size or 0)
        for i, group in enumerate(sweep.groups):
            # 1) Start the engine; the first one is the baseline's
            workbench, reason = await self._started(group.engine, needed=i == 0)
            trials = []
            # 2) The baseline, which is asked together with the first points
            if workbench is not None and i == 0:
                if workbench.settings.base_url:
                    self.model = workbench.engine.model
                self._check(workbench, sweep.baseline)
                trials.append(self.board.add(sweep.baseline))
            # 3) The points that this engine serves, batch by batch
            if group.varied is not None:
                search = create_search(
                    sweep.space,
                    sweep.kind,
                    trials=next(parts),
                    seed=sweep.seed + i,
                    engine=group.varied,
                )
                while proposed := search.ask(batch):
                    added = [self.board.add(sweep.space.settings(point)) for point in proposed]
                    trials += self._servable(workbench, added, reason)
                    if workbench is not None:
                        await self._race(workbench, [*{trial.number: trial for trial in trials}.values()])
                    search.tell(proposed, [self.board.objectives(trial) for trial in added])
                    trials = []
            # 4) Where there was no point, the baseline alone
            if workbench is not None and trials:
                await self._race(workbench, trials)

    async def _started(self, engine: Mapping[str, Any], *, needed: bool) -> tuple[Workbench | None, str]:
        """Return the workbench with these engine settings, or why it could not be started, which is raised where it is
        `needed`: without the baseline there is nothing to compare with."""
        try:
            return await self.engines.running(engine), ""
        except (EngineUnavailable, InvalidSettings) as error:
            if needed:
                raise
            log.warning("no trial with %s: %s", dict(engine), error.message)
            return None, error.message

    def _servable(
        self, workbench: Workbench | None, trials: Sequence[TrialState], reason: str = ""
    ) -> list[TrialState]:
        """Return those that the engine can carry out; for the others note why not: where it did not start, `reason`."""
        for trial in trials:
            try:
                if workbench is None:
                    raise InvalidRequest(reason)
                self._check(workbench, trial.settings)
            except InvalidRequest as error:
                trial.state, trial.reason = "refused", error.message
        return [trial for trial in trials if trial.state == "measured"]

    def _check(self, workbench: Workbench, settings: TrialSettings) -> None:
        """Raise what a request with these settings would raise."""
        preset = settings.preset("trial")
        workbench.resolve(preset, decoding=extra(preset, self.sweep.scoring))

    async def _race(self, workbench: Workbench, trials: Sequence[TrialState]) -> None:
        """Ask the trials all prompts; where racing is on, those that stay behind for sure do not see the end."""
        items, most = self.sweep.items, self.sweep.plan.trials
        rungs = statistics.interim_looks(len(items), trials=most) if self.sweep.races(len(trials)) else []
        for rung in (*rungs, len(items)):
            running = [trial for trial in trials if trial.state == "measured"]
            await self._answer(workbench, running, items[:rung], "search")
            for trial in running:
                trial.prompts = rung
            if rung < len(items):
                self.total -= self.board.prune(running, items[:rung])

    async def _answer(
        self, workbench: Workbench, trials: Sequence[TrialState], items: Sequence[Item], split: Split
    ) -> None:
        """Ask the trials these prompts, as far as there are no records of it."""
        seeded = "seed" in workbench.engine.capabilities.decoding
        requests = []
        for trial in trials:
            preset = trial.settings.preset(f"trial-{trial.number}")
            drawn = seeded and trial.settings.samples
            requests += [
                EvalRequest(
                    trial=trial.number,
                    split=split,
                    item=item,
                    repeat=repeat,
                    seed=seed_of(self.sweep.seed, split, item.id, repeat) if drawn else None,
                    preset=preset,
                    owner=self.snapshot.owner_of(item.owner),
                )
                for item in items
                for repeat in range(trial.repeats)
            ]
        await run_requests(
            workbench,
            requests,
            self.store,
            scoring=self.sweep.scoring,
            on_record=lambda _: self._step(split),
            on_trace=self._sample,
        )

    def _sample(self, request: EvalRequest, trace: Trace, text: str) -> None:
        """Keep the trace of one request of each trial, of one prompt after the other."""
        # No trial is stopped before these.
        early = self.sweep.items[: math.ceil(statistics.INTERIM_LOOKS[0] * len(self.sweep.items))]
        chosen = early[request.trial % len(early)]
        if request.trial >= TRACES or (request.split, request.item.id, request.repeat) != ("search", chosen.id, 0):
            return
        about = {"trial": request.trial, "item": chosen.id, "prompt": chosen.messages[-1].text, "text": text}
        self.store.add_trace(request.trial, {**trace.to_dict(), **about})

    # the winner

    async def _verify(self, results: Sequence[Trial], winner: int | None) -> Verified | None:
        """Ask the winner and the baseline prompts that the search did not see, with seeds of their own."""
        heldout, (metric, direction) = self.sweep.heldout, self.sweep.primary
        if winner is None or not heldout:
            return None
        trials = [self.board.trials[0], self.board.trials[winner]]
        self.done = sum(record.split == "heldout" for record in self.store)
        self.total = sum(trial.repeats for trial in trials) * len(heldout)
        for trial in sorted(trials, key=lambda trial: trial.engine != self.engines.key):
            await self._answer(await self.engines.running(trial.settings.engine), [trial], heldout, "heldout")
        means = {trial.number: self.board.means(trial, "heldout", heldout) for trial in trials}
        shared, values = analysis.matched(means, metric, heldout)
        if not shared:
            return None
        compared = statistics.compare_all(
            {winner: values[winner]}, values[0], direction=direction, seed=self.sweep.seed
        )
        return Verified(
            trial=winner,
            search=results[winner].metrics[metric],
            heldout=statistics.interval(values[winner], seed=self.sweep.seed),
            baseline=statistics.interval(values[0], seed=self.sweep.seed),
            comparison=compared[winner],
            scores=dict(zip(shared, values[winner].tolist(), strict=True)),
            baseline_scores=dict(zip(shared, values[0].tolist(), strict=True)),
        )

    async def _latency(self, results: Sequence[Trial], winner: int | None) -> list[Trial]:
        """Time the baseline, the winner and the front; return all results, those with their latencies."""
        members = [t for t in self.board.trials if t.number in (0, winner) or results[t.number].pareto]

        def begin(blocks: int) -> None:
            self.done, self.total = 0, blocks

        timed = await time_best(
            self.sweep,
            self.store,
            self.engines,
            self.snapshot,
            members,
            on_begin=begin,
            on_block=lambda: self._step("latency"),
            note=self.notes.append,
        )
        return [trial.model_copy(update={"latency": timed.get(trial.number, [])}) for trial in results]
