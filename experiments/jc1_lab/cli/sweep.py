"""`jc1 sweep`: try settings on prompts, and confirm the best on held-out ones.

Knows how arguments become a sweep and how its result is printed. Knows nothing about how it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jc1 import interrupts
from jc1.cli.options import Flags, Json, lab, print_json, print_table, settings_of, with_engine

SHOWN = 20
"""Trials that are listed at most, best first."""
HOW = "How it runs"
TIMING = "Timing of the best"


@with_engine
def sweep(
    flags: Flags,
    space: Annotated[Path, typer.Argument(help="YAML file with the settings to try; docs/lab.md shows one.")],
    suite: Annotated[
        str, typer.Option(help="memory-qa, a JSONL file, or gsm8k:FILE, spec-bench:FILE, locomo:FILE.")
    ] = "memory-qa",
    name: Annotated[str | None, typer.Option(help="Name of the sweep.", show_default="the file's")] = None,
    trials: Annotated[int | None, typer.Option(help="Points to try at most.", show_default="all, or 32")] = None,
    search: Annotated[
        str | None, typer.Option(help="grid, random or tpe.", show_default="grid, or random where there is no end")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Answers to each prompt, where they are sampled.")] = 3,
    holdout: Annotated[float, typer.Option(help="Share of the prompts held out to evaluate the winner.")] = 0.3,
    limit: Annotated[int | None, typer.Option(help="Prompts to take of the suite, at random.")] = None,
    seed: Annotated[int, typer.Option(help="Draws prompts, points and seeds.")] = 0,
    scorer: Annotated[list[str] | None, typer.Option(help="Another metric to compute; more than once.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Preset to compare with.", show_default="champion, else default")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whose own memory is read by prompts that bring none.", show_default="nobody's")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was left.", rich_help_panel=HOW)] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it can show.", rich_help_panel=HOW)
    ] = False,
    racing: Annotated[bool, typer.Option(help="Stop early the trials that fall behind.", rich_help_panel=HOW)] = True,
    tracking: Annotated[bool, typer.Option(help="Write the sweep to MLflow.", rich_help_panel=HOW)] = True,
    concurrency: Annotated[
        list[int] | None,
        typer.Option(help="Requests at a time; more than once, 0 for none.", show_default="4", rich_help_panel=TIMING),
    ] = None,
    rate: Annotated[
        list[float] | None, typer.Option(help="Arrivals a second; more than once.", rich_help_panel=TIMING)
    ] = None,
    ttft: Annotated[
        float | None, typer.Option(help="Goodput wants the first token within these seconds.", rich_help_panel=TIMING)
    ] = None,
    tpot: Annotated[
        float | None, typer.Option(help="... and each further one within these.", rich_help_panel=TIMING)
    ] = None,
    as_json: Json = False,
) -> None:
    """Try settings on prompts, confirm the best on held-out ones, and time it."""
    settings = settings_of(**flags)
    with lab():
        from jc1_lab import Load, Objective, Sweep

        loads = [Load(concurrency=n) for n in ((4,) if concurrency is None and not rate else concurrency or ()) if n]
        loads += [Load(rate=per_second) for per_second in rate or ()]
        chosen = Sweep(
            space,
            suite=suite,
            name=name,
            trials=trials,
            search=search,
            repeats=repeats,
            holdout=holdout,
            limit=limit,
            seed=seed,
            scorers=scorer or (),
            baseline=baseline,
            owner=owner,
            racing=racing,
            loads=loads,
            objective=Objective(ttft=ttft, tpot=tpot) if ttft or tpot else None,
            settings=settings,
        )
    if dry_run:
        _print_plan(chosen.plan, as_json)
        return
    if not as_json:
        _print_plan(chosen.plan, as_json)
    with lab():
        from jc1_lab import run_sweep
    with interrupts.soon("jc1: stopped; what was answered is kept. Go on with the same command and --resume."):
        result = run_sweep(chosen, resume=resume, progress=sys.stderr.isatty() or not as_json, tracked=tracking)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        _print_result(result, chosen.folder)


def _print_plan(plan: Any, as_json: bool) -> None:
    if as_json:
        print_json(plan.model_dump(mode="json"))
        return
    width = max(len(name) for name, _ in plan.lines())
    for name, content in plan.lines():
        print(f"{name:<{width}}  {content}")


def _print_result(result: Any, folder: Path) -> None:
    from jc1_lab.sinks.report import headline

    metric, direction = next(iter(result.objectives.items()))
    measured = sorted(
        (t for t in result.trials if metric in t.metrics),
        key=lambda t: t.metrics[metric].mean,
        reverse=direction == "max",
    )
    rows = [_row(trial, metric, result) for trial in measured[:SHOWN]]
    print()
    print_table(["trial", "settings", metric, "95 %", "against the baseline", ""], rows)
    if len(measured) > SHOWN:
        print(f"and {len(measured) - SHOWN} more in the report")
    for note in result.notes:
        print(note)
    print(headline(result))
    print(f"Report: {folder / 'report.html'}")
    if result.winner is not None:
        print(f"Next: jc1 promote {result.name}")


def _row(trial: Any, metric: str, result: Any) -> list[str]:
    score: Any = trial.metrics[metric]
    compared = trial.comparison
    against = (
        f"{compared.difference:+.3f} ({compared.low:+.3f} to {compared.high:+.3f}), {compared.verdict}"
        if compared
        else ""
    )
    mark = (
        "winner"
        if trial.number == result.winner
        else "baseline"
        if trial.number == 0
        else trial.state
        if trial.state != "measured"
        else ""
    )
    return [str(trial.number), trial.label, f"{score.mean:.3f}", f"{score.low:.3f} to {score.high:.3f}", against, mark]
