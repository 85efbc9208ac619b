"""Scoring: what a reply is worth, by one table of metrics, and scorers from outside by `module:name`.

Knows names, what each metric needs, and what happens when a scorer fails. Knows nothing about how replies come about,
and leaves means and intervals to jc1_lab.statistics.

A prompt's own scorer gives its `score`, 0 to 1. Metrics that apply are measured beside it, some always and others when
asked for by name. Of several choices the first is scored. A scorer from outside that raises for one reply gives it the
score 0, or leaves its metric out; that is logged once. One that returns anything but a number, NaN, or a
score outside of 0 to 1 is an error.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from jc1.errors import InvalidSuite
from jc1_lab.records.results import SCORE
from jc1_lab.scoring import texts as text_scores
from jc1_lab.scoring.custom import Measure, find, value_of

if TYPE_CHECKING:
    from jc1.decoding import Decoding
    from jc1.reply import Reply
    from jc1_lab.suites.suite import Item, Suite

log = logging.getLogger(__name__)

NONE = "none"
"""The scorer of a prompt to which no answer is right: it has no `score`."""


def _recall(item: Item, reply: Reply) -> float | None:
    if not item.evidence:
        return None
    left_out = reply.trace.dropped_memories
    read = {(record["session"], record["turn"]) for record in reply.trace.recalled if record["id"] not in left_out}
    return len(item.evidence & read) / len(item.evidence)


def _logprob(item: Item, reply: Reply) -> float | None:
    found = [token.logprob for token in reply.choices[0].logprobs or ()]
    mean = fmean(found) if found else -math.inf
    return mean if math.isfinite(mean) else None


def _perplexity(item: Item, reply: Reply) -> float | None:
    mean = _logprob(item, reply)
    return None if mean is None or mean < -700 else math.exp(-mean)  # beyond that no float can hold it


def _output_tokens(item: Item, reply: Reply) -> float:
    known = len(reply.choices[0].token_ids)
    return float(known or reply.trace.usage.completion_tokens / len(reply.choices))


def _prompt_tokens(item: Item, reply: Reply) -> float:
    return float(reply.trace.usage.prompt_tokens)


def _accepted_length(item: Item, reply: Reply) -> float | None:
    length = (reply.trace.speculation or {}).get("mean_accepted_length")
    return None if length is None else float(length)


@dataclass(frozen=True, slots=True)
class Metric:
    """How one figure comes about, and what it says.

    `of` tells what `measure` is given: "text" the reply's text and the references, "reply" the item and the reply,
    "prompt" the texts of all replies to one prompt. It returns `None` where the metric does not apply. A `quality` lies
    between 0 and 1, more is better, and it may be a prompt's scorer. `asked` metrics are measured when they are named,
    others always.
    """

    of: Literal["text", "reply", "prompt"]
    measure: Callable[..., float | None]
    about: str
    needs: Literal["", "references", "evidence", "logprobs"] = ""
    quality: bool = False
    asked: bool = False
    better: Literal["max", "min", ""] = ""


def _quality(measure: Callable[..., float], about: str, needs: Literal["", "references"] = "references") -> Metric:
    return Metric("text", measure, about, needs, quality=True, asked=True, better="max")


METRICS: dict[str, Metric] = {
    "exact": _quality(text_scores.exact, "the reply is a reference, but for case, punctuation and whitespace"),
    "contains": _quality(text_scores.contains, "a reference stands in the reply as whole words, compared likewise"),
    "f1": _quality(text_scores.f1, "token F1 with the best reference, words as in SQuAD"),
    "number": _quality(text_scores.number, "the reply's last number is the reference's, as in GSM8K"),
    "json": _quality(text_scores.valid_json, "the reply is valid JSON, nothing around it", ""),
    "recall": Metric(
        "reply", _recall, "share of the evidence that was recalled into the prompt", "evidence", True, better="max"
    ),
    "repetition": Metric(
        "reply",
        lambda item, reply: text_scores.repetition(reply.text),
        "share of 4-grams of words that the reply had before",
        better="min",
    ),
    "logprob": Metric(
        "reply", _logprob, "mean log probability of the reply's tokens (natural)", "logprobs", asked=True, better="max"
    ),
    "perplexity": Metric("reply", _perplexity, "e to the negative `logprob`", "logprobs", asked=True, better="min"),
    "prompt_tokens": Metric("reply", _prompt_tokens, "tokens read, memories included", better="min"),
    "output_tokens": Metric("reply", _output_tokens, "tokens written", better="min"),
    "accepted_length": Metric(
        "reply", _accepted_length, "tokens per verification, where the engine speculates", better="max"
    ),
    "distinct_1": Metric(
        "prompt", partial(text_scores.distinct, size=1), "distinct words of a prompt's replies over all words"
    ),
    "distinct_2": Metric("prompt", partial(text_scores.distinct, size=2), "the same of pairs of words"),
    "self_similarity": Metric(
        "prompt", text_scores.self_similarity, "mean token F1 of all pairs of a prompt's replies"
    ),
}
"""Every metric by name. A prompt's scorer is one of those that say how good a reply is, `none`, or from outside."""

