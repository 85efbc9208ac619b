"""Words as they are searched for: one spelling for each, and the postings of one owner's texts.

Knows English stems, accents, and the scripts that are written without spaces. Knows nothing about records, scores or
stopwords: what a term is worth is the ranking's.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Letters and digits with apostrophes between them; of Chinese and Japanese each character.
_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿]|[^\W_぀-ヿ㐀-䶿一-鿿豈-﫿]+(?:['’][^\W_]+)*")
KNOWN = 100_000
"""Words whose terms are cached in the process."""


def terms(text: str) -> list[str]:
    """Return the terms of a text, in order.

    >>> terms("Zoë's cats were sleeping.")
    ['zoe', 'cat', 'were', 'sleep']
    """
    return [_term(word) for word in _WORD.findall(text)]


class _Numbers(dict[str, int]):
    """The number of each word's term, by the word as it is written. A new term gets the next number."""

    def __init__(self) -> None:
        self.terms: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        number = self[word] = self.terms.setdefault(_term(word), len(self.terms))
        return number


class Postings:
    """An inverted index: the rows that hold each term, and how often. The caller numbers rows, always upwards."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._postings: list[tuple[array[int], array[int]]] = []
        """Rows and counts, by the number of the term."""

    def add(self, rows: NDArray[np.integer], texts: Sequence[str]) -> NDArray[np.int64]:
        """Add the texts of rows, and return the number of terms of each."""
        numbers: list[int] = []
        ends = []
        for text in texts:
            numbers += map(self._numbers.__getitem__, _WORD.findall(text))
            ends.append(len(numbers))
        lengths = np.diff(np.array(ends, np.int64), prepend=0)
        self._append(np.array(numbers, np.int64), np.repeat(rows, lengths))
        return lengths

    def _append(self, numbers: NDArray[np.int64], rows: NDArray[np.integer]) -> None:
        """Add terms and the rows that hold them: the same pair as often as the row holds the term."""
        known = len(self._postings)
        self._postings += [(array("i"), array("i")) for _ in range(len(self._numbers.terms) - known)]
        # One number for each pair of term and row: sorted, the pairs are grouped by term, as the postings are.
        wide = int(rows.max(initial=0)) + 1
        pairs, counts = np.unique(numbers * wide + rows, return_counts=True)
        terms, holders = np.divmod(pairs, wide)
        starts = np.flatnonzero(np.diff(terms, prepend=-1))  # where the pairs of each term begin
        ends = np.append(starts[1:], len(terms))[: len(starts)]
        holders, counts = holders.astype(np.int32), counts.astype(np.int32)
        for number, start, end in zip(terms[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
            its_rows, its_counts = self._postings[number]
            its_rows.frombytes(holders[start:end].tobytes())
            its_counts.frombytes(counts[start:end].tobytes())

    def of(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows that hold the term, and how often each does: views that are valid until the next `add`."""
        number = self._numbers.terms.get(term)
        rows, counts = (array("i"), array("i")) if number is None else self._postings[number]
        return np.frombuffer(rows, np.int32), np.frombuffer(counts, np.int32)


@lru_cache(maxsize=KNOWN)
def _term(word: str) -> str:
    """Return the stem of a word without case, accents and possessive s."""
    plain = word.casefold()
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    stem: str = _stemmer().stemWord(plain.replace("’", "'").removesuffix("'s"))
    return stem


def _stemmer() -> Any:
    """Return this thread's stemmer: one must not be used by two at once."""
    if not hasattr(_of_thread, "stemmer"):
        from Stemmer import Stemmer

        _of_thread.stemmer = Stemmer("english")
    return _of_thread.stemmer


_of_thread = threading.local()
