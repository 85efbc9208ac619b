"""What of a sweep becomes which field of an MLflow run: metrics, parameters and tables by name.

Knows names that MLflow takes on every system. Knows nothing about runs or how they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.results import SCORE, Comparison, Interval, SweepResult, Trial
from jc1_lab.records.trials import TrialSettings

MAX_NAME = 250
"""Most characters of a name."""
BETWEEN = "\n---\n"
"""What stands between several choices in a table's one text."""


def trial_metrics(trial: Trial) -> dict[str, float]:
    """Return what was measured of a trial."""
    metrics = {"prompts": float(trial.prompts), "failed": float(trial.failed)}
    for name, interval in trial.metrics.items():
        metrics |= _interval(name, interval)
    if trial.comparison:
        metrics |= _comparison("difference", trial.comparison)
    metrics |= {f"category.{name}": mean for name, mean in trial.categories.items()}
    for latency in trial.latency:
        at = f"at {latency.load}".replace(" ", "_")
        for kind in ("ttft", "tpot", "total"):
            if times := getattr(latency, kind):
                metrics |= {f"{kind}_p50.{at}": times.p50, f"{kind}_p99.{at}": times.p99}
        metrics[f"tokens_per_second.{at}"] = latency.tokens_per_second
        metrics[f"requests_per_second.{at}"] = latency.requests_per_second
        if latency.goodput is not None:
            metrics[f"goodput.{at}"] = latency.goodput
    metrics |= {f"acceptance.position_{position}": share for position, share in enumerate(trial.acceptance, 1)}
    return metrics


def sweep_metrics(result: SweepResult) -> dict[str, float]:
    """Return what was found of winner and baseline."""
    metrics = {"trials": float(len(result.trials)), "rows": float(result.rows)}
    if result.mde is not None:
        metrics["mde"] = result.mde
    metrics |= {f"seconds.{phase}": seconds for phase, seconds in result.seconds.items()}
    if result.primary in result.baseline.metrics:
        metrics |= _interval("baseline_search", result.baseline.metrics[result.primary])
    if result.winner is not None and (score := result.trial(result.winner).metrics.get(result.primary)):
        metrics["winner"] = float(result.winner)
        metrics |= _interval("winner_search", score)
    if result.verified:
        metrics |= _interval("winner_heldout", result.verified.heldout)
        metrics |= _interval("baseline_heldout", result.verified.baseline)
        metrics |= _comparison("heldout_difference", result.verified.comparison)
    return metrics


def _interval(name: str, of: Interval) -> dict[str, float]:
    return {name: of.mean, f"{name}_low": of.low, f"{name}_high": of.high}


def _comparison(name: str, of: Comparison) -> dict[str, float]:
    return {
        name: of.difference,
        f"{name}_low": of.low,
        f"{name}_high": of.high,
        f"{name}_p": of.p,
        f"{name}_p_adjusted": of.p_adjusted,
    }


def table(records: Sequence[EvalRecord]) -> str:
    """Return records as MLflow keeps a table: columns once, then values."""
    metrics = sorted({name for record in records for name in record.scores}, key=lambda name: (name != SCORE, name))
    data = [
        [record.item, *(record.scores.get(name) for name in metrics[:1]), BETWEEN.join(record.texts)]
        + [record.scores.get(name) for name in metrics[1:]]
        + [record.outcome, record.split, record.repeat, record.seed]
        for record in records
    ]
    columns = ["item", *metrics[:1], "text", *metrics[1:], "outcome", "split", "repeat", "seed"]
    return as_json({"columns": columns, "data": data})


def records(table: str, trial: int) -> list[EvalRecord]:
    """Return the records that `table` wrote of a trial, several choices as one text."""
    content = json.loads(table)
    columns = ("item", "text", "outcome", "split", "repeat", "seed")
    rows = [dict(zip(content["columns"], values, strict=True)) for values in content["data"]]
    return [
        EvalRecord(
            trial,
            row["split"],
            row["item"],
            row["repeat"],
            row["seed"],
            row["outcome"],
            texts=(row["text"],),
            scores={name: value for name, value in row.items() if name not in columns and value is not None},
        )
        for row in rows
    ]


def parameters(settings: TrialSettings) -> dict[str, Any]:
    """Return what a trial set, by name, its system prompt too."""
    return settings.flat() | {"system": settings.system}


def names(keys: Iterable[str]) -> dict[str, str]:
    """Return what MLflow takes as names, on every system that it runs on, by key; no two keys have the same."""
    names_by_key: dict[str, str] = {}
    for key in keys:
        name = re.sub(r"[^\w\-. ]", "_", key)[:MAX_NAME]
        if name in names_by_key.values():
            name = f"{name[: MAX_NAME - 9]}_{sha256(key.encode()).hexdigest()[:8]}"
        names_by_key[key] = name
    return names_by_key


def text(value: Any) -> str:
    """Return the value as a tag or a parameter holds it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def as_json(value: Any) -> str:
    """Return the value as an artifact holds it."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