SCORERS = tuple(name for name, metric in METRICS.items() if metric.quality)


def unfit(scorer: str, references: Sequence[str], *, evidence: bool) -> str:
    """Why a prompt with these references, and with evidence or without, cannot have this scorer; empty where it can.
    Of a scorer from outside only the form of its name is looked at."""
    if scorer == NONE or _is_outside(scorer):
        return ""
    if scorer not in SCORERS:
        return f"unknown scorer {scorer!r}: known are {', '.join((*SCORERS, NONE))} and module:function"
    needs = METRICS[scorer].needs
    if (needs == "references" and not references) or (needs == "evidence" and not evidence):
        return f"the scorer {scorer!r} needs {needs}, and there are none"
    if scorer == "number" and not any(text_scores.number_in(reference) is not None for reference in references):
        return "the scorer 'number' needs a reference that holds a number"
    return ""


def lacking(name: str, decoding: Decoding, *, repeats: int) -> str:
    """Why no prompt that is asked `repeats` times with this decoding has the metric `name`; empty where it may."""
    metric = METRICS.get(name)
    if metric and metric.of == "prompt" and repeats * decoding.n == 1:
        return f"{name!r} compares several replies to a prompt, and there is one"
    if metric and metric.needs == "logprobs" and decoding.beam_width > 1:
        return f"{name!r} needs logprobs, and beam search reports none"
    return ""


def _is_outside(name: str) -> bool:
    module, colon, path = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *path.split(".")))


def create_scoring(names: Sequence[str], suite: Suite) -> Scoring:
    """What scores the replies to a suite: every prompt's own scorer, and the metrics `names`, of which `score` is one.

    A scorer from outside that prompts name has to be among `names` too: a file of prompts alone may not choose which
    code runs. Raises `InvalidSuite` for a name that is not known, cannot be imported, or needs what no prompt has.
    """
    for item in suite.items:
        if reason := unfit(item.scorer, item.references, evidence=bool(item.evidence)):
            raise InvalidSuite(f"The prompt {item.id!r} of {suite.name}: {reason}.", param="suite")
    for name in names:
        _check(name, suite)
    for name in dict.fromkeys(item.scorer for item in suite.items):
        if not _is_outside(name) or name in names:
            continue
        raise InvalidSuite(
            f"Prompts of {suite.name} have the scorer {name!r}, which is code of yours or somebody else's: name "
            "it among the metrics too if it may run.",
            param="suite",
        )
    return Scoring(names, {name: find(name) for name in dict.fromkeys(names) if _is_outside(name)})


