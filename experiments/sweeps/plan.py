"""The plan of a sweep: what it will run and what that can show, before anything runs.

Knows sizes. Knows nothing about engines or how a plan is carried out.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from experiments.spaces.dimensions import Range
from experiments.spaces.space import Space
from experiments.sweeps.results import SuiteFacts
from experiments.sweeps.trials import TrialSettings
from jc1.decoding import Decoding


class Plan(BaseModel):
    """What a sweep is made of. `trials` counts the baseline, and is the most where the search may find fewer.

    `requests` are the most that the search may take; `heldout_requests` and `latency_requests` come on top. `tokens`
    are the most of search and proof. `detectable` is the smallest difference of the first objective that it shows in
    four of five cases; `None` unless that is a score, since how other metrics spread is not known beforehand.
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
    detectable: float | None

    def asked(self) -> dict[str, Any]:
        """What answers depend on, as JSON holds it: how the best are timed afterwards is not in it."""
        return self.model_dump(mode="json", exclude={"latency_requests"})

    def lines(self) -> list[tuple[str, str]]:
        """What and how much, as a person reads it."""
        told = [
            ("suite", f"{self.suite.name}, {len(self.suite.search)} prompts to search and "
                      f"{len(self.suite.heldout)} held out, SHA-256 {self.suite.digest[:12]}"),
            ("baseline", self.baseline_name),
            ("search", f"{self.search['kind']}, at most {self.trials - 1} trials beside the baseline"),
            ("objectives", ", ".join(f"{metric} {way}" for metric, way in self.objectives.items())),
            ("engines", f"{len(self.engines)}, each started once for the search: "
                        + "; ".join(_settings(engine) for engine in self.engines)),
            ("requests", f"at most {self.requests:,} in the search, greedy trials once and others {self.repeats} times"
                         + ("; racing will stop hopeless trials" if self.racing else "")),
            ("then", f"{self.heldout_requests:,} requests to prove the winner, {self.latency_requests:,} to time each "
                     "of the best"),
            ("cost", f"at most {self.tokens:,} new tokens in search and proof"),
        ]  # fmt: skip
        if self.detectable is not None:
            told.append(
                ("can show", f"a difference of {self.detectable:.3f} in {next(iter(self.objectives))}, in four of five "
                             "cases, where the scores of a prompt under two settings differ with a standard deviation "
                             "of 0.5")
            )  # fmt: skip
        return told


def _settings(engine: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in engine.items()) or "as set"


def most_requests(space: Space, *, trials: int, repeats: int) -> int:
    """How often `trials` points of the space ask each prompt at most: those that sample, `repeats` times."""
    points = space.points()
    if points is None:
        return trials * repeats
    return sum(sorted((space.settings(point).repeats(repeats) for point in points), reverse=True)[:trials])


def most_tokens(space: Space, base: TrialSettings) -> int:
    """Tokens that one request may bring at most, of all that the space tries and the baseline."""
    own = Decoding.parse(base.decoding)
    return max(own.max_tokens, _most(space, "max_tokens")) * max(own.n, _most(space, "n"))


def _most(space: Space, name: str) -> int:
    """The greatest value of a field that the space tries, 0 of one that it does not."""
    tried = space.dimensions.get(name)
    if isinstance(tried, Range):
        return int(tried.high)
    return max(tried.values) if tried else 0
