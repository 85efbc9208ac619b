"""Recognition of what a reply repeats of its prompt, by the words that it has from there and from nowhere else.

Knows English stopwords and the terms of `index.words`. Knows nothing about records: it compares texts. A reply that
tells the same in words of its own is not recognised.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import TypeVar

from jc1.memory.index.words import terms
from jc1.stopwords import STOPWORDS, remove_stopwords

Key = TypeVar("Key", bound=Hashable)

SHORT = 1
"""Terms that a reply such as "Yes." has at most: it can only be about what was asked."""
_NAME = re.compile(r"(?<=[^\W_]\s)[^\W\d_a-z]\S*|\S*\d\S*")
"""What stands for itself: a capital letter within a sentence, a figure."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def repeated(question: str, reply: str, sources: Mapping[Key, str]) -> frozenset[Key]:
    """Return which of the sources, texts that stood in the prompt, a reply repeats.

    A word of a reply comes from the sources that hold it, unless another one of them tells all of that, and more to the
    point. A reply of one word confirms, or denies, what was asked about.

    >>> sorted(repeated("What is my dog called?", "Rex!", {1: "My dog is called Rex.", 2: "My cat is called Ada."}))
    [1]
    """
    question_terms, reply_terms = _terms(question), _terms(reply)
    dialogue_terms, new = question_terms | reply_terms, reply_terms - question_terms
    known = {key: _terms(text) for key, text in sources.items() if _may_hold(text, dialogue_terms)}
    result = {key for key, source in known.items() if source and source <= dialogue_terms}
    for term in new:
        holders = (key for key, source in known.items() if term in source)
        telling = (key for key in holders if _tells(sources[key], known[key], question_terms, reply_terms))
        result.update(_best(known, telling, dialogue_terms))
    if not result and new and len(reply_terms) <= SHORT:
        about = (key for key, source in known.items() if 2 * len(source & question_terms) >= len(question_terms) > 0)
        result.update(_best(known, about, dialogue_terms))
    return frozenset(result)


def _may_hold(text: str, dialogue_terms: Iterable[str]) -> bool:
    """Return whether a text may have one of the terms: to look for their beginnings takes a tenth of the time that it
    takes to find its own."""
    low = text.casefold()
    return not text.isascii() or any(term[: max(3, len(term) - 1)] in low for term in dialogue_terms)


def words_of(text: str) -> list[str]:
    """Return the words of a text that say something, as they are written."""
    return _WORD.findall(remove_stopwords(text))


def _tells(text: str, source: frozenset[str], question_terms: frozenset[str], reply_terms: frozenset[str]) -> bool:
    """Return whether what a reply shares with a source is more than a word that any text may have."""
    new = reply_terms - question_terms
    shared = new & source
    return bool(
        question_terms & source
        or 2 * len(shared) >= len(new)
        or 2 * (common := len((question_terms | reply_terms) & source)) >= len(source) > 1 < common
        or shared.intersection(terms(" ".join(_NAME.findall(text))))
    )


def _best(known: Mapping[Key, frozenset[str]], keys: Iterable[Key], dialogue_terms: frozenset[str]) -> list[Key]:
    """Return those of the keys whose sources no other one is better than: one that tells as much of what was said, and
    of what it tells, as large a part of it was said."""
    measures = {key: ((common := known[key] & dialogue_terms), len(common) / len(known[key])) for key in keys}
    kinds = set(measures.values())
    best = {
        (common, share)
        for common, share in kinds
        if not any((common < other and share <= more) or (common == other and share < more) for other, more in kinds)
    }
    return [key for key, kind in measures.items() if kind in best]


def _terms(text: str) -> frozenset[str]:
    """Return the terms of a text that say something."""
    return frozenset(terms(text)) - _stopwords()


@cache
def _stopwords() -> frozenset[str]:
    return frozenset(term for word in STOPWORDS for term in terms(word))
