"""The kind of a text: a statement, a question or a reply.

Knows the wording of English questions and requests; elsewhere it goes by the question mark. Knows nothing about what a
statement is about.
"""

from __future__ import annotations

import re

from jc1.memory.base import Kind, Role

LEAD_IN = re.compile(
    r"(?:hi|hey|hello|hallo|dear jc1|jc1|ok|okay|oh|ah|um|well|so|and|but|also|then|now|thanks|thank you|please|sorry|"
    r"actually|in fact|by the way|btw|anyway|wait|no|yes|guess what|just so you know|for the record|"
    r"for your information|fyi|correction|update|one more thing|i have a question|quick question|a question|"
    r"(?:it )?turns out(?: that)?|"
    r"(?:you (?:should|must|need to|ought to|may want to) know|i (?:want|wanted|have|need) (?:you to know|to tell you)|"
    r"i should (?:mention|say|add|tell you)|let me tell you|i forgot to (?:mention|say|tell you))(?: that)?|"
    r"(?:(?:can|could|will|would) you )?(?:please )?(?:note|remember|know|keep in mind|don't forget)(?: that)?)\b"
    r"[\s,:;.!–—-]*",
    re.IGNORECASE,
)
"""Openings of a sentence that say nothing."""

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？؟])|\n+")
_AUXILIARY = (
    r"(?:am|is|are|was|were|do|does|did|can|could|will|would|shall|should|have|has|had|may|might|must|isn't|aren't|"
    r"wasn't|weren't|don't|doesn't|didn't|can't|couldn't|won't|wouldn't|haven't|hasn't)"
)
_ASKING = re.compile(
    rf"""(?:
        (?:what|who|which|whose|whom)\b
        (?!\s+(?:i|we|you|they|he|she|it|my|our|his|her|their|a|an|matters|counts|about\s+my)\b)
      | (?:what|who|whom|where|when|why|how)(?:'s|'re|'d|'ll|\s+{_AUXILIARY})\b
      | (?:in|at|on|for|from|to|with|by)\s+(?:what|which|whom|whose)\b
      | how\s+(?:many|much|old|long|far|often|tall|big|late|early|soon|high|deep|come)\b
      | {_AUXILIARY}\s+(?:i|you|we|they|he|she|it|there|any|anyone|anybody)\b
      | (?:am|is|are|was|were|does|did|can|could|will|would|should)\s+
        (?:my|your|our|his|her|their|the|this|that|these|those)\b
      | (?:is|are|was|were|does|did|has)\s+(?-i:[A-Z])
      | (?:tell|show|give|remind)\s+me\b (?!\s+(?:to|that|at|on|in|tomorrow|tonight|every|before|when\s+i)\b)
      | (?:let\s+me\s+know|i\s+(?:wonder|forgot|forget|don't\s+(?:know|remember|recall)|can't\s+(?:remember|recall)))\s+
        (?:what|who|which|whose|whom|where|when|why|how|if|whether)\b
      | (?:say\s+(?:what|which|who|whose|where|when|how|my) | let\s+me\s+know\s+my)\b
      | i\s+can't\s+(?:remember|recall)\s+(?:my|the)\b
      | i(?:'d|\s+would)\s+like\s+to\s+know\b | i\s+(?:want|need)\s+to\s+know\b | any\s+idea\b
      | (?:explain|describe|translate|summari[sz]e|list|name|repeat|guess|recall|look\s+up)\s+(?!of\b|is\b)
    )""",
    re.IGNORECASE | re.VERBOSE,
)

_TAG = re.compile(
    r"(?:,|\s[-–—])\s*(?:right|correct|true|yes|yeah|no|huh|eh|innit|or\s+(?:not|what)|yes\s+or\s+no|am\s+i\s+(?:right|wrong)|"
    rf"(?:{_AUXILIARY}|ain't)(?:\s+not)?\s+(?:i|you|we|he|she|it|they|that|there)(?:\s+(?:so|right|true|not))?)$",
    re.IGNORECASE,
)
"""Tags that make a question of the statement before them: ', right', ', isn't it'."""
_TELLS = re.compile(r"(?:can|could|will|would) you (?:please )?(?:note|remember|keep in mind) that\b", re.IGNORECASE)
_TELLS_FIRST = re.compile(
    r"(?:(?:i|we)(?:'m|'ve)?\s+[^\s,]+\s+\S.*|(?:my|our|the)\s.+\s(?:is|are|has|have)\s.+),\s+(?:so\s+|and\s+)?(?P<then>.+)",
    re.IGNORECASE,
)
_LONGEST = 500
"""Characters of a sentence within which a statement before the question is looked for."""


def kind_of(role: Role, text: str) -> Kind:
    """Return the kind of a text said by `role`. One that both tells and asks, or does neither, is a statement.

    >>> kind_of("user", "Hi! What is my cat called?")
    'question'
    """
    if role == "assistant":
        return "reply"
    parts = [part for part in sentences(text) if without_lead_in(part).strip(" .!,")]
    return "question" if parts and all(asks(part) for part in parts) else "statement"


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its closing mark."""
    return [part.strip() for part in _END.split(squeezed(text).replace("’", "'")) if part.strip()]


def squeezed(text: str) -> str:
    """Return the text without empty lines, and with one space for several: over long runs patterns would be slow."""
    return "\n".join(line for raw in text.splitlines() if (line := " ".join(raw.split())))


def without_lead_in(sentence: str) -> str:
    """Return a sentence without greetings, 'actually', 'remember that' and the like at its beginning."""
    while found := LEAD_IN.match(sentence):
        sentence = sentence[found.end() :]
    return sentence


def asks(sentence: str) -> bool:
    """Return whether one sentence is a question or a request for an answer, and nothing else."""
    ended = sentence.rstrip("\"')!.… ")
    if _TAG.search(ended):
        return True
    first = _TELLS_FIRST.match(sentence[:_LONGEST])
    if _TELLS.match(sentence) or (first and _ASKING.match(first["then"])):
        return False
    if ended.endswith(("?", "？", "؟")):
        return True
    return _ASKING.match(without_lead_in(sentence)) is not None
