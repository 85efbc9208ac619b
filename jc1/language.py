"""Languages that a model does not know, recognised by the script of a message before the reply is believed.

Knows that the bundled models learnt English alone, and which letters are Latin. Knows nothing about words: French or
Swahili pass as English, whose letters they are written in.
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache

from jc1.models import bundled
from jc1.trace import Notice

LOOKED_AT = 2000
"""Characters of a message that are looked at: they tell, and a long one takes no longer."""


def language_notice(model: str, text: str) -> Notice | None:
    """Return the remark on a message in a script that `model` was not trained on, None where there is none to make."""
    if model not in _english_only() or not in_another_script(text):
        return None
    return Notice(
        "language_not_known",
        f"{model} knows English alone, so that its reply to this makes no sense: write in English, or start JC1 with a "
        "model that knows the language (--model).",
    )


def in_another_script(text: str) -> bool:
    """Return whether most letters of `text` are of another script than Latin.

    One alone does not count: it may be a symbol, as in "π?".
    """
    if text.isascii():
        return False
    letters = [character for character in text[:LOOKED_AT] if character.isalpha()]
    foreign = sum(not _is_latin(letter) for letter in letters)
    return foreign > 1 and 2 * foreign > len(letters)


@lru_cache(maxsize=10_000)
def _is_latin(letter: str) -> bool:
    # What normalization makes plain letters of is Latin too: full width, ligatures, mathematical alphabets.
    return any("LATIN" in unicodedata.name(c, "") for c in unicodedata.normalize("NFKD", letter))


@cache
def _english_only() -> frozenset[str]:
    return frozenset(bundled())
