"""Which statements are about the same subject, so that a newer one supersedes the older.

Knows the wording of plain English facts ("my cat is called Ada", "I moved to Lyon", "the meeting is on Friday"). Knows
nothing about records or databases, and no other language: there nothing is superseded.

A superseded record is kept but no longer recalled, so this leans to the safe side. A statement is superseded only where
all that it says is understood, and only by one that says something new about all of it. What more than one may have (a
brother, a friend) changes only where the newer wording says that it changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from jc1.memory.kinds import asks, sentences, without_lead_in

MAX_KEY = 400
"""Most characters of a stored key."""
_MOST = 4
"""Most facts of one statement that are followed."""
_LONGEST = 300
"""Most characters of a clause that is looked into: a longer one is a story."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a statement is about: `about` names each subject, `whole` says that the statement tells nothing else, and
    `replaces` holds the subjects of which it supersedes an older statement."""

    about: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    whole: bool = False

    @property
    def key(self) -> str | None:
        """What is stored with the statement: its subjects, `None` where it must never be superseded."""
        joined = "\n".join(sorted(self.about))
        return joined if self.whole and 0 < len(self.about) <= _MOST and len(joined) <= MAX_KEY else None

    @property
    def superseded_keys(self) -> tuple[str, ...]:
        """The keys of the older statements that this one supersedes: every set of subjects that it covers."""
        names = sorted(self.replaces)[:_MOST]
        return tuple("\n".join(some) for size in range(1, len(names) + 1) for some in combinations(names, size))


def subjects(text: str) -> Subjects:
    """What a user's statement is about.

    >>> subjects("Actually my cat is now called Bo.").about == subjects("My cat is called Ada.").about
    True
    """
    changed = _CHANGE.search(text) is not None
    about: set[str] = set()
    replaces: set[str] = set()
    whole = True
    for sentence in sentences(text):
        if asks(sentence):
            continue
        for clause in _clauses(without_lead_in(sentence)):
            if not clause:
                continue
            facts = list(_facts(clause))
            whole = whole and bool(facts) and all(fact.plain for fact in facts)
            for fact in facts:
                about.add(fact.subject)
                if changed or not fact.several:
                    replaces.add(fact.subject)
    return Subjects(frozenset(about), frozenset(replaces), whole)


@dataclass(frozen=True, slots=True)
class _Fact:
    subject: str
    plain: bool = True
    """Whether the value is short and has nothing hanging on it."""
    several: bool = False
    """Whether somebody may have more than one of these."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHANGE = re.compile(
    r"\b(?:actually|now|no longer|any ?more|instead|chang(?:ed|es)|renamed|correction|in fact|new name|turns out|"
    r"from now on|i meant|updated?|moved|rescheduled|postponed)\b",
    re.IGNORECASE,
)
_LATELY = re.compile(
    r",?\s+\b(?:now|currently|nowadays|these days|at the moment|right now|from now on|instead|actually|really|finally|"
    r"just|recently)\b(?!')",
    re.IGNORECASE,
)
_SPLIT = re.compile(r",?\s+(?:and|but)\s+(?=(?:i|we)\s|(?:i'm|i've)\b|(?:my|our)\s)|\s*;\s*", re.IGNORECASE)

# A noun phrase with its owner, without anything that would make it a clause.
_NP = (
    r"(?:(?:my|our|the)\s+[^\s,:;]+"
    r"(?:\s+(?!(?:is|are|was|were|has|have|had|been|will|that|which|who|of|and|or)\b)[^\s,:;]+){0,3}?)"
)
_NAME = r"(?-i:[A-Z][\w-]+(?:\s[A-Z][\w-]+)?)"
_WHO = rf"(?P<who>i|{_NP}|{_NAME})"
_BE = r"(?:\s+(?:am|is|are)|'s|'m|'re)"
_HAVE = r"(?:\s+(?:have|has)|'ve|'s)?"
_V = r"\s+(?P<v>.+)"
_NUMBER = (
    r"(?:\d{1,3}|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ -](?:one|two|three|four|five|six|seven|"
    r"eight|nine))?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen)"
)
# Not "tomorrow" or "next week": such a day is over soon, and must not hide one that stays.
_DAY = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:january|february|march|april|may|june|july|august|september|october|november|december)|"
    r"\d{1,2}(?:st|nd|rd|th)|\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}(?:[./]\d{2,4})?)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(?:\d{1,2}(?::|\.)\d\d|\d{1,2}\s?(?:am|pm|o'clock)|noon|midnight|at \d{1,2})\b", re.IGNORECASE)
