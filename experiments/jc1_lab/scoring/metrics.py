"""Metrics: what a reply is worth, by one table of names.

Knows each metric's figure and what it needs. Knows nothing about what happens when a scorer fails, scorers from
outside, or how replies come about; means and intervals are of jc1_lab.statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from jc1_lab.scoring import texts as text_scores

if TYPE_CHECKING:
    from jc1.reply import Reply
    from jc1_lab.records.items import Item


def _recall(item: Item, reply: Reply) -> float | None:
    if not item.evidence:
        return None
    left_out = reply.trace.dropped_memories
    read = {(record["session"], record["turn"]) for record in reply.trace.recalled if record["id"] not in left_out}
    return len(item.evidence & read) / len(item.evidence)


def _logprob(item: Item, reply: Reply) -> float | None:
    logprobs = [token.logprob for token in reply.choices[0].logprobs or ()]
    mean = fmean(logprobs) if logprobs else -math.inf
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
    """One figure: how it is computed, what it needs, and what it says.

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
    opt_in: bool = False
    better: Literal["max", "min", ""] = ""


def _quality(measure: Callable[..., float], about: str, needs: Literal["", "references"] = "references") -> Metric:
    return Metric("text", measure, about, needs, quality=True, opt_in=True, better="max")


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
        "reply", _logprob, "mean log probability of the reply's tokens (natural)", "logprobs", opt_in=True, better="max"
    ),
    "perplexity": Metric("reply", _perplexity, "e to the negative `logprob`", "logprobs", opt_in=True, better="min"),
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
