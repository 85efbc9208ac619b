"""What a sweep found: the shapes that its report, MLflow, plots and promotion read.

Knows names, units and how they lie in a file. Knows nothing about how any figure comes about.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jc1.engines.settings import EngineSettings
from jc1.request import RESOLVED_SETTINGS, resolve
from jc1.settings import Settings
from jc1_lab.records.files import write_whole
from jc1_lab.records.trials import ENGINE_FIELDS, TrialSettings

Verdict = Literal["better", "worse", "not distinguishable"]
"""In the direction that the objective wants."""

RESULT = "result.json"
"""The file in a sweep's folder that holds its result."""
SCORE = "score"
"""The metric that a suite's scorers give, 0 to 1."""


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Shape):
    """A mean over prompts with its 95 % interval."""

    mean: float
    low: float
    high: float
    prompts: int


class Comparison(_Shape):
    """A paired difference of means, this minus the other, on the same prompts.

    `p` is of the paired test alone, `p_adjusted` after correction for all trials of the sweep. `low` and `high` are at
    the confidence `level` that this correction leaves to the trial, .95 where nothing else was compared: they hold 0
    just where the `verdict` is "not distinguishable". `mde` is the smallest difference that so many prompts, spread as
    these are, show in four of five cases.
    """

    difference: float
    low: float
    high: float
    level: float = 0.95
    p: float
    p_adjusted: float
    verdict: Verdict
    prompts: int
    mde: float

    @property
    def interval_name(self) -> str:
        """Return `95 % interval`, or the level that the correction for other trials leaves: `99.5 % interval`."""
        return f"{100 * self.level:.5g} % interval"


class Load(_Shape):
    """The load on the engine while latency was measured: so many requests at a time (`concurrency`), or Poisson
    arrivals at `rate` a second. One of the two."""

    concurrency: int | None = None
    rate: float | None = None

    def __str__(self) -> str:
        return f"{self.concurrency} at a time" if self.concurrency else f"{self.rate:g} a second"


class Percentiles(_Shape):
    """Percentiles of a time in seconds."""

    p50: float
    p90: float
    p99: float


class Latency(_Shape):
    """The times of requests under a load, in seconds; `tpot` is the time per output token after the first.

    `goodput` is the requests a second that kept the objective stated in the sweep, `None` where none was stated;
    `stages` the median of each stage of the request path.
    """

    load: Load
    requests: int
    failed: int = 0
    blocks: int
    seconds: float
    ttft: Percentiles
    tpot: Percentiles | None = None
    total: Percentiles
    tokens_per_second: float
    requests_per_second: float
    goodput: float | None = None
    stages: dict[str, float] = Field(default_factory=dict)


class Trial(_Shape):
    """One point of the space and what was measured of it.

    `stopped` trials were given up by racing after `prompts` prompts, `refused` ones the engine cannot carry out;
    `reason` says why. `scores` holds the mean score of each prompt over its repeats, by item id; `comparison` is
    against the baseline, by score. `acceptance` is the share of drafts accepted at each position.
    """

    number: int
    settings: TrialSettings
    label: str
    state: Literal["measured", "stopped", "refused"] = "measured"
    reason: str = ""
    repeats: int = 1
    prompts: int = 0
    failed: int = 0
    metrics: dict[str, Interval] = Field(default_factory=dict)
    categories: dict[str, float] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)
    comparison: Comparison | None = None
    pareto: bool = False
    latency: list[Latency] = Field(default_factory=list)
    acceptance: list[float] = Field(default_factory=list)


class Verified(_Shape):
    """The winner measured again on prompts held out from the search, with fresh seeds, beside the baseline.

    `search` is what it had in the search, where the best of many is flattered; `comparison` is winner minus baseline on
    the held-out prompts. `scores` and `baseline_scores` are by item id.
    """

    trial: int
    search: Interval
    heldout: Interval
    baseline: Interval
    comparison: Comparison
    scores: dict[str, float]
    baseline_scores: dict[str, float]


class SuiteFacts(_Shape):
    """The prompts that were asked. `digest` is the SHA-256 of what the suite says."""

    name: str
    source: str
    digest: str
    search: list[str]
    heldout: list[str]


class SweepResult(_Shape):
    """A finished sweep, as `result.json` in its folder holds it.

    Trial 0 is the baseline. `winner` is the best trial beside it by the first objective, whatever its significance.
    `objectives` maps metrics to `max` or `min`. `mde` is the smallest difference of the first objective that
    so many prompts, spread as they are, show in four of five cases; `None` where nothing was compared. `seconds`
    are by phase. `mlflow_run` is the id of the parent run. `memory` is the SHA-256 of what `owner` had in memory
    when the sweep began, empty where prompts read only what the suite brings.
    """

    name: str
    created: str
    finished: str
    baseline_name: str
    suite: SuiteFacts
    space: dict[str, Any]
    search: dict[str, Any]
    objectives: dict[str, Literal["max", "min"]]
    trials: list[Trial]
    winner: int | None = None
    verified: Verified | None = None
    mde: float | None
    rows: int
    owner: str | None = None
    memory: str = ""
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    revision: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    mlflow_run: str = ""

    @property
    def primary(self) -> str:
        """Return the metric by which the winner was found: the first objective."""
        return next(iter(self.objectives))

    @property
    def sign(self) -> int:
        """Return 1 where more of the primary metric is better, -1 where less is."""
        return 1 if self.objectives[self.primary] == "max" else -1

    @property
    def baseline(self) -> Trial:
        return self.trials[0]

    def trial(self, number: int) -> Trial:
        """Return the trial of that number. Raises `KeyError`."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        raise KeyError(number)

    def resolve(self, trial: TrialSettings) -> TrialSettings:
        """Return all that a trial of this sweep runs with: what it leaves out is the sweep's, and else JC1's own."""
        under = Settings(**{name: self.settings[name] for name in RESOLVED_SETTINGS if name in self.settings})
        resolved = resolve(trial.preset("trial"), under)
        engine = {**asdict(EngineSettings()), **self.settings}
        return TrialSettings(
            decoding=resolved.decoding.model_dump(),
            system=resolved.system,
            retrieval=asdict(resolved.retrieval),
            engine={name: engine[name] for name in ENGINE_FIELDS} | trial.engine,
        )

    @classmethod
    def read(cls, folder: Path) -> SweepResult:
        """Read what `write` left in a sweep's folder."""
        return cls.model_validate_json((folder / RESULT).read_bytes())

    def write(self, folder: Path) -> Path:
        """Write the result to `folder/result.json`, whole or not at all, and return that path. Raises `StorageFull`."""
        path = folder / RESULT
        write_whole(path, self.model_dump_json(indent=1))
        return path
