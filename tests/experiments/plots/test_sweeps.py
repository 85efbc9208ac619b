"""Each figure shows the figures of the result, with their units, and nothing that was not measured."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from jc1.trace import STAGES
from jc1_lab.plots import style
from jc1_lab.plots import sweeps as plots
from jc1_lab.plots.settings import varied
from jc1_lab.records.results import SCORE, SweepResult
from jc1_lab.records.trials import TrialSettings
from tests.support.sweep_results import REFUSED, STOPPED, WINNER, sweep_result


@pytest.fixture(scope="module")
def result() -> SweepResult:
    return sweep_result()


def by_name(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def untimed(result: SweepResult) -> SweepResult:
    return result.model_copy(update={"trials": [trial.model_copy(update={"latency": []}) for trial in result.trials]})


def test_the_first_objective_stands_against_the_second_for_every_trial(result: SweepResult) -> None:
    figure = plots.pareto(result)
    drawn = by_name(figure)
    best = result.trial(WINNER)
    assert list(drawn["winner"].x) == [best.metrics["output_tokens"].mean]
    assert list(drawn["winner"].y) == [best.metrics[SCORE].mean]
    assert drawn["winner"].error_y.array[0] == pytest.approx(best.metrics[SCORE].high - best.metrics[SCORE].mean)
    assert "median time 126 ms, 1 at a time" in drawn["winner"].customdata[0][2]
    assert figure.layout.xaxis.title.text == "output tokens, mean"
    assert figure.layout.xaxis.range[0] == figure.layout.yaxis.range[0] == 0
    shown = [row[0].split()[0] for trace in figure.data if trace.customdata for row in trace.customdata]
    assert sorted(shown) == sorted(f"#{trial.number}" for trial in result.trials if trial.number != REFUSED)
    assert len(drawn["stopped early"].y) == len(STOPPED)
    assert drawn["stopped early"].opacity < 1


def test_two_objectives_have_a_front_and_one_is_held_against_output_tokens(result: SweepResult) -> None:
    front = by_name(plots.pareto(result))["front"]
    members = sorted((trial for trial in result.trials if trial.pareto), key=lambda t: t.metrics["output_tokens"].mean)
    assert list(front.y) == [trial.metrics[SCORE].mean for trial in members]
    alone = plots.pareto(result.model_copy(update={"objectives": {SCORE: "max"}}))
    assert "front" not in by_name(alone)
    assert alone.layout.xaxis.title.text == "output tokens, mean"
    swapped = plots.pareto(result.model_copy(update={"objectives": {"recall": "min", SCORE: "max"}}))
    assert swapped.layout.xaxis.title.text == "score, mean"
    assert by_name(swapped)["front"].line.shape == "vh"


def test_no_name_covers_another(result: SweepResult) -> None:
    same = result.trial(WINNER).metrics
    trials = [trial.model_copy(update={"metrics": same, "pareto": True}) for trial in result.trials[:-1]]
    figure = plots.pareto(result.model_copy(update={"trials": trials}))
    assert [text for trace in figure.data if trace.text for text in trace.text if text] == ["baseline"]


def test_the_winner_is_shown_in_the_search_held_out_and_beside_the_baseline(result: SweepResult) -> None:
    figure = plots.winner(result)
    assert result.verified
    shown = {trace.y[0]: trace.x[0] for trace in figure.data}
    assert shown == {
        "baseline, search": result.baseline.metrics[SCORE].mean,
        "winner #3, search": result.verified.search.mean,
        "baseline, held out": result.verified.baseline.mean,
        "winner #3, held out": result.verified.heldout.mean,
        "difference, search": pytest.approx(0.28125),
        "difference, held out": result.verified.comparison.difference,
    }
    low, high = figure.layout.xaxis2.range
    assert low == -high


def test_prompts_are_ordered_by_the_baseline_and_differences_are_to_it(result: SweepResult) -> None:
    baseline, others = plots.by_prompt(result).data
    assert list(baseline.z[0]) == sorted(result.baseline.scores.values())
    assert others.y[0] == "winner #3"
    items, row = others.customdata[0], others.z[0]
    best = result.trial(WINNER)
    assert list(row) == [best.scores[item] - result.baseline.scores[item] for item in items]
    stopped = others.z[list(others.y).index(f"#{STOPPED[0]}")]
    assert sum(value is None for value in stopped) == 20


def test_stages_are_in_the_order_of_the_request_path_in_their_colours_and_in_milliseconds(result: SweepResult) -> None:
    figure = plots.waterfall(result)
    names = [bar.name for bar in figure.data]
    assert names == [stage for stage in STAGES if stage in names]
    shades = {bar.name: bar.marker.color for bar in figure.data}
    assert {shades[name] for name in ("prefill", "decode")} == {
        style.see_through(style.STAGE_COLOURS[name], 1) for name in ("prefill", "decode")
    }
    assert shades["tokenize"].rpartition(",")[0] == shades["prompt"].rpartition(",")[0]
    assert len(set(shades.values())) == len(shades)
    assert list(figure.data[0].y) == ["baseline", "winner #3", "#2"]
    decode = figure.data[-1]
    assert decode.x[0] == pytest.approx(result.baseline.latency[0].stages["decode"] * 1000)
    assert figure.layout.xaxis.title.text.endswith("1 at a time (ms)")


def test_acceptance_falls_by_position_in_percent(result: SweepResult) -> None:
    figure = plots.acceptance(result)
    (first, second) = figure.data
    assert (first.name, list(first.x), list(first.y)) == ("winner #3", [1, 2, 3, 4], [81, 62, 44, 30])
    assert list(second.y) == [70, 45, 20]
    assert {note.text for note in figure.layout.annotations} == {"winner #3", "#2"}


def test_lines_of_acceptance_that_end_together_keep_their_labels_apart(result: SweepResult) -> None:
    trials = [trial.model_copy(update={"acceptance": [0.8, 0.5]}) for trial in result.trials[:8]]
    heights = sorted(n.y for n in plots.acceptance(result.model_copy(update={"trials": trials})).layout.annotations)
    assert len(heights) == 8
    assert all(upper - lower > 6 for lower, upper in pairwise(heights))


def test_what_varied_is_found_with_jc1s_defaults_filled_in(result: SweepResult) -> None:
    found = varied(result)
    assert set(found) == {"system", "memory.k", "temperature"}
    assert found["temperature"][0] == 0.0
    assert REFUSED not in found["temperature"]


def test_what_a_trial_left_to_the_sweep_is_as_the_sweep_had_it(result: SweepResult) -> None:
    bare = result.baseline.model_copy(update={"settings": TrialSettings()})
    under = result.settings | {"memory_k": 3, "dtype": "float32"}
    found = varied(result.model_copy(update={"trials": [bare, *result.trials[1:]], "settings": under}))
    assert (found["memory.k"][0], found["memory.k"][1]) == (3.0, 2.0)
    assert (found["engine.dtype"][0], found["engine.dtype"][1]) == ("float32", "bfloat16")


def test_each_line_goes_through_its_settings_down_to_its_score(result: SweepResult) -> None:
    figure = plots.parallel_coordinates(result)
    assert len(figure.data) == len(result.trials) - 1
    last = figure.data[-1]
    assert (last.name, last.x[-1]) == ("winner", result.trial(WINNER).metrics[SCORE].mean)
    assert len(last.x) == len(varied(result)) + 1
    texts = [note.text for note in figure.layout.annotations]
    assert {"<b>temperature</b>", "<b>memory.k</b>", "<b>score</b>", "0.4", "1.2"} <= set(texts)


def test_the_heatmap_takes_the_two_settings_that_explain_most(result: SweepResult) -> None:
    trials = [
        trial.model_copy(update={"metrics": {SCORE: score.model_copy(update={"mean": mean})}})
        for trial in result.trials[:-1]
        for score in [trial.metrics[SCORE]]
        for mean in [0.9 if trial.settings.retrieval["k"] == 8 and "one word" in trial.settings.system else 0.1]
    ]
    figure = plots.heatmap(result.model_copy(update={"trials": trials}))
    assert {figure.layout.xaxis.title.text, figure.layout.yaxis.title.text} == {"memory.k", "system"}
    (cells,) = figure.data
    assert sorted(value for row in cells.z for value in row)[-2:] == pytest.approx([0.1, 0.9])
    assert "<b>0.90</b><br>2 trials" in [note.text for note in figure.layout.annotations]


def test_many_values_of_a_number_become_ranges() -> None:
    figure = plots.heatmap(sweep_result(trials=64))
    assert len(figure.data[0].z[0]) <= 6
    assert any(" to " in label for label in figure.layout.xaxis.ticktext)


def test_only_figures_with_something_to_show_are_drawn(result: SweepResult) -> None:
    assert list(plots.figures(result)) == [
        "winner", "pareto", "parallel_coordinates", "heatmap", "by_prompt", "waterfall", "acceptance",
    ]  # fmt: skip
    alone = result.model_copy(update={"trials": [result.baseline], "winner": None, "verified": None})
    assert list(plots.figures(alone)) == ["pareto", "waterfall"]
    assert "waterfall" not in plots.figures(untimed(result))


def test_sweeps_are_compared_on_held_out_prompts_where_they_were_verified(result: SweepResult) -> None:
    other = sweep_result(name="<b>calm</b>").model_copy(update={"verified": None})
    figure = plots.compare([result, other])
    assert result.verified
    shown = {trace.y[0]: trace.x[0] for trace in figure.data}
    assert shown["sober-otter, winner #3"] == result.verified.heldout.mean
    assert shown["&lt;b&gt;calm&lt;/b&gt;, winner #3, search"] == other.trial(WINNER).metrics[SCORE].mean


@pytest.mark.parametrize("name", ["pareto", "parallel_coordinates", "heatmap", "by_prompt", "waterfall", "winner"])
def test_the_page_shines_through_and_hostile_text_stays_text(result: SweepResult, name: str) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    trials = [
        trial.model_copy(
            update={
                "label": hostile,
                "settings": trial.settings.model_copy(update={"system": f"{hostile[:18]}{trial.number % 2}"}),
                "scores": {hostile + item: score for item, score in trial.scores.items()},
            }
        )
        for trial in result.trials
    ]
    figure = getattr(plots, name)(result.model_copy(update={"trials": trials}))
    look_of = figure.layout.template.layout
    assert look_of.paper_bgcolor == look_of.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.paper_bgcolor is figure.layout.plot_bgcolor is None
    assert "<img" not in figure.to_json().replace("\\u003c", "<")
