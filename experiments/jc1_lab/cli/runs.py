"""`jc1 runs`: sweeps that were made, seen, compared and written as one HTML file.

Knows how arguments become calls and how results are printed. Where results lie is jc1_lab.runs'.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jc1.cli.options import Home, Json, lab, print_json, print_table, settings_of

app = typer.Typer(help="See and compare what sweeps found.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="RUN", help="A sweep's name, or the id of an MLflow run.")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Names of sweeps, or ids of MLflow runs.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as one self-contained HTML file.")]


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List the sweeps, newest first."""
    from dataclasses import asdict

    with lab():
        from jc1_lab.runs import list_runs

        listing = list_runs(settings_of(home=home))
    if listing.problem:
        print(f"jc1: {listing.problem}", file=sys.stderr)
    if as_json:
        print_json([asdict(sweep) | {"folder": sweep.folder and str(sweep.folder)} for sweep in listing.sweeps])
        return
    rows = [[s.name, s.created[:16].replace("T", " "), s.status, str(s.trials), s.found] for s in listing.sweeps]
    if rows:
        print_table(["name", "when (UTC)", "status", "trials", "found"], rows)
    else:
        print("No sweep yet: `jc1 sweep` makes one.")


@app.command()
def show(run: Run, html: Html = None, home: Home = None, as_json: Json = False) -> None:
    """Show what a sweep found: the winner, and every trial beside the baseline."""
    with lab():
        from jc1_lab.plots import style
        from jc1_lab.runs import find, texts
        from jc1_lab.sinks import report

        settings = settings_of(home=home)
        result = find(run, settings)
        if html:
            _write(html, report.html(result, texts(result, settings)))
        if as_json:
            print_json(result.model_dump(mode="json"))
            return
        print(report.headline(result))
        rows = [
            [
                str(trial.number),
                result.baseline_name if trial.number == 0 else trial.label,
                report.interval_text(trial.metrics.get(result.primary)),
                style.signed(between.difference) if (between := trial.comparison) else "",
                trial.comparison.verdict if trial.comparison else "",
                "" if trial.state == "measured" else f"{trial.state}: {trial.reason}",
            ]
            for trial in report.ordered(result)
        ]
    print_table(["trial", "settings", f"{result.primary} (95 %)", "difference", "verdict", ""], rows)
    print(f"{len(result.suite.search)} prompts of {result.suite.name}.")
    if result.mde is not None:
        print(f"Differences of {result.primary} under {result.mde:.2f} are likely to stay unseen.")


@app.command()
def compare(runs: Runs, html: Html = None, home: Home = None, as_json: Json = False) -> None:
    """Put sweeps side by side: winner and baseline of each."""
    with lab():
        from jc1_lab.plots.sweeps import last_measured
        from jc1_lab.runs import find
        from jc1_lab.sinks import report

        settings = settings_of(home=home)
        results = [find(run, settings) for run in runs]
        if html:
            _write(html, report.comparison(results))
        if as_json:
            print_json([report.summary(result) for result in results])
            return
        rows = []
        for result in results:
            best = None if result.winner is None else result.trial(result.winner)
            baseline, won, where = last_measured(result)
            rows.append(
                [
                    result.name,
                    f"{result.suite.name} {result.suite.digest[:8]}",
                    report.interval_text(baseline),
                    f"#{best.number} {best.label}" if best else "",
                    report.interval_text(won),
                    where,
                    result.verified.comparison.verdict if result.verified else "",
                ]
            )
    print_table(["sweep", "suite", "baseline", "winner", "score (95 %)", "on", "verdict"], rows)
    if len({result.suite.digest for result in results}) > 1:
        print("These sweeps asked different prompts: compare differences to each baseline, not scores.")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.", param_hint="--html") from None
    print(f"written: {file}", file=sys.stderr)
