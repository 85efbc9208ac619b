"""A made-up sweep as the runner leaves it: a result, and a folder with records and traces.

Knows the shapes only. Figures are drawn from a seed; nothing is measured here.
"""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from jc1.trace import Trace, Usage
from jc1_lab.records.evals import Asked, EvalRecord, Split
from jc1_lab.records.results import (
    SCORE,
    Comparison,
    Interval,
    Latency,
    Load,
    Percentiles,
    SuiteFacts,
    SweepResult,
    Trial,
    Verified,
)
from jc1_lab.records.store import SweepStore
from jc1_lab.records.trials import TrialSettings
from jc1_lab.sinks.mlflow import finish

SYSTEMS = {
    "plain": "You are a helpful assistant.",
    "short": "Answer in one word, taken from the memories.",
}
HOSTILE = "<script>alert('prompt')</script> & what is my cat called?"
"""A prompt that would run where it is not escaped."""
SEARCHED = [f"memory-qa/{number:03d}" for number in range(32)]
HELDOUT = [f"memory-qa/{number:03d}" for number in range(100, 116)]
_POINTS: list[tuple[float, int, str, float]] = [  # temperature, memory.k, system, how good
    (0.0, 8, "plain", 0.70),
    (0.0, 2, "plain", 0.55),
    (0.0, 4, "short", 0.80),
    (0.0, 8, "short", 0.86),
    (0.4, 2, "plain", 0.50),
    (0.4, 4, "plain", 0.66),
    (0.4, 8, "short", 0.80),
    (0.8, 2, "short", 0.52),
    (0.8, 4, "short", 0.62),
    (0.8, 8, "plain", 0.45),
    (1.2, 8, "plain", 0.20),
    (1.2, 2, "short", 0.25),
]
WINNER, STOPPED, REFUSED = 3, (10, 11), 12
_MEMBERS = (0, 2, 3)


def sweep_result(*, name: str = "sober-otter", seed: int = 0, distinct: bool = True, trials: int = 12) -> SweepResult:
    """Return twelve trials of three settings and a refused one, latency of three, and a winner that was measured again.

    `distinct` says whether the winner stands out from the baseline; `trials` over 12 repeats the points at other
    temperatures.
    """
    chance = random.Random(seed)
    points = _POINTS + [(round(0.01 * n, 2), (2, 4, 8)[n % 3], "short", 0.6) for n in range(1, trials - 11)]
    settings = [_settings(temperature, k, SYSTEMS[system]) for temperature, k, system, _ in points]
    measured: list[Trial] = []
    for number, (temperature, k, system, quality) in enumerate(points):
        stopped = number in STOPPED
        asked = SEARCHED[:12] if stopped else SEARCHED
        quality = quality if distinct or number != WINNER else points[0][3] + 0.01
        scores = {item: float(chance.random() < quality) for item in asked}
        tokens = [max(2.0, chance.gauss(8 if system == "short" else 24, 2) + 6 * temperature) for _ in asked]
        spent = [3.0 * k for _ in asked]
        measured.append(
            Trial(
                number=number,
                settings=settings[number],
                label="baseline" if number == 0 else settings[number].label(settings[0]),
                state="stopped" if stopped else "measured",
                reason="behind trial 3 after 12 prompts, beyond doubt" if stopped else "",
                repeats=3 if temperature else 1,
                prompts=len(asked),
                failed=1 if number == 9 else 0,
                metrics={
                    SCORE: _interval(list(scores.values())),
                    "output_tokens": _interval(tokens),
                    "recall": _interval(spent),
                },
                categories={"names": fmean(scores.values()), "places": 0.5},
                scores=scores,
                comparison=_comparison(scores, measured[0].scores, fixed=distinct) if number else None,
                pareto=number in _MEMBERS,
                latency=_latencies(k, temperature, system) if number in _MEMBERS else [],
                acceptance=[0.81, 0.62, 0.44, 0.3] if number == WINNER else [0.7, 0.45, 0.2] if number == 2 else [],
            )
        )
    measured.append(
        Trial(
            number=len(points),
            settings=TrialSettings(decoding={"temperature": 0.4, "min_p": 0.1}),
            label="temperature=0.4 min_p=0.1",
            state="refused",
            reason="The vllm engine cannot honour 'min_p': start it without speculation.",
        )
    )
    return SweepResult(
        name=name,
        created="2026-11-24T04:00:00+00:00",
        finished="2026-11-24T04:07:30+00:00",
        baseline_name="default@0",
        suite=SuiteFacts(name="memory-qa", source="memory-qa", digest="ab" * 32, search=SEARCHED, heldout=HELDOUT),
        space={
            "dimensions": {"temperature": [0, 0.4, 0.8, 1.2], "retrieval.k": [2, 4, 8], "system": list(SYSTEMS)},
            "objectives": {SCORE: "max", "output_tokens": "min"},
        },
        search={"kind": "grid", "trials": len(measured), "seed": 7, "repeats": 3},
        objectives={SCORE: "max", "output_tokens": "min"},
        trials=measured,
        winner=WINNER,
        verified=_verified(measured, chance, distinct=distinct),
        mde=0.17,
        rows=sum(trial.prompts * trial.repeats for trial in measured),
        settings={"model": "jc1-tiny", "engine": "vllm", "seed": 7, "memory_k": 8, "speculation": "ngram"},
        machine={"processor": "x86-64, 2 cores", "memory_gib": 24, "gpus": []},
        versions={"jc1": "0.1.0", "vllm": "0.32.0", "torch": "2.13.0", "mlflow": "3.17.2"},
        revision="0123456789abcdef",
        seconds={"quality": 182.0, "latency": 210.5, "heldout": 44.2},
        notes=["2 trials were stopped early: they could no longer reach the leader."],
    )


