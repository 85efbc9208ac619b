"""Texts cut into plain clauses: "Oh, my cat isn't called Ada any more but Bo!" becomes "my cat is called Bo".

Knows the English around a statement: greetings, "please remember that", "now", "not this but that", "from here to
there", pronouns that stand for what was just named. Knows nothing about what a clause is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jc1.memory.supersession import framing
from jc1.memory.supersession.kinds import asks, sentences, squeezed, without_lead_in

LONGEST = 300
"""Most characters of a sentence that is looked into: a longer one is a story."""
LONGEST_TEXT = 4000
"""Most characters of a text that is looked into: the patterns take more time a character, the longer a text is."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that is said. It is `changed` where the wording says that it was otherwise before, and `previous_value`
    is what it was, if that is said: Oslo in 'from Oslo to Lyon'."""

    text: str
    changed: bool
    previous_value: str = ""
    plain: bool = True
    """True where the user states it, and not somebody else, a game, a condition or a doubt."""


def words(text: str) -> frozenset[str]:
    """Return the set of words that white space separates."""
    return frozenset(text.split())


_CHANGE = re.compile(
    r"\b(?:actually|now|no longer|any ?more|any longer|instead|rather than|chang(?:e|ed|es)|renamed|rebranded|renewed|"
    r"replaced|switched|correct(?:ion|ed)?|in fact|new|turn(?:s|ed) out|turned|from now on|these days|nowadays|i meant|"
    r"updated?|edit|moved|relocated|rescheduled|postponed|extended|brought forward|reset|became|become|joined|left|"
    r"started|hired|not|mistake|mistaken|wrong|sorry|wait|scratch)\b",
    re.IGNORECASE,
)
_SMALL_TALK = words(
    """a about add again ah all alright also am and another anyway are as ask asked at back be been before bit brief
    btw but by bye case change changed chat cheers clear come comes correct correction could dear detail details
    did do don't down edit edited evening everybody everyone fact facts file finally first for forget from fun
    further fyi get give glad go good got great happened happy has have heads hello here hey hi hmm hope i
    i'll i'm i've if important in info information interesting is it it's just keep kind know last later let
    let's like little long look made make matter maybe me memory mention mentioned mind minor mistake mistaken
    more morning much my myself need never news next nice no not note noted notes nothing now of off official oh
    ok okay old on once one oops or other out plan plans please point ps quick quickly record records reference
    remember remind right said save say scratch see shame should side since slight small so some something soon
    sorry still story sure talk tell telling than thank thanks that that's the then there thing things
    this time tiny to today told true up update updates us useful very wait want was way we well what when while
    will with worth would write wrong yeah yes you you're your yours yourself"""
)
"""A sentence of these words alone tells nothing about anybody."""
_EMOTICON = re.compile(r"\s*(?:[:;]-?[)(DPp](?!\w)|[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f])+")
_BEFORE = re.compile(r"^([^,.:;!–—]{1,60})(?:[,.:;!–—]+|\s-)\s+")
_AFTER = re.compile(r"(?:,|\s[–—-])\s*([^,]{1,60})$")

