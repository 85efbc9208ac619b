"""Scoring: the scorers that prompts and a sweep name, checked against the prompts and put to use.

Knows which scorer suits which prompt and what happens when one fails. Knows nothing about formulas, how replies come
about, means or intervals.

A prompt's own scorer gives its `score`, 0 to 1. Metrics that apply are measured beside it, some always and others when
asked for by name. Of several choices the first is scored. A scorer from outside that raises for one reply gives it the
score 0, or leaves its metric out; that is logged once. One that returns anything but a number, NaN, or a
score outside of 0 to 1 is an error.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jc1.errors import InvalidSuite
from jc1_lab.records.items import NO_SCORER, refuse
from jc1_lab.records.results import SCORE
from jc1_lab.scoring import texts
from jc1_lab.scoring.custom import Measure, find, installed, is_custom, is_path, value_of
from jc1_lab.scoring.metrics import METRICS, SCORERS

if TYPE_CHECKING:
    from jc1.decoding import Decoding
    from jc1.reply import Reply
    from jc1_lab.records.items import Item, Suite

log = logging.getLogger(__name__)


def create_scoring(names: Sequence[str], suite: Suite) -> Scoring:
    """Return what scores the replies to a suite: every prompt's own scorer, and the metrics `names`, of which `score`
    is one.

    A scorer given as `module:name` that prompts name has to be among `names` too: a file of prompts alone may not
    choose which code runs. One that an installed package brings under a name was chosen by installing it.

    Raises:
        InvalidSuite: A scorer is not known, cannot be imported, or needs what its prompt has not; a metric needs what
            no prompt has.
    """
    refuse([problem for item in suite.items if (problem := _problem(item, suite))], "prompt")
    for name in names:
        _check(name, suite)
    of_prompts = dict.fromkeys(item.scorer for item in suite.items)
    for name in of_prompts:
        if is_path(name) and name not in names:
            raise InvalidSuite(
                f"Prompts of {suite.name} have the scorer {name!r}, which is code of yours or somebody else's: name "
                "it among the metrics too if it may run.",
                param="suite",
            )
    return Scoring(names, {name: find(name) for name in dict.fromkeys([*names, *of_prompts]) if is_custom(name)})


def _problem(item: Item, suite: Suite) -> str:
    try:
        validate_scorer(item)
    except ValueError as error:
        return f"{item.place or f'The prompt {item.id!r} of {suite.name}'}: {error}"
    return ""


def validate_scorer(item: Item) -> None:
    """Raise `ValueError` that tells why the prompt cannot have its scorer; from outside, only the name is checked."""
    scorer = item.scorer
    if scorer == NO_SCORER or is_custom(scorer):
        return
    if scorer not in SCORERS:
        known = ", ".join((*SCORERS, *installed(), NO_SCORER))
        raise ValueError(f"unknown scorer {scorer!r}: known are {known} and module:function")
    needs = METRICS[scorer].needs
    if (needs == "references" and not item.references) or (needs == "evidence" and not item.evidence):
        raise ValueError(f"the scorer {scorer!r} needs {needs}, and there are none")
    if scorer == "number" and all(texts.number_in(reference) is None for reference in item.references):
        raise ValueError("the scorer 'number' needs a reference that holds a number")


def unavailable_reason(name: str, decoding: Decoding, *, repeats: int) -> str:
    """Return why no prompt that is asked `repeats` times with this decoding has the metric; empty where one may."""
    metric = METRICS.get(name)
    if metric and metric.of == "prompt" and repeats * decoding.n == 1:
        return f"{name!r} compares several replies to a prompt, and there is one"
    if metric and metric.needs == "logprobs" and decoding.beam_width > 1:
        return f"{name!r} needs logprobs, and beam search reports none"
    return ""


def _check(name: str, suite: Suite) -> None:
    """Raise `InvalidSuite` unless `name` is a metric that something in the suite has."""
    if name == SCORE:
        if all(item.scorer == NO_SCORER for item in suite.items):
            raise InvalidSuite(
                f"No prompt of {suite.name} has a right answer, so there is no 'score': choose among "
                f"{', '.join(name for name, metric in METRICS.items() if metric.needs in ('', 'logprobs'))}.",
                param="suite",
            )
        return
    if is_custom(name):
        return
    if name not in METRICS:
        known = ", ".join((SCORE, *METRICS, *installed()))
        raise InvalidSuite(f"Unknown metric {name!r}: known are {known} and module:function.", param="metrics")
    needs = METRICS[name].needs
    missing = (needs == "references" and not any(item.references for item in suite.items)) or (
        needs == "evidence" and not any(item.evidence for item in suite.items)
    )
    if missing:
        raise InvalidSuite(
            f"The metric {name!r} needs {needs}, and no prompt of {suite.name} has any: leave it out.", param="metrics"
        )


class Scoring:
    """Scores replies to one suite's prompts; `create_scoring` makes it. Several threads may use it at once, as far as
    the scorers from outside allow that."""

    def __init__(self, names: Iterable[str], custom: dict[str, Measure]) -> None:
        chosen = set(names)
        self._custom = custom
        self._logged: set[str] = set()
        """Scorers from outside that raised before."""
        self._metrics = [name for name, m in METRICS.items() if m.of != "prompt" and (name in chosen or not m.opt_in)]
        self.needs_logprobs = any(METRICS[name].needs == "logprobs" for name in self._metrics)
        """Whether `Decoding.logprobs` is to be 0 or more."""
        self.blocking = bool(custom)
        """Whether `reply` may take long, since code from outside does."""

    def reply(self, item: Item, reply: Reply) -> dict[str, float]:
        """Return `score`, unless no answer is right, and every other metric of one reply that applies.

        Raises `InvalidSuite` naming the scorer whose answer is no number, or no score.
        """
        scores = {name: self._measured(name, item, reply) for name in (*self._metrics, *self._custom)}
        if item.scorer != NO_SCORER:
            value = scores[item.scorer] if item.scorer in scores else self._measured(item.scorer, item, reply)
            scores = {SCORE: self._score(item, value), **scores}
        return {name: value for name, value in scores.items() if value is not None}

    def failed(self, item: Item) -> dict[str, float]:
        """Return the scores of a prompt whose request failed: 0 in `score` and each metric of quality that applies."""
        scores = {} if item.scorer == NO_SCORER else {SCORE: 0.0}
        for name in self._metrics:
            metric = METRICS[name]
            missing = (metric.needs == "references" and not item.references) or (
                metric.needs == "evidence" and not item.evidence
            )
            if metric.quality and not missing:
                scores[name] = 0.0
        return scores

    def raised(self, scores: Mapping[str, float]) -> list[str]:
        """Return the scorers from outside that raised for a reply with these scores: the others gave a number."""
        return [name for name in self._custom if name not in scores]

    def replies(self, item: Item, texts: Sequence[str]) -> dict[str, float]:
        """Return the metrics of several replies to one prompt as a set, over its repeats and choices.

        `texts` is one at least.
        """
        scores = {name: metric.measure(texts) for name, metric in METRICS.items() if metric.of == "prompt"}
        return {name: value for name, value in scores.items() if value is not None}

    def _score(self, item: Item, value: float | None) -> float:
        if value is None:
            return 0.0
        if not 0 <= value <= 1:
            raise InvalidSuite(
                f"The scorer {item.scorer!r} gave the prompt {item.id!r} {value:g}: a score is 0 to 1.", param="scorer"
            )
        return value

    def _measured(self, name: str, item: Item, reply: Reply) -> float | None:
        if name in self._custom:
            return self._measured_by_custom(name, item, reply)
        metric = METRICS[name]
        if metric.needs == "references" and not item.references:
            return None
        return metric.measure(reply.text, item.references) if metric.of == "text" else metric.measure(item, reply)

    def _measured_by_custom(self, name: str, item: Item, reply: Reply) -> float | None:
        try:
            answer = value_of(self._custom[name](item, reply))
        except Exception as error:  # whatever that code raises: one reply must not end a sweep
            if name not in self._logged:
                self._logged.add(name)
                log.warning(
                    "the scorer %s raised for the prompt %s; such a reply has the score 0, or lacks the metric",
                    name,
                    item.id,
                    exc_info=error,
                )
            return None
        if not isinstance(answer, float) or not math.isfinite(answer):
            raise InvalidSuite(
                f"The scorer {name!r} gave the prompt {item.id!r} {answer!r:.80}: it must return a finite number.",
                param="scorer",
            )
        return answer
