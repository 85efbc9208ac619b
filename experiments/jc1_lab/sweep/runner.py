"""Carrying out a sweep: from the first request to the last figure.

Knows the order of the phases and what of them is done already. How requests are made, settings proposed, trials held
against each other and runs written is each a file of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import orjson

from jc1.engines.registry import distributions
from jc1.errors import EngineUnavailable, InvalidRequest, InvalidSettings, Jc1Error
from jc1_lab import environment, statistics
from jc1_lab.latency.measure import measure
from jc1_lab.records.items import Item
from jc1_lab.records.results import SCORE, Latency, SweepResult, Trial, Verified
from jc1_lab.records.rows import OK, EvalRecord, RowFile, Split, write_table
from jc1_lab.records.trials import TrialSettings
from jc1_lab.sinks import mlflow as tracking
from jc1_lab.sinks.folder import SweepFolder
from jc1_lab.spaces.search import STRATEGIES, create_search, shares
from jc1_lab.sweep import analysis, evaluation
from jc1_lab.sweep.board import TrialBoard, TrialState
from jc1_lab.sweep.lines import Lines
from jc1_lab.sweep.snapshot import Engines, Snapshot

if TYPE_CHECKING:
    from jc1.trace import Trace
    from jc1.workbench import Workbench
    from jc1_lab.sweep.spec import Sweep

T = TypeVar("T")
log = logging.getLogger(__name__)

FEW = 3
"""Answers to a prompt below which luck shows, where they are sampled."""
TRACES = 100
"""Trials of which the trace of a request is kept at most."""
WARM_UP = 2
"""Requests before each block of the latency phase that do not count."""
PACKAGES = ("openvino", "faiss-cpu", "mlflow", "optuna", "numpy")
"""Those that a sweep's figures depend on besides the engines'."""

Progress = Callable[[str, int, int], None]
"""Told of each step forward: the phase, how much of it is done, how much there is."""


class Run:
    """One run of a sweep, from the first row to the last figure."""

    def __init__(self, sweep: Sweep, progress: Progress) -> None:
        self.sweep = sweep
        self.plan = sweep.plan()
        self.folder = SweepFolder(sweep.folder)
        self.progress = progress
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}
        self.model = ""
        """What a server says that it serves, where one answers."""
        self.done = self.total = 0
        self.worked = 0
        """Rows and blocks that this process added."""

    async def run(self, *, resume: bool) -> SweepResult:
        """Do what is not done yet. Raises `Conflict` where the name is taken or the plan is another one."""
        sweep = self.sweep
        sweep.settings.prepare_home()
        self.folder.make(sweep.name, resume=resume)
        with (
            RowFile(sweep.folder / "rows.jsonl") as self.rows,
            closing(Lines(sweep.folder / "trials.jsonl")) as numbers,
            closing(Lines(sweep.folder / "traces.jsonl")) as self.traces,
        ):
            self.created = self.folder.open(self.plan, resume=resume)
            self.board = TrialBoard(sweep, self.rows, numbers, most=self.plan.trials)
            self.seconds = self.folder.read("seconds.json") or {}
            self.traces.read()  # so that it ends with a whole line
            self._write_prompts()
            self.mlflow_run = await asyncio.to_thread(self._begin)
            try:
                async with AsyncExitStack() as stack:
                    snapshot = await asyncio.to_thread(self._snapshot)
                    stack.push_async_callback(asyncio.to_thread, snapshot.close)
                    self.snapshot = snapshot
                    self.engines = Engines(snapshot, sweep.settings)
                    stack.push_async_callback(self.engines.close)
                    await self._timed("search", self._search())
                    results = self.board.results()
                    winner = self.board.winner(results)
                    verified = await self._timed("heldout", self._verify(results, winner))
                    await self._timed("latency", self._latency(results, winner))
                result = await asyncio.to_thread(self._finish, winner, verified)
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
                self._tell_failed("KILLED" if interrupted else "FAILED")
                raise
        return result

    # around the phases

    def _write_prompts(self) -> None:
        """What is asked, and what would be right, for whoever reads the rows."""
        items = (*self.sweep.items, *self.sweep.heldout)
        told = {item.id: {"prompt": item.messages[-1].text, "references": item.references} for item in items}
        self.folder.write("prompts.json", told)

    def _begin(self) -> str:
        if not self.sweep.tracked:
            return ""
        where = self.sweep.settings.shown()["tracking_uri"]
        kept = self.folder.read("mlflow.json")
        if kept and kept["uri"] == where:
            return str(kept["run"])
        about = self.plan.model_dump(mode="json", exclude={"suite": {"search", "heldout"}}) | {"created": self.created}
        run = tracking.begin(self.plan.name, self.sweep.settings.tracking, about=about)
        self._keep_run(run)
        return run

    def _keep_run(self, run: str) -> None:
        self.folder.write("mlflow.json", {"uri": self.sweep.settings.shown()["tracking_uri"], "run": run})

    def _tell_failed(self, status: Literal["KILLED", "FAILED"]) -> None:
        if not self.sweep.tracked:
            return
        try:
            tracking.fail(self.mlflow_run, self.sweep.settings.tracking, status)
        except Jc1Error as error:
            log.warning("MLflow was not told that the sweep ended early: %s", error.message)

    def _snapshot(self) -> Snapshot:
        sweep = self.sweep
        return Snapshot(
            sweep.folder,
            sweep.suite,
            sweep.settings,
            owner=sweep.owner,
            progress=lambda done, total: self.progress("memory", done, total),
        )

    async def _timed(self, phase: str, work: Awaitable[T]) -> T:
        """The result of `work`, its time added to the phase's unless there was nothing to do."""
        began, before = time.perf_counter(), self.worked
        try:
            return await work
        finally:
            if self.worked > before:
                self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.perf_counter() - began, 3)
                self.folder.write("seconds.json", self.seconds)

    # the search

    async def _search(self) -> None:
        """Every trial on the prompts of the search, engine by engine."""
        self.total = self.plan.requests
        self.done = sum(row.split == "search" for row in self.rows)
        self.progress("search", self.done, self.total)
        sweep = self.sweep
        searched = [group for group in sweep.groups if group.varied is not None]
        points = [sweep.space.points(group.varied) for group in searched]
        parts = iter(shares(sweep.trials, [None if found is None else len(found) for found in points]))
        batch = STRATEGIES[sweep.kind].batch or max(sweep.trials or 0, sweep.space.size or 0)
        for i, group in enumerate(sweep.groups):
            workbench, reason = await self._started(group.engine, needed=i == 0)
            trials = []
            if workbench is not None and i == 0:
                if workbench.settings.base_url:
                    self.model = workbench.engine.model
                self._check(workbench, sweep.baseline)
                trials.append(self.board.add(sweep.baseline))
            if group.varied is not None:
                search = create_search(
                    sweep.space,
                    sweep.kind,
                    trials=next(parts),
                    seed=sweep.seed + i,
                    engine=group.varied,
                )
                while points := search.ask(batch):
                    found = [self.board.add(sweep.space.settings(point)) for point in points]
                    trials += self._servable(workbench, found, reason)
                    if workbench is not None:
                        await self._race(workbench, [*{trial.number: trial for trial in trials}.values()])
                    search.tell(points, [self.board.told(trial) for trial in found])
                    trials = []
            if workbench is not None and trials:
                await self._race(workbench, trials)

    async def _started(self, engine: Mapping[str, Any], *, needed: bool) -> tuple[Workbench | None, str]:
        """The workbench with these engine settings, or why it could not be started, which is raised where it is
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
        """Those that the engine can carry out; of the others it is written down why not: where it did not start, the
        `reason`."""
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
        workbench.resolve(preset, decoding=evaluation.extra(preset, self.sweep.scoring))

    async def _race(self, workbench: Workbench, trials: Sequence[TrialState]) -> None:
        """The trials on all prompts; where racing is on, those that stay behind for sure do not see the end."""
        items = self.sweep.items
        rungs = statistics.interim_looks(len(items), trials=self.plan.trials) if self.sweep.races(len(trials)) else []
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
        seeded = "seed" in workbench.engine.capabilities.decoding
        requests = []
        for trial in trials:
            preset = trial.settings.preset(f"trial-{trial.number}")
            requests += [
                evaluation.EvalRequest(
                    trial=trial.number,
                    split=split,
                    item=item,
                    repeat=repeat,
                    seed=evaluation.seed_of(self.sweep.seed, split, item.id, repeat)
                    if seeded and trial.settings.samples
                    else None,
                    preset=preset,
                    owner=self.snapshot.owner_of(item.owner),
                )
                for item in items
                for repeat in range(trial.repeats)
            ]

        def count(_: EvalRecord) -> None:
            self.done += 1
            self.worked += 1
            self.progress(split, self.done, self.total)

        await evaluation.run_requests(
            workbench, requests, self.rows, scoring=self.sweep.scoring, on_record=count, on_trace=self._sample
        )

    def _sample(self, request: evaluation.EvalRequest, trace: Trace, text: str) -> None:
        """Keep the trace of one request of each trial, of one prompt after the other."""
        # No trial is stopped before these.
        early = self.sweep.items[: math.ceil(statistics.INTERIM_LOOKS[0] * len(self.sweep.items))]
        chosen = early[request.trial % len(early)]
        if request.trial >= TRACES or (request.split, request.item.id, request.repeat) != ("search", chosen.id, 0):
            return
        about = {
            "trial": request.trial,
            "item": request.item.id,
            "prompt": request.item.messages[-1].text,
            "text": text,
        }
        self.traces.add(orjson.dumps({**trace.to_dict(), **about}, option=orjson.OPT_APPEND_NEWLINE))

    async def _verify(self, results: Sequence[Trial], winner: int | None) -> Verified | None:
        """The winner and the baseline on prompts that the search did not see, with seeds of their own."""
        heldout, (metric, direction) = self.sweep.heldout, self.sweep.primary
        if winner is None or not heldout:
            return None
        trials = [self.board.trials[0], self.board.trials[winner]]
        self.done = sum(row.split == "heldout" for row in self.rows)
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

    async def _latency(self, results: Sequence[Trial], winner: int | None) -> None:
        """Time the baseline, the winner and the front, interleaved on each engine."""
        sweep = self.sweep
        members = [t for t in self.board.trials if t.number in (0, winner) or results[t.number].pareto]
        timing = {
            "loads": [load.model_dump() for load in sweep.loads],
            "requests": sweep.requests,
            "blocks": sweep.blocks,
            "objective": sweep.objective and asdict(sweep.objective),
        }
        before = self.folder.read("latency.json") or {}
        kept = before["trials"] if before.get("timing") == timing else {}
        by_engine: dict[str, list[TrialState]] = {}
        for trial in members:
            trial.latency = [Latency.model_validate(told) for told in kept.get(str(trial.number), [])]
            if sweep.loads and str(trial.number) not in kept:
                by_engine.setdefault(trial.engine, []).append(trial)
        if sweep.loads and len({trial.engine for trial in members}) > 1:
            self.notes.append("Latencies of different engine settings were measured one engine after the other.")
        self.snapshot.memory.search_anew()
        self.done, self.total = 0, len(sweep.loads) * sweep.blocks * sum(map(len, by_engine.values()))
        for trials in sorted(by_engine.values(), key=lambda trials: trials[0].engine != self.engines.key):
            workbench = await self.engines.running(trials[0].settings.engine)
            if workbench.settings.base_url and not await workbench.engine.forget_prefixes():
                self.notes.append(
                    "The prefix cache of a server cannot be emptied over its API: whoever came first in a round read "
                    "the prompts for the others."
                )

            def count(*_: Any) -> None:
                self.done += 1
                self.worked += 1
                self.progress("latency", self.done, self.total)

            timed = await measure(
                workbench,
                {trial.number: trial.settings.preset(f"trial-{trial.number}") for trial in trials},
                (*sweep.items, *sweep.heldout),
                sweep.loads,
                requests=sweep.requests,
                blocks=sweep.blocks,
                warm_up=WARM_UP,
                objective=sweep.objective,
                seed=sweep.seed,
                owner=lambda item: self.snapshot.owner_of(item.owner),
                on_block=count,
            )
            for trial in trials:
                trial.latency = timed[trial.number]
                kept[str(trial.number)] = [told.model_dump(mode="json") for told in trial.latency]
            self.folder.write("latency.json", {"timing": timing, "trials": kept})

    def _finish(self, winner: int | None, verified: Verified | None) -> SweepResult:
        """Put result, table and report into the folder, and tell MLflow."""
        from jc1_lab.sinks.report import html

        sweep = self.sweep
        if not self.worked and (sweep.folder / "result.json").exists():  # nothing was left but to tell MLflow
            result = SweepResult.read(sweep.folder).model_copy(update={"mlflow_run": self.mlflow_run})
        else:
            result = self._result(winner, verified)
            write_table(self.board.sorted_rows(), sweep.folder / "table.jsonl")
        result.write(sweep.folder)
        self.folder.write_text("report.html", html(result, sweep.folder))
        if sweep.tracked and (run := tracking.finish(result, sweep.folder, sweep.settings.tracking)) != self.mlflow_run:
            self._keep_run(run)  # the one that there was is gone from the server
            result = result.model_copy(update={"mlflow_run": run})
            result.write(sweep.folder)
        return result

    def _note_what_happened(self, results: Sequence[Trial]) -> None:
        """Write down what a reader of the figures has to know."""
        sweep = self.sweep
        stopped = sum(trial.state == "stopped" for trial in results)
        refused = sum(trial.state == "refused" for trial in results)
        if stopped:
            self.notes.append(
                f"Racing stopped {stopped} of {len(results) - 1} trials early; they count in the correction."
            )
        if skipped := sweep.space.skipped():
            self.notes.append(skipped)
        if refused:
            self.notes.append(f"The engine cannot carry out {refused} of the trials; each says why.")
        told = [row for row in self.rows if row.outcome == OK]
        raised = Counter(name for row in told for name in sweep.scoring.raised(row.scores))
        for name, count in raised.items():
            self.notes.append(f"The scorer {name} raised for {count} of {len(told)} replies: they lack it, or score 0.")
        if sweep.repeats < FEW and any(trial.settings.samples for trial in results):
            self.notes.append(
                f"Sampled trials answered each prompt {sweep.repeats} times: fewer than {FEW} leave much to luck."
            )
        if sweep.primary[0] != SCORE:
            self.notes.append(f"The winner is the best by {sweep.primary[0]}, not by score.")

    def _result(self, winner: int | None, verified: Verified | None) -> SweepResult:
        sweep, plan = self.sweep, self.plan
        results = self.board.results()
        self._note_what_happened(results)
        shown = [trial.comparison.mde for trial in results if trial.comparison]
        return SweepResult(
            name=sweep.name,
            created=self.created,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            baseline_name=sweep.baseline_name,
            suite=plan.suite,
            space=plan.space,
            search=plan.search
            | {"repeats": sweep.repeats, "racing": plan.racing, "engine_starts": self.engines.starts},
            objectives=sweep.space.objectives,
            trials=results,
            winner=winner,
            verified=verified,
            mde=median(shown) if shown else plan.mde,
            rows=len(self.rows),
            owner=sweep.owner,
            memory=self.snapshot.digest,
            settings=plan.settings | ({"model": self.model} if self.model else {}),
            machine=environment.machine(),
            versions=environment.versions((*distributions(), *PACKAGES)),
            revision=environment.revision(),
            seconds=self.seconds,
            notes=self.notes,
            mlflow_run=self.mlflow_run,
        )