_PREPOSITION = r"(?:in|on|at|under|behind|beside|above|below|inside|near|next to|on top of)"

_ATTRIBUTES = _words(
    """address age birthday budget car city code colour combination date deadline email employer extension home hometown
    job licence login motto name nickname number occupation passcode password passphrase phone pin plate policy
    postcode price profession salary size surname title town username version weight height zip"""
)
"""Nouns of which a thing or a person has one."""
_SEVERAL = _words(
    """aunt boyfriend brother child classmate client colleague cousin customer daughter friend girlfriend guest kid
    neighbour neighbor nephew niece patient pupil roommate flatmate sister son student teacher teammate uncle"""
)
"""People of whom somebody may have several."""
_PEOPLE = _SEVERAL | _words(
    """boss coach dad dentist doctor father grandfather grandmother grandma grandpa husband landlord landlady
    manager mom mother mum partner therapist wife baby family parents"""
)
_NOBODY = _words("it this that there he she they you what here everyone everybody someone somebody nobody")
_COUNTED = _words("brothers sisters siblings cats dogs children kids sons daughters")
# Lower case only: New York is a value.
_NOT_A_VALUE = re.compile(
    r"(?:not|no|never|wrong|right|correct|broken|boring|hard|easy|difficult|long|short|secret|a secret|gone|lost|"
    r"missing|important|great|nice|good|bad|terrible|old|new|changed|changing|expired|due|ready|full|up|down|fun|fine|okay|ok|"
    r"unknown|private|safe|none|very|so|too|quite|pretty|rather|still|always|often|usually|sometimes|maybe|probably|"
    r"a pain|a mess|different|the same|similar|like|better|worse|\w+(?:ful|ous|ive|able|ible|less))\b"
)
_HANGING = re.compile(
    r"[,;:()]|\b(?:and|but|with|because|who|which|that|when|where|while|since|until|till|from|for|near|so|if|or|as|after|"
    r"before|than|though|although|unless|last|ago|every|not|was|is|are|also)\b",
    re.IGNORECASE,
)


def _clauses(sentence: str) -> Iterator[str]:
    for clause in _SPLIT.split(sentence.strip(" .!\"'")):
        plain = re.sub(r"\bi'm\b", "I am", clause.strip(" ,"), flags=re.IGNORECASE)
        plain = re.sub(r"\bi've\b", "I have", plain, flags=re.IGNORECASE)
        yield _LATELY.sub("", plain)


def _facts(clause: str) -> Iterator[_Fact]:
    """The facts of one clause: the first wording that fits tells all of them."""
    if len(clause) > _LONGEST:
        return
    for wording, read in _WORDINGS:
        if found := wording.fullmatch(clause):
            facts = [fact for fact in read(found) if fact is not None]
            if facts:
                yield from facts
                return


def _noun_phrase(phrase: str) -> str:
    """A noun phrase as part of a subject's name: lower case, one spelling, 'new' and the like dropped where the noun
    is something one has only one of (a new address), kept where it tells two things apart (a new cat)."""
    words = phrase.lower().replace("favorite", "favourite").replace("color", "colour").split()
    if words[-1] in _ATTRIBUTES or "favourite" in words:
        words = [word for word in words if word not in ("new", "current", "latest", "preferred")]
    return " ".join(words)


def _one(subject: str, relation: str, value: str, *, several: bool = False, most: int = 6) -> _Fact | None:
    """The fact, unless the value is none: a negation, a judgement, nothing."""
    value = value.strip()
    if not value or _NOT_A_VALUE.match(value):
        return None
    plain = len(value.split()) <= most and not _HANGING.search(value)
    return _Fact(f"{subject}|{relation}", plain, several)


def _who(phrase: str) -> tuple[str, bool] | None:
    """Somebody or something as a subject's name, and whether there may be several; `None` where it is neither."""
    if phrase.lower() in ("i", "we"):
        return phrase.lower(), False
    if phrase.split()[0].lower() in _NOBODY:
        return None
    name = _noun_phrase(phrase)
    return name, name.split()[-1] in _SEVERAL


