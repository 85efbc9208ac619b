"""Scoring: each metric's formula on replies whose value is known, scorers from outside, and what is refused."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.engines.base import TokenLogprob
from jc1.errors import InvalidSuite
from jc1.messages import Message
from jc1.reply import Choice, Reply
from jc1.trace import Trace, Usage
from jc1_lab.records.items import Item, Suite
from jc1_lab.scoring import texts as text_scores
from jc1_lab.scoring.custom import installed
from jc1_lab.scoring.metrics import METRICS, SCORERS
from jc1_lab.scoring.scoring import Scoring, create_scoring, unavailable_reason
from jc1_lab.suites.suite import load

DOCS = Path(__file__).parents[3] / "docs"
OWN = "jc1_test_scorers"


def item(*references: str, scorer: str = "exact", **more: Any) -> Item:
    return Item("q", (Message.user("What?"),), references, scorer, **more)


def reply(text: str, *more: str, **trace: Any) -> Reply:
    choices = tuple(Choice(i, said, "stop") for i, said in enumerate((text, *more)))
    return Reply(choices, Trace("o", usage=Usage(7, 12), **trace))


def scoring(of: Item, *names: str) -> Scoring:
    return create_scoring(names, Suite.of("mine", [of], {}))


def score(text: str, of: Item, *names: str) -> float:
    return scoring(of, *names).reply(of, reply(text))["score"]


@pytest.mark.parametrize(
    ("scorer", "text", "reference", "value"),
    [
        ("exact", "  Your CAT is\ncalled Ada!", "your cat is called ada", 1),
        ("exact", "ﬁne “café”", "fine cafe\u0301", 1),
        ("exact", "A", "The", 0),
        ("exact", "-5", "5", 0),
        ("exact", "\N{MINUS SIGN}5", "-5.", 1),
        ("exact", "3.5", "35", 0),
        ("exact", "at 15:30.", "at 15:30", 1),
        ("exact", "C++", "C", 0),
        ("exact", "?", "!", 0),
        ("contains", "Your cat is called Ada.", "ada", 1),
        ("contains", "Your cat is called Adam.", "Ada", 0),
        ("contains", "It is 123-456", "123-456", 1),
        ("contains", "yes?", "?", 1),
        ("f1", "the cat sat", "a cat", 2 / 3),
        ("f1", "The, Cat.", "cat", 1),
        ("f1", "dog", "cat", 0),
        ("number", "16 - 3 - 4 = 9, so 9 * 2 = $18.", "18", 1),
        ("number", "#### 1,450,000", "1450000", 1),
        ("number", "It is 18.0", "18", 1),
        ("number", "Either 3,4 or 5", "5", 1),
        ("number", "12-3", "3", 1),
        ("number", "about -$10", "-10", 1),
        ("number", "just .5", "0.5", 1),
        ("number", "well...5", "5", 1),
        ("number", "1,0000", "10000", 0),
        ("number", "none", "5", 0),
        ("json", ' {"a": [1, null]}\n', "", 1),
        ("json", 'Here: {"a": 1}', "", 0),
        ("json", "NaN", "", 0),
        ("json", "[" * 100_000, "", 0),
    ],
)
def test_a_reply_is_scored_by_the_scorer_of_its_prompt(scorer: str, text: str, reference: str, value: float) -> None:
    of = item(*[reference] if reference else [], scorer=scorer)
    assert score(text, of) == pytest.approx(value)


def test_the_best_of_several_references_counts_and_the_first_of_several_choices_is_scored() -> None:
    of = item("dog", "Ada", scorer="contains")
    assert scoring(of).reply(of, reply("It is Ada.", "wrong"))["score"] == 1
    assert scoring(of).reply(of, reply("wrong", "It is Ada."))["score"] == 0


def test_a_prompt_to_which_no_answer_is_right_has_metrics_and_no_score() -> None:
    of = item(scorer="none")
    found = scoring(of).reply(of, reply("a b c d a b c d"))
    assert found == {"repetition": pytest.approx(0.2), "prompt_tokens": 7, "output_tokens": 12}
    with pytest.raises(InvalidSuite, match="No prompt of mine has a right answer, so there is no 'score'"):
        scoring(of, "score")


def test_recall_is_the_share_of_evidence_that_reached_the_prompt() -> None:
    of = item("x", evidence=frozenset({("s", 1), ("s", 2), ("t", 1), ("t", 2)}))
    recalled = [{"id": str(i), "session": s, "turn": n} for i, (s, n) in enumerate([("s", 1), ("s", 2), ("u", 1)])]
    assert scoring(of).reply(of, reply("x", recalled=recalled))["recall"] == 0.5
    assert scoring(of).reply(of, reply("x", recalled=recalled, dropped_memories=("1",)))["recall"] == 0.25
    assert scoring(of).reply(of, reply("x"))["recall"] == 0
    assert "recall" not in scoring(item("x")).reply(item("x"), reply("x", recalled=recalled))


def test_logprobs_are_needed_only_when_they_are_asked_for() -> None:
    of = item("x")
    assert not scoring(of, "score", "f1").needs_logprobs
    asked = scoring(of, "perplexity", "logprob")
    assert asked.needs_logprobs
    tokens = tuple(TokenLogprob(1, "a", p) for p in (-1.0, -3.0))
    found = asked.reply(of, Reply((Choice(0, "x", "stop", (1, 2), tokens),), Trace("o")))
    assert (found["logprob"], found["perplexity"]) == (-2, pytest.approx(math.exp(2)))
    assert found["output_tokens"] == 2
    assert not {"logprob", "perplexity"} & asked.reply(of, reply("x")).keys()
    impossible = Reply((Choice(0, "x", "stop", (1,), (TokenLogprob(1, "a", -9999.0),)),), Trace("o"))
    assert "perplexity" not in asked.reply(of, impossible)


def test_accepted_length_is_there_where_the_engine_speculated() -> None:
    of = item("x")
    figures = {"fired": True, "mean_accepted_length": 2.5}
    assert scoring(of).reply(of, reply("x", speculation=figures))["accepted_length"] == 2.5
    assert "accepted_length" not in scoring(of).reply(of, reply("x", speculation={"mean_accepted_length": None}))


def test_a_request_that_failed_has_the_worst_quality_and_no_other_metric() -> None:
    asked = item("Ada", scorer="contains")
    assert scoring(asked, "f1", "number", "perplexity").failed(asked) == {"score": 0, "f1": 0, "number": 0}
    free = item(scorer="none", evidence=frozenset({("s", 1)}))
    assert scoring(free, "json").failed(free) == {"json": 0, "recall": 0}


def test_replies_to_one_prompt_are_compared() -> None:
    of = item("x")
    one = scoring(of)
    same = one.replies(of, ["a cat sat", "A cat sat."])
    assert same == {"distinct_1": 0.5, "distinct_2": 0.5, "self_similarity": 1}
    other = one.replies(of, ["a cat", "a dog"])
    assert other == {"distinct_1": 0.75, "distinct_2": 1, "self_similarity": 0.5}
    assert one.replies(of, ["hello"]) == {"distinct_1": 1}
    assert one.replies(of, ["", ""]) == {"self_similarity": 1}


texts = st.lists(st.text(alphabet="ab c.,-5", max_size=12), min_size=2, max_size=5)


@given(texts, st.randoms(use_true_random=False))
def test_metrics_of_texts_stay_in_range_and_mind_no_order(said: list[str], rng: Any) -> None:
    shuffled = [*said]
    rng.shuffle(shuffled)
    for metric in METRICS.values():
        if metric.of == "prompt":
            value = metric.measure(said)
            assert value is None or 0 <= value <= 1 + 1e-9
            assert metric.measure(shuffled) == (None if value is None else pytest.approx(value))
        if metric.of == "text":
            assert 0 <= (metric.measure(said[0], said[1:]) or 0) <= 1
            assert metric.measure(said[0], said[1:]) == metric.measure(said[0], said[:0:-1])
    assert 0 <= text_scores.repetition(" ".join(said)) <= 1


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=3))
def test_a_reply_that_is_a_reference_is_right_whatever_the_other_references(text: str, others: list[str]) -> None:
    for measure in (text_scores.exact, text_scores.contains, text_scores.f1):
        assert measure(text, [*others, text]) == 1


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2))
def test_a_number_is_read_back_with_or_without_commas(value: Any) -> None:
    assert text_scores.number_in(f"So 1 and {value}") == value
    assert text_scores.number_in(f"So 1 and {value:,}.") == value


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """A module of scorers in the working folder of the test."""
    path = tmp_path / "work" / f"{OWN}.py"
    path.write_text(
        """
