"""The report as a reader opens it: one file in a real browser that asks nobody and says what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jc1_lab.plots import style
from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.results import SCORE
from jc1_lab.records.store import SweepStore
from jc1_lab.sinks import report
from jc1_lab.sinks.texts import Texts
from tests.support.sweep_results import HOSTILE, WINNER, sweep_result, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Figures follow the window a moment later. The page forbids what `wait_for_function` does, to evaluate a string.
UNTIL_IT_FITS = """async width => {
  while (document.documentElement.scrollWidth !== width) await new Promise(requestAnimationFrame);
}"""
Show = Callable[..., "Page"]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens a document from its file. One that asked for anything else, threw or complained fails the test."""
    wrong: list[str] = []

    def opened(text: str) -> Page:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        page = browser.new_context().new_page()
        page.on("request", lambda it: it.url.startswith((file.as_uri(), "data:")) or wrong.append(f"asks {it.url}"))
        page.on("pageerror", lambda error: wrong.append(f"threw {error}"))
        page.on("console", lambda it: it.type not in ("error", "warning") or wrong.append(f"wrote {it.text}"))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    folder = write_folder(sweep_result(), tmp_path_factory.mktemp("report") / "sweep")
    with SweepStore(folder, read_only=True) as store:
        return Texts.of(store)


@pytest.fixture(scope="module")
def document(texts: Texts) -> str:
    return report.html(sweep_result(), texts)


def test_it_tells_the_finding_draws_every_figure_and_asks_nobody(show: Show, document: str) -> None:
    page = show(document)
    assert page.title() == "sober-otter: sweep over memory-qa"
    heading = page.locator("h1").inner_text()
    assert "is better than the baseline: 0.75 against 0.50 on held-out prompts" in heading
    assert page.locator(".figure .main-svg").count() >= 7
    assert page.locator(".figure").count() == 7
    rows = page.locator("table").first.locator("tbody tr")
    assert rows.count() == 13
    assert "winner" in rows.nth(0).inner_text()
    assert "stopped early: behind trial 3" in rows.nth(10).inner_text()
    assert "cannot honour 'min_p'" in rows.nth(12).inner_text()
    told = page.locator("dl.list").inner_text()
    for fact in ("ab" * 32, "0123456789abcdef", "vllm 0.32.0", "seed 7", "x86-64, 2 cores"):
        assert fact in told


def test_prompts_on_which_winner_and_baseline_part_are_quoted_as_text(show: Show, document: str) -> None:
    page = show(document)
    assert page.locator(".pair").count() == 4
    first = page.locator(".pair").first.inner_text()
    assert "I was not told & cannot know." in first
    assert "Your cat is called <b>Ada</b>." in first
    assert page.locator(".ask").first.inner_text() == HOSTILE


def test_of_several_replies_the_one_nearest_their_mean_is_quoted_with_its_own_score() -> None:
    result = sweep_result()
    assert result.verified
    asked = result.suite.heldout[0]
    scores = {item: 1 / 3 if item == asked else score for item, score in result.verified.baseline_scores.items()}
    replies = [
        EvalRecord(0, "heldout", asked, n, texts=(f"reply {n}",), scores={SCORE: float(n == 0)}) for n in range(3)
    ]
    won = EvalRecord(WINNER, "heldout", asked, 0, texts=("won",), scores={SCORE: 0.0})
    verified = result.verified.model_copy(update={"baseline_scores": scores})
    text = report.html(result.model_copy(update={"verified": verified}), Texts(records=[*replies, won]))
    assert "baseline, score 0.33, the mean of 3 replies; of this one 0<" in text
    assert ">reply 1<" in text
    assert "winner #3, score 0<" in text


def test_it_fits_narrow_and_wide_and_follows_light_and_dark(show: Show, document: str) -> None:
    page = show(document)
    for width in (420, 1280):
        for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(19, 19, 22)")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.evaluate(UNTIL_IT_FITS, width)
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colour


def test_sweeps_are_compared_on_one_page_with_a_warning_where_prompts_differ(show: Show) -> None:
    one, other = sweep_result(), sweep_result(name="calm-heron", distinct=False)
    other = other.model_copy(update={"suite": other.suite.model_copy(update={"digest": "cd" * 32})})
    page = show(report.comparison([one, other]))
    assert page.title() == "Sweeps compared: sober-otter, calm-heron"
    assert "asked different prompts" in page.locator("main").inner_text()
    assert page.locator("#figure-compare .main-svg").first.is_visible()
    assert "asked different prompts" not in report.comparison([one, one])


def test_without_texts_there_is_a_report_all_the_same() -> None:
    text = report.html(sweep_result(), Texts())
    assert "Where winner and baseline part" not in text
    assert "Every trial" in text


def test_plotly_is_inside_once_and_no_text_can_end_a_script(texts: Texts) -> None:
    result = sweep_result().model_copy(update={"notes": [HOSTILE]})
    hostile = [trial.model_copy(update={"label": HOSTILE}) for trial in result.trials]
    text = report.html(result.model_copy(update={"trials": hostile}), texts)
    assert text.count("* plotly.js v") == 1
    assert HOSTILE not in text
    assert text.count("</script>") == text.count("<script") - text.count("'<script") == 3


@pytest.mark.parametrize(
    ("objectives", "heading", "says"),
    [
        ({"score": "max"}, "Score against output tokens", "Up and to the left is better."),
        ({"score": "max", "recall": "max"}, "Score against recall", "Up and to the right is better. The line is the"),
        ({"output_tokens": "min", "score": "max", "recall": "max"}, "Output tokens against score", "Down and to the "
         "right is better. A Pareto member is one that no other trial beats in all 3"),
    ],
)  # fmt: skip
def test_it_says_where_a_good_trial_stands(texts: Texts, objectives: dict[str, str], heading: str, says: str) -> None:
    text = report.html(sweep_result().model_copy(update={"objectives": objectives}), texts)
    assert f"<h2>{heading}</h2>" in text
    assert says in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "Trial #3 (system=Answer in one word, tak…) is better than the baseline: 0.75 against 0.50 on held-out"),
        ({"verified": None}, "0.84 against 0.56 in the search, not yet verified on held-out prompts"),
        ({"winner": None}, "No trial was compared with the baseline default@0: none has score."),
        ({"winner": None, "trials": sweep_result().trials[:1]}, "No trial was left beside the baseline default@0"),
    ],
)
def test_the_headline_says_who_won_and_how_sure_that_is(change: dict[str, Any], says: str) -> None:
    assert says in report.headline(sweep_result().model_copy(update=change))


def test_a_winner_that_does_not_stand_out_is_called_so() -> None:
    assert report.headline(sweep_result(distinct=False)).startswith("Not distinguishable from the baseline: trial #3")


def test_differences_carry_a_sign() -> None:
    assert [style.signed(value) for value in (0.25, -0.04, 0.0)] == ["+0.25", "−0.04", "+0.00"]
