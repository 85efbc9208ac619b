"""A sweep: settings to try, prompts to try them on, and how carefully.

    plan -> search (quality) -> winner on held-out prompts -> latency of the best -> result

Knows what was asked for, and what it means as a plan. How the plan is carried out is jc1_lab.sweep.runner's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jc1.database import open_database
from jc1.database.presets import PresetRepository
from jc1.decoding import Decoding
from jc1.engines import create_engine
from jc1.engines.settings import EngineSettings
from jc1.errors import Conflict, InvalidRequest, InvalidSpace
from jc1.memory import queries as inspection
from jc1.models import unambiguous
from jc1.presets import CHAMPION, Presets
from jc1.request import RESOLVED_SETTINGS
from jc1.settings import Settings
from jc1_lab import statistics
from jc1_lab.latency.load import check
from jc1_lab.records.items import Suite
from jc1_lab.records.results import SCORE, Load, SuiteFacts
from jc1_lab.records.trials import TrialSettings, engine_key
from jc1_lab.scoring.metrics import METRICS
from jc1_lab.scoring.scoring import create_scoring, unavailable_reason
from jc1_lab.spaces.search import STRATEGIES
from jc1_lab.spaces.space import Space
from jc1_lab.suites.suite import load, split
from jc1_lab.sweep.plan import Plan, cost, most

if TYPE_CHECKING:
    from jc1_lab.latency.measure import Objective

DEFAULT_TRIALS = 32
"""Trials of a space that has no end, where none are stated."""
RACING_TRIALS = 4
"""The fewest trials with which racing pays."""
OWN_BASELINE = "the space's baseline"
"""What a baseline is called that is no preset."""
MAX_SEED = 2**31 - 1
"""The greatest seed: whatever draws by it takes this one, and some more."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Group:
    """What one started engine serves: its settings, and which combination of the space's own these are, `None` where
    only the baseline runs there."""

    engine: dict[str, Any]
    varied: dict[str, Any] | None


