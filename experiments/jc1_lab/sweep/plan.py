"""The plan of a sweep: what it will run and what that can show, before anything runs.

Sizes only: nothing is started to compute them. The plan is carried out by jc1_lab.sweep.runner.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from jc1.decoding import Decoding
from jc1_lab.records.results import SuiteFacts
from jc1_lab.records.trials import TrialSettings
from jc1_lab.spaces.dimensions import Range
from jc1_lab.spaces.space import Space


class Plan(BaseModel):
    """The contents and size of a sweep. `trials` counts the baseline, and is the most where the search may find fewer.

    `requests` are the most that the search may take; `heldout_requests` and `latency_requests` come on top. `tokens`
    are the most of search and held-out confirmation. `mde` is the smallest difference of the first objective that it
    shows in four of five cases; `None` unless that is a score, since how other metrics spread is not known beforehand.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    suite: SuiteFacts
    space: dict[str, Any]
    search: dict[str, Any]
    metrics: list[str]
    owner: str | None
    objectives: dict[str, Literal["max", "min"]]
    baseline: dict[str, Any]
    baseline_name: str
    settings: dict[str, Any]
    engines: list[dict[str, Any]]
    trials: int
    repeats: int
    racing: bool
    requests: int
    tokens: int
    heldout_requests: int
    latency_requests: int
    mde: float | None

    def fixed_on_resume(self) -> dict[str, Any]:
        """Return what answers depend on, as JSON holds it: how the best are timed afterwards is not in it."""
        return self.model_dump(mode="json", exclude={"latency_requests"})

    def lines(self) -> list[tuple[str, str]]:
        """Return contents and sizes as a person reads them: names and values."""
        rows = [
            ("suite", f"{self.suite.name}, {len(self.suite.search)} prompts to search and "
                      f"{len(self.suite.heldout)} held out, SHA-256 {self.suite.digest[:12]}"),
            ("baseline", self.baseline_name),
            ("search", f"{self.search['kind']}, at most {self.trials - 1} trials beside the baseline"),
            ("objectives", ", ".join(f"{metric} {way}" for metric, way in self.objectives.items())),
            ("engines", f"{len(self.engines)}, each started once for the search: "
                        + "; ".join(_settings(engine) for engine in self.engines)),
            ("requests", f"at most {self.requests:,} in the search, greedy trials once and others {self.repeats} times"
                         + ("; racing may stop some early" if self.racing else "")),
            ("then", f"{self.heldout_requests:,} requests to evaluate the winner on held-out prompts, "
                     f"{self.latency_requests:,} to time each of the best"),
            ("cost", f"at most {self.tokens:,} new tokens in search and held-out evaluation"),
        ]  # fmt: skip
        if self.mde is not None:
            rows.append(
                ("can show", f"a difference of {self.mde:.3f} in {next(iter(self.objectives))}, in four of five "
                             "cases, where the scores of a prompt under two settings differ with a standard deviation "
                             "of 0.5")
            )  # fmt: skip
        return rows


def _settings(engine: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in engine.items()) or "as set"


class Cost(NamedTuple):
    """What a prompt costs at most: how often it is asked, and the new tokens of the answers."""

    requests: int
    tokens: int


def cost(settings: TrialSettings, repeats: int) -> Cost:
    """Return what a prompt costs under these settings, asked `repeats` times where they sample."""
    decoding, times = Decoding.parse(settings.decoding), settings.repeats(repeats)
    return Cost(times, times * decoding.max_tokens * decoding.n)


def most(space: Space, *, trials: int, repeats: int) -> Cost:
    """Return what a prompt costs under `trials` points of the space, the dearest of those that can be counted."""
    points = space.points()
    if points is None:
        return Cost(trials * repeats, trials * repeats * _greatest(space, "max_tokens") * _greatest(space, "n"))
    costs = [cost(space.settings(point), repeats) for point in points]
    requests, tokens = (sum(sorted(column, reverse=True)[:trials]) for column in zip(*costs, strict=True))
    return Cost(requests, tokens)


def _greatest(space: Space, name: str) -> int:
    """Return the greatest value that a field of `Decoding` has anywhere in the space."""
    tried = space.dimensions.get(name)
    if tried is None:
        return int(getattr(Decoding.parse(space.base.decoding if space.base else {}), name))
    return int(tried.high if isinstance(tried, Range) else max(tried.values))