def write_folder(result: SweepResult, folder: Path, *, traces: int = 6) -> Path:
    """Write the folder of that sweep: `result.json` and its store. Return `folder`."""
    with SweepStore(folder) as store:
        store.put_prompts({item: Asked(HOSTILE, ("Ada",)) for item in (*SEARCHED, *HELDOUT)})
        for record in _records(result):
            store.add(record)
        for index in range(traces):
            store.add_trace(index, _trace(index, result.trials[index]))
    result.write(folder)
    return folder


def log(result: SweepResult, folder: Path, uri: str) -> str:
    """Write the sweep in `folder` to MLflow. Return the run's id."""
    with SweepStore(folder, read_only=True) as store:
        return finish(result, store, uri)


def _settings(temperature: float, k: int, system: str) -> TrialSettings:
    decoding = {"temperature": temperature} if temperature else {}
    return TrialSettings(decoding=decoding, system=system, retrieval={"k": k}, engine={"dtype": "bfloat16"})


def _interval(values: list[float]) -> Interval:
    mean, half = fmean(values), 1.96 * (stdev(values) if len(values) > 1 else 0.0) / len(values) ** 0.5
    return Interval(mean=mean, low=mean - half, high=mean + half, prompts=len(values))


def _comparison(scores: dict[str, float], baseline: dict[str, float], *, fixed: bool) -> Comparison:
    between = _interval([scores[item] - baseline[item] for item in scores])
    clear = fixed and (between.low > 0 or between.high < 0)
    return Comparison(
        difference=between.mean,
        low=between.low,
        high=between.high,
        p=0.002 if clear else 0.4,
        p_adjusted=0.02 if clear else 1.0,
        verdict=("better" if between.mean > 0 else "worse") if clear else "not distinguishable",
        prompts=between.prompts,
        mde=0.17,
    )


def _verified(trials: list[Trial], chance: random.Random, *, distinct: bool) -> Verified:
    baseline = {item: float(index % 2) for index, item in enumerate(HELDOUT)}
    won = {item: 1.0 if distinct and index % 4 else baseline[item] for index, item in enumerate(HELDOUT)}
    return Verified(
        trial=WINNER,
        search=trials[WINNER].metrics[SCORE],
        heldout=_interval(list(won.values())),
        baseline=_interval(list(baseline.values())),
        comparison=_comparison(won, baseline, fixed=distinct),
        scores=won,
        baseline_scores=baseline,
    )


def _latencies(k: int, temperature: float, system: str) -> list[Latency]:
    measured = []
    for concurrency in (1, 4):
        slow = (0.11 if system == "short" else 0.26) * (1 + 0.35 * (concurrency - 1)) + 0.002 * k
        stages = {
            "tokenize": 0.0004,
            "embed": 0.0021,
            "recall": 0.0012,
            "prompt": 0.0006,
            "queue": 0.001 * concurrency,
            "prefill": 0.02 + 0.002 * k,
            "decode": slow - 0.03,
        }
        measured.append(
            Latency(
                load=Load(concurrency=concurrency),
                requests=48,
                blocks=4,
                seconds=20.0,
                ttft=Percentiles(p50=0.03 + 0.002 * k, p90=0.05, p99=0.08),
                tpot=Percentiles(p50=0.009, p90=0.011, p99=0.015),
                total=Percentiles(p50=slow, p90=slow * 1.3, p99=slow * 1.8),
                tokens_per_second=110.0 * concurrency,
                requests_per_second=concurrency / slow,
                stages=stages,
            )
        )
    return measured


def _records(result: SweepResult) -> list[EvalRecord]:
    records: list[EvalRecord] = []
    for trial in result.trials:
        for item, score in trial.scores.items():
            records += [_record(trial.number, "search", item, repeat, score) for repeat in range(trial.repeats)]
    if result.verified:
        for number, scores in ((0, result.verified.baseline_scores), (WINNER, result.verified.scores)):
            records += [_record(number, "heldout", item, 0, score) for item, score in scores.items()]
    return records


def _record(number: int, split: Split, item: str, repeat: int, score: float) -> EvalRecord:
    text = "Your cat is called <b>Ada</b>." if score else "I was not told & cannot know."
    return EvalRecord(
        number,
        split,
        item,
        repeat,
        seed=7 + repeat,
        finish_reason="stop",
        texts=(text,),
        scores={SCORE: score, "output_tokens": float(len(text.split()))},
    )


def _trace(index: int, trial: Trial) -> dict[str, Any]:
    trace = Trace(owner="local", model="jc1-tiny", engine="vllm", id=f"tr_{index:032x}")
    start = 0.0
    for stage, seconds in {"tokenize": 0.0004, "recall": 0.0012, "prefill": 0.036, "decode": 0.2}.items():
        trace.add(stage, start, seconds)
        start += seconds
    trace.outcome, trace.finish_reason, trace.total = "ok", "stop", start
    trace.usage = Usage(40, 12)
    prompt = HOSTILE if index == 0 else f"Question {index}?"
    return {
        **trace.to_dict(),
        "trial": trial.number,
        "item": HELDOUT[2 + 4 * index] if index < 3 else SEARCHED[index % len(SEARCHED)],
        "prompt": prompt,
        "text": f"Answer {index}.",
    }