def _relation(relation: str) -> Callable[[re.Match[str]], list[_Fact | None]]:
    def read(found: re.Match[str]) -> list[_Fact | None]:
        groups = found.groupdict()
        who = _who(groups.get("who") or "I")
        return [_one(who[0], relation, found["v"], several=who[1])] if who else []

    return read


def _named(found: re.Match[str]) -> list[_Fact | None]:
    name = _noun_phrase(found["x"])
    if name.split()[-1] in _ATTRIBUTES and name != "the company":
        return []
    return [_one(name, "name", found["v"], several=name.split()[-1] in _SEVERAL, most=4)]


def _favourite(found: re.Match[str]) -> list[_Fact | None]:
    owner = _noun_phrase(found["whose"]) if found.groupdict().get("whose") else "my"
    several = owner.split()[-1] in _SEVERAL
    return [_one("i" if owner == "my" else owner, _noun_phrase(f"favourite {found['x']}"), found["v"], several=several)]


def _attribute(found: re.Match[str]) -> list[_Fact | None]:
    """'My <noun> is <value>', where the noun is one that there is one of."""
    name = _noun_phrase(found["x"])
    *owner, noun = name.split()
    if noun not in _ATTRIBUTES:
        return []
    if noun == "birthday" and owner == ["my"]:
        return []
    if owner == ["my"] and noun in _OWN:
        return [_one("i", _OWN[noun], found["v"])]
    if noun in ("car", "home", "name") and not name.endswith(("'s name", "user name")) and owner[-1:] != ["middle"]:
        return []
    if (holder := re.fullmatch(r"(.+)'s? (?:(.+) )?(\w+)", name)) and holder[1].split()[-1] in _SEVERAL:
        return [_one(name, "is", found["v"], several=True)]
    return [_one(name, "is", found["v"])]


_OWN = {
    "name": "name", "age": "age", "employer": "employer", "job": "job", "profession": "job",
    "occupation": "job", "hometown": "birthplace",
}  # fmt: skip
"""What one says about oneself in two ways: 'my job is', 'I work as'."""


def _place_or_time(found: re.Match[str]) -> list[_Fact | None]:
    """'My keys are in the drawer', 'the meeting is on Friday at three': where a thing is, or on what day and when."""
    name, value = _noun_phrase(found["x"]), found["v"]
    noun = name.split()[-1]
    if noun in _PEOPLE or noun in _ATTRIBUTES - {"car", "deadline", "date"}:
        return []
    day, clock = _DAY.search(value), _CLOCK.search(value)
    if day or clock:
        return [_one(name, "day", value) if day else None, _one(name, "time", value) if clock else None]
    if re.match(rf"{_PREPOSITION}\s+(?:(?:the|a|an|my|our)\s+\w|room\s|(?-i:[A-Z]))", value, re.IGNORECASE):
        # "The hotel is in Rome", on another journey, is another hotel.
        return [_one(name, "place", value, several=name.startswith("the "))]
    return []


def _counted(found: re.Match[str]) -> list[_Fact | None]:
    return [_one("i", f"count {found['x'].lower()}", found["v"])] if found["x"].lower() in _COUNTED else []


def _born(found: re.Match[str]) -> list[_Fact | None]:
    who = _who(found["who"])
    if who is None or re.search(r"\d{4}", found["v"]):
        return []
    return [_one(who[0], "birthday" if found["how"].lower() == "on" else "birthplace", found["v"], several=who[1])]


def _birthday(found: re.Match[str]) -> list[_Fact | None]:
    return [_one("i", "birthday", found["v"])] if re.search(r"\d", found["v"]) else []


def _age(found: re.Match[str]) -> list[_Fact | None]:
    return _relation("age")(found) if found["old"] or _is_person(found["who"]) else []


def _is_person(phrase: str) -> bool:
    words = phrase.lower().split()
    return words[0] in ("i", "we") or words[0] not in ("my", "our", "the") or bool(_PEOPLE.intersection(words))


def _moved(found: re.Match[str]) -> list[_Fact | None]:
    # "I moved to Oslo in 2010" tells the past, not a change.
    if not _is_person(found["who"]) or re.search(r"\d|\b(?:last|ago|when|as)\b", found["v"]):
        return []
    return _relation("home")(found)