class Sweep:
    """Settings to try, prompts to try them on, and how carefully.

    `space` is a `Space`, a mapping or a YAML file; `suite` a `Suite` or a reference as `jc1_lab.suites.suite.load`
    takes it. `name` is the folder under `JC1_HOME/sweeps`. `trials` is how many points are tried at most, `search` how
    they are chosen: every point (`grid`, the default where there is an end to them), at `random`, or by `tpe`. Trials
    that sample are asked `repeats` times. `holdout` is the share of prompts on which the winner is measured again.
    `owner` is whose own memory is read by prompts that bring none. `baseline` is a preset reference; the default is the
    space's own, else `champion` where there is one, else the preset of the settings. `loads` are those under which the
    best are timed, none for no timing; `requests` and `blocks` say how often, for each load and trial.

    Raises `InvalidSpace`, `InvalidSuite`, `InvalidRequest`, `InvalidSettings`, `UnknownPreset`, `Conflict`: all that
    can be found wrong before anything runs.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any] | str | Path,
        *,
        suite: Suite | str = "memory-qa",
        name: str | None = None,
        trials: int | None = None,
        search: str | None = None,
        repeats: int = 3,
        holdout: float = 0.3,
        seed: int = 0,
        limit: int | None = None,
        owner: str | None = None,
        baseline: str | None = None,
        racing: bool = True,
        scorers: Sequence[str] = (),
        loads: Sequence[Load] = (Load(concurrency=4),),
        requests: int = 32,
        blocks: int = 4,
        objective: Objective | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings.load()
        self.space = space if isinstance(space, Space) else _space(space)
        self.suite = suite if isinstance(suite, Suite) else load(suite, limit=limit, seed=seed)
        self.name = name or (Path(space).stem if isinstance(space, str | Path) else f"sweep-{self.suite.name}")
        if not _NAME.fullmatch(self.name):
            raise InvalidSpace(f"{self.name!r} cannot name a sweep: use letters, digits, '-', '_' and '.'.")
        if search not in (None, *STRATEGIES):
            raise InvalidSpace(f"There is no search {search!r}: use {', '.join(STRATEGIES)}.")
        if repeats < 1 or not 0 <= holdout < 1 or (trials is not None and trials < 1):
            raise InvalidSpace(
                "A sweep needs one trial, one repeat, and prompts to search: raise the number that is 0."
            )
        if not 0 <= seed <= MAX_SEED:
            raise InvalidSpace(f"A seed is 0 to {MAX_SEED}, not {seed}.")
        for each in loads:
            check(each)
        if loads and (requests < 1 or blocks < 1):
            raise InvalidRequest("Timing takes at least 1 request and 1 block, or no load at all.")
        self.baseline_name, self.baseline = self._baseline(baseline)
        self.space = self.space.over(self.baseline)
        finite = self.space.size is not None
        if search == "grid" and self.space.continuous:
            raise InvalidSpace("A range without steps has no grid: give it a step, or use --search random or tpe.")
        self.kind = search or ("grid" if finite and (trials is None or trials >= (self.space.size or 0)) else "random")
        self.trials = trials if trials is not None or (finite and self.kind == "grid") else DEFAULT_TRIALS
        self.repeats, self.seed, self.owner, self.racing = repeats, seed, owner, racing
        self.loads, self.requests, self.blocks, self.objective = tuple(loads), requests, blocks, objective
        self.metrics = list(dict.fromkeys([*self.space.objectives, *self.space.scorers, *scorers]))
        self.scoring = create_scoring(self.metrics, self.suite)
        decoding = Decoding.parse(self.baseline.decoding)
        if reason := unavailable_reason(self.primary[0], decoding, repeats=self.baseline.repeats(repeats)):
            raise InvalidSpace(f"The baseline cannot be compared: {reason}. Choose another baseline or objective.")
        self.items, self.heldout = split(self.suite, holdout, seed)
        self._check_owner()
        self._check_model()
        for group in self.groups:
            create_engine(self.settings.model_copy(update=group.engine))  # not started: it only says what it refuses
        self.folder = self.settings.home / "sweeps" / self.name

    def _check_owner(self) -> None:
        if self.owner is None:
            return
        if self.owner in self.suite.memories:
            raise Conflict(f"The suite has memories of its own for {self.owner!r}: choose another --owner.")
        self.settings.prepare_home()
        database = open_database(self.settings.database_url)
        try:
            with database.connect() as connection:
                known = inspection.statistics(connection, self.owner).records
        finally:
            database.dispose()
        if not known:
            raise InvalidRequest(f"The memory of {self.owner!r} is empty: check the name, or leave out --owner.")

    def _baseline(self, reference: str | None) -> tuple[str, TrialSettings]:
        if reference is None and isinstance(self.space.baseline, TrialSettings):
            return OWN_BASELINE, self.space.baseline
        self.settings.prepare_home()
        database = open_database(self.settings.database_url)
        try:
            presets = Presets(PresetRepository(database))
            wanted = reference or self.space.baseline
            if not isinstance(wanted, str):
                wanted = CHAMPION if CHAMPION in presets.aliases() else self.settings.preset
            preset = presets.resolve(wanted)
        finally:
            database.dispose()
        return preset.reference, TrialSettings.of(preset)

    def _check_model(self) -> None:
        """Raise `Conflict` where the baseline's preset was measured on another model than the one asked for.

        A preset lends its trials the engine settings that it needs, but not its model. Where the space sets the model,
        each trial says its own.
        """
        needed = self.baseline.engine.get("model", self.settings.model)
        if self.baseline_name == OWN_BASELINE or any("model" in (group.varied or {}) for group in self.groups):
            return
        if unambiguous(needed) != unambiguous(self.settings.model):
            raise Conflict(
                f"The baseline {self.baseline_name} was measured on the model {needed}, and this sweep would run "
                f"{self.settings.model}: say --model {needed}, or --baseline default.",
                param="baseline",
            )

    @cached_property
    def groups(self) -> list[Group]:
        """Return the engines to start, the baseline's first; the space's combinations lie over its settings."""
        base = self.baseline.engine
        by_key = {engine_key(self.settings, base): Group(base, None)}
        for varied in self.space.engines():
            engine = {**base, **varied}
            by_key[engine_key(self.settings, engine)] = Group(engine, varied)
        return [*by_key.values()]

    @cached_property
    def plan(self) -> Plan:
        """Return what will run at most, and what it can show."""
        trials = min(x for x in (self.trials, self.space.size) if x is not None)
        baseline = cost(self.baseline, self.repeats)
        search = most(self.space, trials=trials, repeats=self.repeats)
        winner = most(self.space, trials=1, repeats=self.repeats)
        items, heldout = len(self.items), len(self.heldout)
        return Plan(
            name=self.name,
            suite=self._facts(),
            space=self.space.describe(),
            search={"kind": self.kind, "trials": self.trials, "seed": self.seed},
            metrics=self.metrics,
            owner=self.owner,
            objectives=self.space.objectives,
            baseline=self.baseline.model_dump(),
            baseline_name=self.baseline_name,
            settings=self._settings(),
            engines=[_changed(self.settings, group.engine) for group in self.groups],
            trials=trials + 1,
            repeats=self.repeats,
            racing=self.races(trials),
            requests=(baseline.requests + search.requests) * items,
            tokens=(baseline.tokens + search.tokens) * items + (baseline.tokens + winner.tokens) * heldout,
            heldout_requests=(baseline.requests + winner.requests) * heldout,
            latency_requests=len(self.loads) * self.blocks * self.requests,
            mde=statistics.mde(items, comparisons=trials) if self._by_score else None,
        )

    @property
    def primary(self) -> tuple[str, Literal["max", "min"]]:
        """Return the metric by which the winner is found, and which way it is better."""
        return next(iter(self.space.objectives.items()))

    @property
    def _by_score(self) -> bool:
        """Return whether the winner is found by a score, 0 to 1."""
        metric = self.primary[0]
        return metric == SCORE or (metric in METRICS and METRICS[metric].quality)

    def races(self, trials: int) -> bool:
        """Tell whether racing looks at so many trials."""
        return (
            self.racing
            and len(self.space.objectives) == 1
            and trials >= RACING_TRIALS
            and bool(statistics.interim_looks(len(self.items), trials=trials + 1))
        )

    def _facts(self) -> SuiteFacts:
        return SuiteFacts(
            name=self.suite.name,
            source=self.suite.source,
            digest=self.suite.digest,
            search=[item.id for item in self.items],
            heldout=[item.id for item in self.heldout],
        )

    def _settings(self) -> dict[str, Any]:
        """Return those of the settings that a trial's answers depend on."""
        names = ("engine", "preset", *RESOLVED_SETTINGS, "embedder", "embedder_model", "base_url")
        shown = self.settings.shown()
        fields = [name for name in EngineSettings.__dataclass_fields__ if name != "api_key"]
        return {name: shown[name] for name in dict.fromkeys((*names, *fields))}


def _space(given: Mapping[str, Any] | str | Path) -> Space:
    return Space.parse(given) if isinstance(given, Mapping) else Space.load(given)


def _changed(settings: Settings, engine: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in engine.items() if getattr(settings, name) != value}