import mlflow
from mlflow.entities import AssessmentError, Feedback
from mlflow.genai import scorer

calls = []

def half(text, references):
    calls.append(text)
    return 0.5

def of_reply(item, reply):
    return item.id == "q" and reply.trace.usage.prompt_tokens == 7

def fussy(text, references):
    if text == "bad":
        raise RuntimeError("no")
    return 1

def returns(text, references):
    return {"nan": float("nan"), "two": 2, "words": "quite good", "nothing": None}[text]

def one_argument(text): return 1
async def later(text, references): return 1

@scorer
def matches(inputs, outputs, expectations):
    asked = inputs["messages"][-1]
    return Feedback(value=asked["role"] == "user" and outputs == expectations["expected_response"])

@scorer
def rated(outputs): return Feedback(value=outputs)

@scorer
def single(outputs): return [Feedback(value=0.25)]

@scorer
def lost(outputs):
    return None if outputs == "none" else Feedback(error=AssessmentError(error_code="LOST"))

@scorer
def traced(trace): return 1

long = mlflow.genai.scorers.ResponseLength(max_length=3, unit="words")
""",
        encoding="utf-8",
    )
    before = [*sys.path]
    yield path
    sys.path[:] = before
    sys.modules.pop(OWN, None)


def own(name: str) -> Item:
    return item("Ada", scorer=f"{OWN}:{name}")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("half", "x", 0.5),
        ("of_reply", "x", 1),
        ("matches", "Ada", 1),
        ("matches", "Bob", 0),
        ("rated", "yes", 1),
        ("rated", "no", 0),
        ("single", "x", 0.25),
        ("long", "one two", 1),
        ("long", "one two three four", 0),
    ],
)
def test_a_function_or_a_scorer_of_mlflow_scores_a_reply(module: Path, name: str, text: str, value: float) -> None:
    of = own(name)
    found = scoring(of, of.scorer).reply(of, reply(text))
    assert (found["score"], found[of.scorer]) == (value, value)


def test_a_scorer_from_outside_is_called_once_for_a_reply_and_may_be_a_metric_alone(module: Path) -> None:
    of = own("half")
    scoring(of, of.scorer).reply(of, reply("once"))
    assert sys.modules[OWN].calls == ["once"]
    beside = item("x")
    assert scoring(beside, of.scorer).reply(beside, reply("x"))[of.scorer] == 0.5


def test_a_scorer_that_raises_gives_the_score_0_or_no_metric_and_is_told_once(
    module: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of = own("fussy")
    one = scoring(of, of.scorer)
    with caplog.at_level(logging.WARNING):
        found = [one.reply(of, reply(text)) for text in ("bad", "good", "bad")]
    assert [values["score"] for values in found] == [0, 1, 0]
    assert [of.scorer in values for values in found] == [False, True, False]
    assert len([r for r in caplog.records if r.name == "jc1_lab.scoring.scoring"]) == 1


@pytest.mark.parametrize("text", ["none", "error"])
def test_a_scorer_of_mlflow_without_a_result_counts_as_one_that_raises(module: Path, text: str) -> None:
    of = own("lost")
    one = scoring(of, of.scorer)
    found = one.reply(of, reply(text))
    assert found["score"] == 0
    assert one.raised(found) == [of.scorer]


def test_only_scorers_from_outside_may_block(module: Path) -> None:
    plain = item("x")
    assert not scoring(plain, "f1", "logprob").blocking
    assert scoring(plain, own("half").scorer).blocking


def test_several_threads_may_score_at_once(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    of = own("fussy")
    one = scoring(of, of.scorer, "f1")
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: one.reply(of, reply("bad" if i % 2 else "good")), range(400)))
    assert [values["score"] for values in found] == [1, 0] * 200
    assert sum(len(one.raised(values)) for values in found) == 200


@pytest.mark.parametrize(
    ("name", "decoding", "repeats", "reason"),
    [
        ("distinct_2", {}, 1, "'distinct_2' compares several replies"),
        ("distinct_2", {"temperature": 0.7}, 3, ""),
        ("self_similarity", {"beam_width": 4, "n": 2}, 1, ""),
        ("self_similarity", {"beam_width": 4}, 1, "'self_similarity' compares several replies"),
        ("perplexity", {"beam_width": 4}, 1, "'perplexity' needs logprobs, and beam search reports none"),
        ("perplexity", {}, 1, ""),
        ("score", {}, 1, ""),
        ("module:function", {}, 1, ""),
    ],
)
def test_a_metric_that_settings_cannot_have_is_known_beforehand(
    name: str, decoding: dict[str, Any], repeats: int, reason: str
) -> None:
    found = unavailable_reason(name, Decoding.parse(decoding), repeats=repeats)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(("text", "said"), [("nan", "nan"), ("words", "'quite good'"), ("nothing", "None")])
def test_a_scorer_that_returns_no_finite_number_is_an_error_that_names_it(module: Path, text: str, said: str) -> None:
    of = own("returns")
    with pytest.raises(InvalidSuite, match=rf"{OWN}:returns' gave the prompt 'q' {said}: it must return a finite"):
        score(text, of, of.scorer)


def test_a_score_is_0_to_1_while_another_metric_may_be_any_number(module: Path) -> None:
    of = own("returns")
    with pytest.raises(InvalidSuite, match="gave the prompt 'q' 2: a score is 0 to 1"):
        score("two", of, of.scorer)
    beside = item("x")
    assert scoring(beside, of.scorer).reply(beside, reply("two"))[of.scorer] == 2


def test_a_file_of_prompts_alone_runs_no_code(module: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "What?", "scorer": f"{OWN}:half"}))
    suite = load(str(path))
    with pytest.raises(InvalidSuite, match="name it among the metrics too"):
        create_scoring([], suite)
    assert OWN not in sys.modules
    assert create_scoring([f"{OWN}:half"], suite).reply(suite.items[0], reply("x"))["score"] == 0.5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jc1_no_such_module:f", "no module 'jc1_no_such_module'"),
        (f"{OWN}:absent", "has no 'absent'"),
        (f"{OWN}:one_argument", "does not take two arguments"),
        (f"{OWN}:later", "is no plain function"),
        (f"{OWN}:OWN", "has no 'OWN'"),
        (f"{OWN}:calls", "is no plain function"),
        (f"{OWN}:traced", "needs more of MLflow than expectations, inputs, outputs"),
        ("best", "Unknown metric 'best': known are score, exact, contains"),
        ("recall", "needs evidence, and no prompt of mine has any"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_before_anything_runs(module: Path, name: str, reason: str) -> None:
    with pytest.raises(InvalidSuite, match=re.escape(reason)):
        scoring(item("x"), name)


def test_a_module_that_fails_on_import_is_told_without_its_words(module: Path) -> None:
    module.write_text("raise RuntimeError('secret')")
    with pytest.raises(InvalidSuite, match="its module raised RuntimeError") as error:
        scoring(item("x"), f"{OWN}:half")
    assert "secret" not in error.value.message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "a", "scorer": "best"}, "line 2: unknown scorer 'best': known are exact, contains, f1, number"),
        ({"prompt": "a", "scorer": "f1"}, "line 2: the scorer 'f1' needs references, and there are none"),
        ({"prompt": "a", "reference": "b", "scorer": "number"}, "line 2: the scorer 'number' needs a reference that"),
    ],
)
def test_a_scorer_that_does_not_suit_its_prompt_is_told_with_file_and_line(
    tmp_path: Path, line: dict[str, str], reason: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"prompt": "fine"}, line])))
    with pytest.raises(InvalidSuite, match=re.escape(f"{path}, {reason}")):
        create_scoring([], load(str(path)))


def test_of_many_scorers_that_do_not_suit_ten_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"question": "How much?", "answer": "#### abc"}) + "\n" for _ in range(13)))
    with pytest.raises(InvalidSuite) as error:
        create_scoring([], load(f"gsm8k:{path}"))
    lines = error.value.message.splitlines()
    assert lines[0] == f"{path}, line 1: the scorer 'number' needs a reference that holds a number"
    assert lines[10:] == ["and 3 more prompts"]


def test_prompts_that_python_made_are_checked_too() -> None:
    with pytest.raises(InvalidSuite, match="The prompt 'q' of mine: unknown scorer 'best'"):
        scoring(item("x", scorer="best"))
    with pytest.raises(InvalidSuite, match="the scorer 'f1' needs references"):
        scoring(item(scorer="f1"))
    with pytest.raises(InvalidSuite, match="needs references, and no prompt of mine has any"):
        scoring(item(scorer="none"), "f1")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that brings two scorers, one under a name that JC1 has."""
    site = tmp_path / "site"
    metadata = site / "jc1_test_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "jc1_test_package.py").write_text("def shout(text, references): return text.isupper()\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jc1-test-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[jc1.scorers]\nshout = jc1_test_package:shout\nexact = jc1_test_package:shout\n"
    )
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    yield
    installed.cache_clear()
    sys.modules.pop("jc1_test_package", None)


