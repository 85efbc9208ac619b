"""Words as they are searched for: one spelling for each, and the postings of one owner's texts.

Knows English stems, accents, and the scripts that are written without spaces. Knows nothing about records, scores or
stopwords: what a term is worth is the ranking's.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from array import array
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Letters and digits with apostrophes between them; of Chinese and Japanese each character.
_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿]|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿]+(?:['’][^\W_]+)*")
KNOWN = 100_000
"""How many words' terms are kept at hand."""


def terms(text: str) -> list[str]:
    """The terms of a text in their order.

    >>> terms("Zoë's cats were sleeping.")
    ['zoe', 'cat', 'were', 'sleep']
    """
    return [_term(word) for word in _WORD.findall(text)]


class Postings:
    """Which rows hold which term, and how often. Rows are numbers that the caller gives; they only grow."""

    def __init__(self) -> None:
        self._postings: dict[str, tuple[array[int], array[int]]] = {}

    def add(self, row: int, text: str) -> int:
        """Take in a row's text; how many terms it has."""
        found = terms(text)
        for term, count in Counter(found).items():
            rows, counts = self._postings.get(term) or self._postings.setdefault(term, (array("i"), array("i")))
            rows.append(row)
            counts.append(count)
        return len(found)

    def of(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The rows that hold the term, and how often each does. Valid until the next `add`, and not to be kept."""
        rows, counts = self._postings.get(term, (array("i"), array("i")))
        return np.frombuffer(rows, np.int32), np.frombuffer(counts, np.int32)


@lru_cache(maxsize=KNOWN)
def _term(word: str) -> str:
    plain = word.casefold()
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    stem: str = _stemmer().stemWord(plain.replace("’", "'").removesuffix("'s"))
    return stem


def _stemmer() -> Any:
    """This thread's stemmer: one must not be used by two at once."""
    if not hasattr(_of_thread, "stemmer"):
        from Stemmer import Stemmer

        _of_thread.stemmer = Stemmer("english")
    return _of_thread.stemmer


_of_thread = threading.local()
