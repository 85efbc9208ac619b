"""Scores of texts alone: against references, as JSON, by how much they repeat, and how alike several are.

Knows formulas and where they come from. Knows nothing about prompts, replies or names.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from statistics import fmean
from typing import Never

_MARKS = re.compile(r"(?P<kept>(?<=\d)[.,:/-](?=\d)|(?<!\w)-(?=\d))|[^\w\s]")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_])-?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![A-Za-z0-9_.])-?\.[0-9]+"
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ASCII_MARKS = str.maketrans("", "", string.punctuation)
_MINUS = "\N{MINUS SIGN}"
REPEATED = 4
"""Words of the n-grams whose repetition is counted, as in the source."""


def plain(text: str) -> str:
    """Return the text as `exact` and `contains` compare it.

    Compatible forms are made one (NFKC), letters' case is folded, whitespace is one space, and there is no punctuation,
    except between digits (3.5, 15:30) and a minus before one. Symbols stay.
    """

    def replacement(mark: re.Match[str]) -> str:
        return mark[0] if mark["kept"] or not unicodedata.category(mark[0]).startswith("P") else ""

    folded = unicodedata.normalize("NFKC", text).replace(_MINUS, "-").casefold()
    return " ".join(_MARKS.sub(replacement, folded).split())


def exact(text: str, references: Sequence[str]) -> float:
    """Return 1 where the text is one of the references, compared as `plain`, else 0."""
    reply = plain(text)
    return float(any(reply == plain(r) if plain(r) else text.strip() == r.strip() for r in references))


def contains(text: str, references: Sequence[str]) -> float:
    """Return 1 where one of the references stands in the text as whole words, compared as `plain`, else 0."""
    reply = f" {plain(text)} "
    return float(any(f" {plain(r)} " in reply if plain(r) else r.strip() in text for r in references))


def f1(text: str, references: Sequence[str]) -> float:
    """Return the best token F1 with a reference, words as SQuAD has them: lower case, without ASCII punctuation and
    articles (P. Rajpurkar and others, EMNLP 2016, and their evaluate-v2.0.py)."""
    reply = _squad(text)
    return max((overlap(reply, _squad(reference)) for reference in references), default=0.0)


def _squad(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_ASCII_MARKS)).split()


def overlap(some: Sequence[str], others: Sequence[str]) -> float:
    """Return the token F1 of two lists of words: twice those in common over all; 1 where both are empty."""
    if not some and not others:
        return 1.0
    return 2 * (Counter(some) & Counter(others)).total() / (len(some) + len(others))


def number_in(text: str) -> Decimal | None:
    """Return the last number of a text; commas between thousands and a currency's sign before it are left out."""
    numbers = _NUMBER.findall(text.replace(_MINUS, "-"))
    return Decimal(re.sub(r"[,$€£]", "", numbers[-1])) if numbers else None


def number(text: str, references: Sequence[str]) -> float:
    """Return 1 where the last number of the text equals the last one of a reference, else 0, as GSM8K is scored
    (`flexible-extract` of EleutherAI's lm-evaluation-harness)."""
    answer = number_in(text)
    return float(answer is not None and any(answer == number_in(reference) for reference in references))


def valid_json(text: str, references: Sequence[str] = ()) -> float:
    """Return 1 where the whole text is one JSON value (RFC 8259: no NaN, no Infinity), else 0.

    References are not looked at.
    """
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0


def _refuse(constant: str) -> Never:
    raise ValueError(constant)


def repetition(text: str) -> float:
    """Return the share of 4-grams of words that stood in the text before: 1 - distinct / all, 0 below four words
    (`seq-rep-4` of S. Welleck and others, ICLR 2020, which counts tokens)."""
    ngrams = _ngrams(_words(text), REPEATED)
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def distinct(texts: Sequence[str], size: int) -> float | None:
    """Return the share of distinct n-grams of words among all of them, of all texts together; `None` where there is
    none (J. Li and others, NAACL 2016, who divide by words). More texts of the same kind have less."""
    ngrams = [ngram for text in texts for ngram in _ngrams(_words(text), size)]
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def self_similarity(texts: Sequence[str]) -> float | None:
    """Return the mean token F1 of all pairs of texts, 1 where all are alike; `None` for a single one.

    It asks what Self-BLEU asks (Y. Zhu and others, SIGIR 2018), but is the same for either text of a pair, and needs no
    smoothing of short ones.
    """
    pairs = combinations([_words(text) for text in texts], 2)
    return fmean(overlap(some, others) for some, others in pairs) if len(texts) > 1 else None


def _words(text: str) -> list[str]:
    return plain(text).split()


def _ngrams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