def _check(name: str, suite: Suite) -> None:
    """Raise `InvalidSuite` unless `name` is a metric that something in the suite has."""
    if name == SCORE:
        if all(item.scorer == NONE for item in suite.items):
            raise InvalidSuite(
                f"No prompt of {suite.name} has a right answer, so there is no 'score': choose among "
                f"{', '.join(name for name, metric in METRICS.items() if metric.needs in ('', 'logprobs'))}.",
                param="suite",
            )
        return
    if _is_outside(name):
        return
    if name not in METRICS:
        raise InvalidSuite(
            f"Unknown metric {name!r}: known are {', '.join((SCORE, *METRICS))} and module:function.", param="metrics"
        )
    needs = METRICS[name].needs
    lacking = (needs == "references" and not any(item.references for item in suite.items)) or (
        needs == "evidence" and not any(item.evidence for item in suite.items)
    )
    if lacking:
        raise InvalidSuite(
            f"The metric {name!r} needs {needs}, and no prompt of {suite.name} has any: leave it out.", param="metrics"
        )


class Scoring:
    """Scores replies to one suite's prompts; `create_scoring` makes it. Several threads may use it at once, as far as
    the scorers from outside allow that."""

    def __init__(self, names: Iterable[str], outside: dict[str, Measure]) -> None:
        asked = set(names)
        self._outside = outside
        self._logged: set[str] = set()
        """Scorers from outside that raised before."""
        self._metrics = [name for name, m in METRICS.items() if m.of != "prompt" and (name in asked or not m.asked)]
        self.needs_logprobs = any(METRICS[name].needs == "logprobs" for name in self._metrics)
        """Whether `Decoding.logprobs` is to be 0 or more."""
        self.blocking = bool(outside)
        """Whether `reply` may take long, since code from outside does."""

    def reply(self, item: Item, reply: Reply) -> dict[str, float]:
        """`score`, unless no answer is right, and every other metric of one reply that applies.

        Raises `InvalidSuite` naming the scorer whose answer is no number, or no score.
        """
        found = {name: self._measured(name, item, reply) for name in (*self._metrics, *self._outside)}
        if item.scorer != NONE:
            value = found[item.scorer] if item.scorer in found else self._measured(item.scorer, item, reply)
            found = {SCORE: self._score(item, value), **found}
        return {name: value for name, value in found.items() if value is not None}

    def failed(self, item: Item) -> dict[str, float]:
        """What a prompt scores whose request failed: 0, in `score` and in every metric of quality that applies."""
        found = {} if item.scorer == NONE else {SCORE: 0.0}
        for name in self._metrics:
            metric = METRICS[name]
            lacking = (metric.needs == "references" and not item.references) or (
                metric.needs == "evidence" and not item.evidence
            )
            if metric.quality and not lacking:
                found[name] = 0.0
        return found

    def raised(self, scores: Mapping[str, float]) -> list[str]:
        """The scorers from outside that raised for a reply with these scores: the others always give a number."""
        return [name for name in self._outside if name not in scores]

    def replies(self, item: Item, texts: Sequence[str]) -> dict[str, float]:
        """What several replies to one prompt are as a set, over its repeats and choices; `texts` is one at least."""
        found = {name: metric.measure(texts) for name, metric in METRICS.items() if metric.of == "prompt"}
        return {name: value for name, value in found.items() if value is not None}

    def _score(self, item: Item, value: float | None) -> float:
        if value is None:
            return 0.0
        if not 0 <= value <= 1:
            raise InvalidSuite(
                f"The scorer {item.scorer!r} gave the prompt {item.id!r} {value:g}: a score is 0 to 1.", param="scorer"
            )
        return value

    def _measured(self, name: str, item: Item, reply: Reply) -> float | None:
        if name in self._outside:
            return self._from_outside(name, item, reply)
        metric = METRICS[name]
        if metric.needs == "references" and not item.references:
            return None
        return metric.measure(reply.text, item.references) if metric.of == "text" else metric.measure(item, reply)

    def _from_outside(self, name: str, item: Item, reply: Reply) -> float | None:
        try:
            said = value_of(self._outside[name](item, reply))
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
        if not isinstance(said, float) or not math.isfinite(said):
            raise InvalidSuite(
                f"The scorer {name!r} gave the prompt {item.id!r} {said!r:.80}: it must return a finite number.",
                param="scorer",
            )
        return said