_CONTRACTED = (
    (re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|would|could|should)n't\b", re.IGNORECASE), r"\1 not"),
    (re.compile(r"\b(i)'m\b", re.IGNORECASE), r"\1 am"),
    (re.compile(r"\b(i|we|you|they)'ve\b", re.IGNORECASE), r"\1 have"),
    (re.compile(r"\b(we|you|they)'re\b", re.IGNORECASE), r"\1 are"),
    (re.compile(r"\b(it|he|she|that|there)'s\b", re.IGNORECASE), r"\1 is"),
)
_OLD = r"(?:[^,;]|,(?=\d)){1,60}?"
_ANY_MORE = r"(?:\s+any\s?(?:more|longer))?"
_BUT = rf"{_ANY_MORE},?\s+but\s+(?:(?:rather|now|instead)\s+)?"
_IS_NOT_BUT = re.compile(rf"\b(?P<be>is|are|am)\s+(?:not|no longer)\s+(?P<old>{_OLD}){_BUT}(?P<new>.+)", re.IGNORECASE)
_DOES_NOT_BUT = re.compile(
    rf"\b(?:(?P<do>do|does)\s+not(?:\s+any\s?more)?|no longer)\s+(?P<verb>\w+)\s+(?P<old>{_OLD}){_BUT}(?P<new>.+)",
    re.IGNORECASE,
)
_AND_NOT = re.compile(
    rf"(?P<head>.+?)(?:,\s*(?:and\s+|but\s+)?|\s+and\s+|(?<!\bis)(?<!\bam)(?<!\bare)(?<!\bdo)(?<!\bdoes)(?<!\bdid)"
    rf"(?<!\bhas)(?<!\bhave)(?<!\bhad)(?<!\bwas)(?<!\bwill)(?<!\bwould)(?<!\bshould)(?<!\bcould)\s+)"
    rf"(?:not|no longer|rather than|instead of)\s+{_OLD}{_ANY_MORE}",
    re.IGNORECASE,
)
_CHANGING = r"moved|relocated|chang(?:ed|es)|switched|renamed|rescheduled|postponed|forward|extended|went|transferred"
_LEFT_FOR = re.compile(
    rf"(?P<who>.{{1,60}}?)\s+(?:(?:have|has)\s+)?left\s+(?P<old>{_OLD})\s+for\s+(?P<new>(?-i:[A-Z]|the\s).+)",
    re.IGNORECASE,
)
_FROM_TO = re.compile(rf"(?P<head>.*\b(?:{_CHANGING})\b.*?)\s+from\s+(?P<old>{_OLD})(?=\s+(?:in)?to\s)", re.IGNORECASE)
_LEFT_AND = re.compile(rf"\s+(?:(?:have|has)\s+)?left\s+{_OLD}\s+and\s+(?:(?:have|has)\s+)?", re.IGNORECASE)
_USED_TO = re.compile(
    rf"(?P<x>.{{2,60}}?)\s+(?:used to be|was)\s+{_OLD},?\s+(?:and |but )?(?:now (?:it is )?|it is (?=.* now\b))"
    r"(?P<new>.+)",
    re.IGNORECASE,
)
_IS = re.compile(r"\b(?:happens to be|is going to be|has always been)\b", re.IGNORECASE)
_TOPIC_FIRST = re.compile(
    r"(?:as for|about|regarding|concerning|speaking of)\s+(?P<x>[^,;]{1,60}),\s+(?:it|he|she)\s+(?=is\b)", re.IGNORECASE
)
_WHEN_IT_COMES_TO = re.compile(
    r"(?:when it comes to|as for)\s+(?P<x>[^,;]{1,60}),\s+(?P<my>.{1,40}?\bfavou?rites?)\s+(?=is\b)", re.IGNORECASE
)
_LATELY = re.compile(
    r",?\s+\b(?:now|currently|nowadays|these days|at the moment|at present|right now|from now on|instead|actually|"
    r"really|finally|just|recently|already|today|as of (?:now|today)|by now|any\s?more|"
    r"for (?:good|years|ages|a while|now|(?:some|a long) time(?: now)?)|after all|in fact)\b(?!'|\s+(?:show|TV|Eat)\b)",
    re.IGNORECASE,
)
_LATELY_FIRST = re.compile(
    r"^(?:last (?:week|month|year)|now|currently|nowadays|these days|at the moment|from now on|today|recently|"
    r"(?:as of|by) (?:now|today)),?\s+"
    r"(?!(?:is|are|was|will|in|at|on)\b)",
    re.IGNORECASE,
)