def _wording(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_X = rf"(?P<x>{_NP})"
_THE_X = r"(?P<x>(?:my|our|the)\s+(?:[^\s,:;]+\s+){0,3}?[^\s,:;]+)"
_WORDINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], list[_Fact | None]]], ...] = (
    # names
    (_wording(rf"(?:my name{_BE}|call me|you can call me|people call me|i am called|i go by(?: the name of)?|"
              rf"i changed my name to){_V}"), _relation("name")),
    (_wording(rf"{_X}(?:{_BE}\s+(?:called|named)|\s+goes by){_V}"), _named),
    (_wording(rf"{_X}'s (?:new )?name{_BE}{_V}"), _named),
    (_wording(rf"the name of {_X}{_BE}{_V}"), _named),
    (_wording(rf"(?P<v>.+)\s+is the name of {_X}"), _named),
    (_wording(rf"(?:i|we){_HAVE} (?:renamed) {_X} (?:to|as){_V}"), _named),
    (_wording(rf"(?:i|we){_HAVE} changed {_X}'s name to{_V}"), _named),
    (_wording(rf"{_X} (?:has|got) a new name\s?[,:]?{_V}"), _named),
    # where one lives and works, what as, how old
    (_wording(rf"{_WHO}(?:{_BE} (?:living|based)|\s+lives?|{_HAVE} settled) in{_V}"), _relation("home")),
    (_wording(rf"{_WHO}{_HAVE} (?:moved|relocated)(?: from .+?)? to{_V}"), _moved),
    (_wording(rf"my home is in{_V}"), _relation("home")),
    (_wording(r"(?P<v>.+) is where i live"), _relation("home")),
    (_wording(rf"{_WHO}\s+works?\s+as\s+an?{_V}"), _relation("job")),
    (_wording(rf"{_WHO}(?:\s+works?\s+(?:at|for)|{_BE} employed (?:at|by)|{_HAVE} started working (?:at|for)){_V}"),
     _relation("employer")),
    (_wording(r"(?P<v>.+) is where i work"), _relation("employer")),
    (_wording(rf"{_WHO}(?:{_BE}|{_HAVE} turned) (?P<v>{_NUMBER})(?P<old> years old)?"), _age),
    (_wording(rf"{_WHO}\s+(?:was|were)\s+born (?P<how>in|on){_V}"), _born),
    (_wording(rf"i (?:have|own) (?P<v>{_NUMBER}|no) (?P<x>\w+)"), _counted),
    # favourites
    (_wording(rf"my (?:new )?(?:favou?rite|preferred) (?P<x>[\w' -]+?)(?:{_BE}|\s+changed to){_V}"), _favourite),
    (_wording(rf"(?P<whose>{_NP}|{_NAME})'s (?:favou?rite) (?P<x>[\w' -]+?){_BE}{_V}"), _favourite),
    (_wording(r"(?P<v>.+) is my (?:new )?favou?rite (?P<x>[\w' -]+)"), _favourite),
    (_wording(rf"the (?P<x>\w+) i (?:like best|love most|prefer){_BE}{_V}"), _favourite),
    # what there is one of
    (_wording(rf"my (?:birthday|date of birth){_BE}(?: on)?{_V}"), _birthday),
    (_wording(rf"{_THE_X}(?:\s+(?:is|are)|\s?:|\s+(?:has )?changed to){_V}"), _attribute),
    (_wording(rf"(?:i|we){_HAVE} changed {_THE_X} to{_V}"), _attribute),
    # where and when
    (_wording(rf"{_THE_X}(?:{_BE}|\s+(?:will be|takes place|starts|happens)|{_BE} planned)"
              rf"\s+(?P<v>(?:(?:{_PREPOSITION}|today|tomorrow|tonight|next|this)\b).*)"), _place_or_time),
    (_wording(rf"{_THE_X}(?:{_HAVE} (?:been |got )?|\s+(?:was|is|got) )(?:moved|rescheduled|postponed|brought forward)"
              rf"(?: from .+?)? to{_V}"), _place_or_time),
    (_wording(rf"(?:i|we){_HAVE} (?:put|keep|left|store|hid|parked) {_THE_X}\s+(?P<v>{_PREPOSITION}\b.+)"),
     _place_or_time),
)  # fmt: skip
"""Wordings and who reads them; earlier ones go before later ones."""
