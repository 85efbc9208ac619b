"""Stopwords: the words of a question that say nothing about what is looked for.

Knows English. They are removed from the *retrieval query* only, never from what a model reads.
"""

from __future__ import annotations

import re

STOPWORDS = frozenset(
    """
    a an the this that these those some any each every both all such same own other another i me my mine myself we
    us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself
    they them their theirs themselves one ones someone something anyone anything am is are was were be been being do
    does did doing done have has had having will would shall should can could may might must let lets what which who
    whom whose when where why how whether if then than as so too very just also only even still again once ever and
    or but because since while until of at by for with about between through during before after to from in out on
    off up down over under into onto upon within here there now please tell know remember remind say said told ask
    asked want like think i'm i've i'll i'd you're you've you'll he's she's it's we're we've they're they've what's
    who's where's when's how's that's there's here's let's hey hi hello ok okay well oh
    """.split()  # noqa: SIM905 - a list literal would take hundreds of lines
)
"""English function words and the words that questions to an assistant are made of. Negations are not among them: they
change what is asked."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def remove_stopwords(text: str) -> str:
    """Return the text without its stopwords, for a retrieval query; the text itself when nothing would be left."""
    words = [w for w in text.split() if not _is_stopword(w)]
    return " ".join(words) or text


def _is_stopword(word: str) -> bool:
    parts = _WORD.findall(word.lower().replace("’", "'"))
    return bool(parts) and all(part in STOPWORDS for part in parts)