_VERB = (
    r"(?:now\s+)?(?:is|am|are|was|has|have|had|works?|lives?|goes|moved|joined|started|turned|got|starts|begins|takes|"
    r"became|relocated|switched|will|no longer)\b"
)
_SPLIT = re.compile(
    rf"\s*;\s*|,?\s+(?:and|but|so|because)\s+(?=(?:now\s+)?(?:i|we|it|he|she|they|my|our)\s|{_VERB})"
    rf"|\s*[,:–—]\s+(?=(?:now\s+)?(?:it|he|she)\s+{_VERB}|(?:i|we|my|our|the new|its|his|her|please|call me)\s)",
    re.IGNORECASE,
)
_OWNED = (
    r"(?:my|our|the)\s+[^\s,:;]+(?:\s+(?!(?:is|are|am|was|has|have|had|will|does|do|no|to|and|in|on|at|under|behind|"
    r"near|"
    r"next|by|with)\b)[^\s,:;]+){0,4}"
)
_DID = r"(?:(?:have|had|has)\s+(?:to\s+|just\s+)?)?"
_CHANGED_IT = re.compile(
    rf"(?:i|we|they)\s+{_DID}(?:renamed?|changed?|moved?|reset|switch(?:ed)?|replaced?|put|"
    rf"swap(?:ped)?)\s+(?P<x>{_OWNED})",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    rf"(?P<x>i|we|{_OWNED}?|(?!(?:it|he|she|they|that|this|there|you)\b)[^\W\d][\w-]*(?:\s[^\W\d][\w-]*)?)"
    rf"\s+(?:(?:do|does)\s+not|{_VERB}|\w+ed\b)",
    re.IGNORECASE,
)
_NO_VALUE = re.compile(
    rf"(?:i|we|they)\s+{_DID}(?:chang|switch|mov)(?:ed|e)\s+(?:my mind|jobs?|houses?|flats?|careers?|employers?)"
    rf"|{_OWNED}\s+(?:(?:has|have|was|is|got)\s+)?(?:been\s+)?(?:changed|moved|rescheduled|postponed|renamed|different)"
    r"|(?:i|we|[\w' -]{1,40})\s+(?:have\s+|has\s+)?(?:retrained|rebranded|graduated|got promoted|"
    r"(?:had|celebrated) (?:a|my|his|her|their) birthday)|(?:it|yesterday|today) (?:was|"
    r"is) my birthday(?: yesterday| today| last week)?"
    r"|[^,;]{1,60}\s(?:no longer\s[^,;]{1,60}|not\s[^,;]{1,60}\sany\s?(?:more|longer))",
    re.IGNORECASE,
)
_HAVE_COUNT = re.compile(r"(?:i|we) no longer have \S+ \w+", re.IGNORECASE)
_BARE_COUNT = re.compile(r"(?:i|we) (?:now )?have \S+(?= now$|$)", re.IGNORECASE)
_PRONOUN = re.compile(r"(?:now\s+)?(?:it|he|she)\s+", re.IGNORECASE)
_ITS = re.compile(r"(?:the|its|his|her)\s+(?:new\s+)?(?=(?:name|number|address|place|date|time)\b)", re.IGNORECASE)


def clauses(text: str) -> Iterator[Clause]:
    """Yield the clauses of a user's text, without questions and what tells nothing.

    A sentence that is not plain comes whole, as it was said; so does one of more than `LONGEST` characters. A text of
    more than `LONGEST_TEXT` is one clause that is not plain. In the others, pronouns are replaced by what they stand
    for, and contrasts by what is so now.
    """
    if len(text := squeezed(text)) > LONGEST_TEXT:
        yield Clause(text, False, plain=False)
        return
    changed = False
    topic = counted = ""
    plain = framing.is_plain_message(text)
    text = framing.unquoted(text)
    for sentence in sentences(text.lower() if text.isupper() else text):
        if asks(sentence):
            continue
        said, lead = _bare(" ".join(sentence.split()))
        changed = changed or _CHANGE.search(lead) is not None
        if not said:
            continue
        plain = plain and not framing.quotes_onwards(said)
        if not (plain and framing.is_plain(said)):
            yield Clause(said, False, plain=False)
            continue
        if len(said) > LONGEST:
            yield Clause(said, changed)
            continue
        new = changed or _CHANGE.search(said) is not None
        said, previous_value = _without_previous(_without_contrast(said))
        for part in _SPLIT.split(said):
            clause = part.strip(" ,.!")
            if _PRONOUN.match(clause) and topic:
                clause = _PRONOUN.sub(f"{topic} ", clause, count=1)
            elif _ITS.match(clause) and topic and topic.lower() not in ("i", "we"):
                clause = _ITS.sub(f"{topic}'s ", clause, count=1)
            elif re.match(_VERB, clause, re.IGNORECASE) and topic:
                clause = f"{topic} {clause}"
            if counted and _BARE_COUNT.match(clause):
                clause = f"{clause} {counted}"
            counted = clause.split()[-1] if _HAVE_COUNT.fullmatch(clause) else ""
            if found := _CHANGED_IT.match(clause) or _SUBJECT.match(clause):
                topic = found["x"]
            if _CHANGED_IT.fullmatch(clause) or _NO_VALUE.fullmatch(clause):
                continue
            if bare := _LATELY.sub("", _LATELY_FIRST.sub("", clause)).strip(" ,"):
                yield Clause(bare, new, previous_value)