def test_a_scorer_that_an_installed_package_brings_is_known_by_its_name(package: None, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "What?", "scorer": "shout"}))
    suite = load(str(path))
    one = create_scoring([], suite)  # installing it chose it: the file may name it
    assert [one.reply(suite.items[0], reply(text))["score"] for text in ("YES", "yes")] == [1, 0]
    assert scoring(item("x"), "shout").reply(item("x"), reply("X"))["shout"] == 1
    with pytest.raises(InvalidSuite, match=r"unknown scorer 'best'.*shout"):
        create_scoring([], Suite.of("mine", [item("x", scorer="best")], {}))


def test_a_name_that_jc1_has_cannot_be_taken(package: None) -> None:
    assert score("yes", item("yes")) == 1


def rows(table: str) -> Sequence[tuple[str, ...]]:
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table.splitlines()[2:]]


def test_the_documented_table_of_metrics_is_the_registry() -> None:
    pages = [p.read_text(encoding="utf-8") for p in (DOCS / "suites.md",)]
    found = [t for page in pages for t in re.findall(r"^\| metric \| .*\n(?:\|.*\n)+", page, flags=re.M)]
    assert found
    for table in found:
        told = {name.strip("`"): (about, scores) for name, about, scores in rows(table.rstrip("\n"))}
        assert told == {name: (m.about, "yes" if name in SCORERS else "") for name, m in METRICS.items()}