def _bare(sentence: str) -> tuple[str, str]:
    """Return a sentence without what tells nothing at its ends, and what was taken off its beginning."""
    said = _EMOTICON.sub("", sentence).strip(" .!\"',")
    whole = said
    while said:
        before = said
        said = without_lead_in(said)
        if (found := _BEFORE.match(said)) and _tells_nothing(found[1]):
            said = said[found.end() :]
        if said == before:
            break
    if _tells_nothing(said):
        return "", whole
    lead = whole.removesuffix(said)
    while (found := _AFTER.search(said)) and _tells_nothing(found[1]):
        said = said[: found.start()]
    for contracted, full in _CONTRACTED:
        said = contracted.sub(full, said)
    return said, lead


def _tells_nothing(text: str) -> bool:
    return all(word in _SMALL_TALK for word in re.findall(r"[\w']+", text.lower()))


def _without_contrast(said: str) -> str:
    """Return a sentence with 'is not this but that' and the like as 'is that'."""
    said = _WHEN_IT_COMES_TO.sub(lambda found: f"{found['my']} {found['x']} ", said)
    said = _TOPIC_FIRST.sub(lambda found: f"{found['x']} ", said)
    said = _IS_NOT_BUT.sub(lambda found: f"{found['be']} {_again(found)}", said)
    said = _DOES_NOT_BUT.sub(_does, said)
    if (found := _AND_NOT.fullmatch(said)) and not re.search(r"\b(?:not|no longer)\b", found["head"], re.IGNORECASE):
        said = found["head"]
    said = _USED_TO.sub(lambda found: f"{found['x']} is {found['new']}", said)
    return _IS.sub("is", _LEFT_AND.sub(" ", said))


def _without_previous(said: str) -> tuple[str, str]:
    """Return a sentence without the value that was left, and that value: 'moved from Oslo to Lyon'."""
    if found := _LEFT_FOR.fullmatch(said):
        return f"{found['who']} switched to {found['new']}", found["old"]
    found = _FROM_TO.match(said)
    return (found["head"] + said[found.end() :], found["old"]) if found else (said, "")


def _again(found: re.Match[str]) -> str:
    """Return what is new, with what it shares with the old: 'called Ada but Bo', 'due on Friday but on Monday'."""
    preposition = found["new"].split()[0]
    before, at, _ = found["old"].rpartition(f" {preposition} ")
    if at:
        return f"{before} {found['new']}"
    called = re.match(r"(?:called|named|aged|known as)\s", found["old"], re.IGNORECASE)
    return f"{called[0] if called else ''}{found['new']}"


def _does(found: re.Match[str]) -> str:
    """Return 'does not work at Acme but at Initech' as 'works at Initech'."""
    verb, new = found["verb"], found["new"]
    if (found["do"] or "").lower() == "does":
        verb = {"have": "has"}.get(verb, f"{verb}s")
    if verb in ("have", "has", "own") and len(new.split()) == 1:
        new = f"{new} {found['old'].split()[-1]}"
    return f"{verb} {new}"
