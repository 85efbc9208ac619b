"""Facts read from a plain clause: their subjects, and whether all of the wording is understood.

Knows the wordings of facts about people, things and appointments, and which nouns there is one of. Knows nothing about
what comes of two statements on one subject.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from jc1.memory.supersession.segmentation import LONGEST, words


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a clause. `subject` names what it is about, "my cat|name"; its value is of no matter here."""

    subject: str
    unqualified: bool = True
    """True where the value is short and has nothing hanging on it."""
    multi_valued: bool = False
    """True where somebody may have more than one of these."""


# A noun phrase with its owner, without anything that would make it a clause.
_WORD = (
    r"(?!(?:is|are|am|was|were|has|have|had|been|will|would|could|should|must|used|that|which|who|of|and|or|to|in|"
    r"at|on|i|we|you|under|behind|called|named|not|never|for|from|by|with)\b)[^\s,:;]+"
)
_OWNER = r"(?!(?:it|that|there|he|she|what|who|here|let|how|where|when|everyone|today|yesterday)'s)[^\W\d][\w-]*"
_NP = (
    rf"(?:(?:my|our|the)\s+{_WORD}(?:\s+{_WORD}){{0,4}}?"
    rf"|{_OWNER}(?:\s[^\W\d][\w-]*)?'s\s+{_WORD}(?:\s+{_WORD}){{0,2}}?)"
)
_NAME = rf"(?:(?-i:[A-Z][\w-]+(?:\s[A-Z][\w-]+)?)|{_OWNER}(?:\s(?!(?:now|has|had|is|was|just)\b)[^\W\d][\w-]*)?)"
_WHO = rf"(?P<who>i|we|{_NP}|{_NAME})"
_X = rf"(?P<x>{_NP})"
_VALUE = r"(?P<v>.+)"
_BE = r"(?:\s+(?:am|is|are)|'s)"
_HAVE = r"(?:\s+(?:have|has|had to)|'s)?"
_V = rf"\s+{_VALUE}"
_NUMBER = (
    r"(?:\d{1,3}|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ -](?:one|two|three|four|five|six|seven|"
    r"eight|nine))?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen)"
)
# Not "tomorrow" or "next week": such a day is over soon, and must not hide one that stays.
_DAY = re.compile(
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day(?!'s)|(?:january|february|march|april|may|june|july|august|"
    r"september|october|november|december)|\d{1,2}(?:st|nd|rd|th)|\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}(?:/\d{2,4})?|"
    r"\d{1,2}\.\d{1,2}\.\d{2,4})\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"\b(?:\d{1,2}(?::|\.)\d\d|\d{1,2}\s?(?:am|pm|o'clock)|noon|midnight|at \d{1,2}(?!\s(?!on\b|in\b|and\b|today|"
    rf"tomorrow)[^\W\d]|\d)|(?:half|quarter)(?: past| to)? {_NUMBER}|{_NUMBER} o'clock)\b",
    re.IGNORECASE,
)
_PREPOSITION = r"(?:in|on|at|under|behind|beside|above|below|inside|near|next to|on top of|by)"
_PLACE = (
    r"(?:(?:the|a|an|my|our|[\w-]+'s)\s+\w|(?:room|hall|building|studio|office|gate|floor|house|number)\s|(?-i:[A-Z]))"
)
_STREET = re.compile(
    r"\d{1,4}\s?\w?\s+(?-i:[A-Z])\D*|\d{1,4}\s?\w?\s+\D*\b(?:street|st|road|rd|lane|avenue|ave|square|way|drive|"
    r"close|rue)"
    r"\b\D*|[^\W\d][\w'.-]*(?:\s(?!in\b)[^\W\d][\w'.-]*)?\s\d{1,4}\s?\w?",
    re.IGNORECASE,
)
_PHONE = re.compile(r"\+?[\d\s()./-]{5,25}")
_EMAIL = re.compile(r"\S+@\S+")

_ATTRIBUTES = words(
    """address age birthday budget car city code colour combination date deadline email employer extension home hometown
    height job licence login motto name nickname number occupation passcode password passphrase pin plate policy
    postcode price profession rent salary size surname title town username version weight zip"""
)
"""Nouns of which a thing or a person has one."""
_SEVERAL = words(
    """aunt boyfriend brother child classmate client colleague cousin customer daughter friend girlfriend guest kid
    neighbour neighbor nephew niece patient pupil roommate flatmate sister son student teacher teammate uncle"""
)
"""People of whom somebody may have several."""
_ONE_AT_A_TIME = words(
    """accountant babysitter barber boss cleaner coach dentist doctor gp hairdresser landlady landlord lawyer manager
    optician partner physio physiotherapist supervisor therapist trainer tutor"""
)
"""People of whom a new one takes the old one's place."""
_PEOPLE = (
    _SEVERAL
    | _ONE_AT_A_TIME
    | words(
        """baby boy dad ex family father girl grandfather grandma grandmother grandpa husband mom mother mum parents
        wife"""
    )
)
_PETS = words("budgie canary cat dog goldfish hamster horse kitten parrot pony puppy rabbit tortoise turtle")
_NOBODY = words(
    """it this that there he she they you what here everyone everybody someone somebody nobody people who whoever one
    anyone anybody everything something nothing all most some many please dinner lunch breakfast life time"""
)
_COUNTED = words("brothers sisters siblings cats dogs children kids sons daughters")
# Lower case only: New York is a value.
_NOT_A_VALUE = re.compile(
    r"(?:not|no|never|wrong|right|correct|broken|boring|hard|easy|difficult|long|short|secret|a secret|gone|lost|"
    r"missing|important|great|nice|good|bad|terrible|(?:old|new)(?!\s\w+$)|changed|changing|expired|due|ready|full|"
    r"up|down|"
    r"fun|fine|okay|ok|tight|high|low|small|big|cheap|expensive|"
    r"unknown|private|safe|none|very|so|too|quite|pretty|rather|still|always|often|usually|sometimes|maybe|probably|"
    r"a pain|a mess|being|"
    r"(?:annoying|bugging|driving|getting|giving|haunting|killing|making|running|torturing)\s|\w+\s\w+s? long$|"
    r"different|the same|similar|like|better|worse|(?!five\b|olive\b)\w+(?:ful|ous|ive|able|ible|less))\b"
)
_ADVERBS = re.compile(r"^(?:(?:\w+ly|all|almost|already|as good as|just|now|once again|well) )+")
_ADJUNCT = (
    r"(?:$|\s*[,;(]|\s+(?:again|at|away|by|down|due|everywhere|for|from|here|in|inside|off|on|online|out|over|somewhere|there|"
    r"to(?!\s+\S*\d)|too|under|up|upon|with|\w+ly)\b)"
)
# Lower case only, as above.
_STATE = re.compile(
    r"(?:banned|blocked|blown|broken|canceled|cancelled|compromised|cracked|exposed|forgotten|found|frozen|given|guessed|"
    r"hacked|held|hidden|kept|known|leaked|locked|mispronounced|misspelled|misspelt|overrated|paid|reset|revoked|"
    r"ruined|sent|shown|shut|sold|spent|stolen|suspended|taken|underrated|written|"
    r"alive|bankrupt|case-sensitive|dead|insecure|invalid|offline|online|overdue|public|secure|strong|unlisted|unsafe|"
    rf"valid|visible|weak|abroad|everywhere|here|nowhere|off|out|over|overseas|somewhere|there){_ADJUNCT}"
)
"""What becomes of a thing, said where a value would stand: "My password is leaked"."""
_NO_CODE = re.compile(
    rf"(?:(?!(?:hundred|thousand)\b)[a-z]\w+(?:ed|ing){_ADJUNCT}"
    r"|an? (?!\S*\d|(?:hundred|thousand|million|dozen|couple|few|small|medium|large)\b)|one of\b"
    r"|(?:at|behind|beneath|beside|in|inside|near|next to|on|under) (?:an?|the|my|our|risk|danger|use)\b"
    r"|(?:common|complex|dumb|simple|silly|stupid|generic|yours|mine|ours|theirs|his|hers)$)"
)
"""What is said of a number, a code or a name that one reads off: "My rent is raised", "... is under the keyboard"."""
_NO_NAME = re.compile(
    r"(?:after|an?|anytime|again|asap|away|back|by|crazy|cruel|down|for|from|home|if|in|insane|later|lazy|mad|mud|"
    r"old-fashioned|on|out|over|silly|soon|stupid|to|up|upon|tomorrow|tonight|today|weird|whatever|when|whenever)\b",
    re.IGNORECASE,
)
_NO_TOWN = re.compile(
    r"(?:an?|my|our|this|that|the (?-i:[a-z])\w*|bliss|chaos|comfort|darkness|debt|denial|exile|fear|harmony|hope|"
    r"limbo|luxury|misery|pain|peace|poverty|sin|squalor|style|terror|uncertainty|constant|total)\b",
    re.IGNORECASE,
)
_NO_FIRM = re.compile(
    r"(?:an?|day|days|free|fun|home|hours|midnight|money|myself|night|nights|noon|nothing|peace|peanuts|pleasure|school|weekends?|work|years|"
    r"you|me|us|him|her|them|(?-i:the (?:choir|gym|club|party|army|call|meeting|others|queue|team|weekends?|"
    r"moment))|\W*\d)\b",
    re.IGNORECASE,
)
_NO_PLACE = re.compile(
    r"in (?:the|a|an|my|our) (?:good |bad |best )?(?:hurry|lead|making|mess|middle|mood|name|rush|shape|way|works)\b",
    re.IGNORECASE,
)
_NO_VALUES = {
    "name": _NO_NAME, "home": _NO_TOWN, "employer": _NO_FIRM, "place": _NO_PLACE, "is": _NO_CODE,
    "birthplace": re.compile(r"[a-z]\w+(?:ed|ing)\b"), "deadline": re.compile(r"\w+(?:ed|ing)$"),
}  # fmt: skip
"""By relation what is no value of it, besides what is none of any."""
_HANGING = re.compile(
    r"[;()]|[,:](?!\d)|\b(?:and|but|with|because|who|which|that|when|where|while|since|until|till|from|for|near|so|"
    r"if|or|as|after|"
    r"before|than|though|although|unless|last|ago|every|not|was|is|are|also)\b",
    re.IGNORECASE,
)
_ORIGIN = re.compile(
    r"(?:\w+(?:ish|ese|ian|ean|ican)|german|french|dutch|greek|swiss|czech|thai|iraqi|israeli|arab|asian|catholic|"
    r"muslim|jewish|hindu|buddhist|vegan)\b",
    re.IGNORECASE,
)
_PROPER = re.compile(r"(?:(?:Dr|Mrs?|Ms|Prof)\.?\s)?[^\W\d_a-z][\w'-]*(?:\s[^\W\d_a-z][\w'-]*){0,2}")
_BARE_NAME = re.compile(
    r"(?!(?:the|an?|my|our|your|his|her|its|their)\b)[^\W\d][\w'-]*(?:\s[^\W\d][\w'-]*)?", re.IGNORECASE
)
_TRADES = words(
    """accountant actor actress actuary administrator analyst animator architect artist assistant astronaut astronomer
    author baker banker barber barista bartender biologist bookkeeper bookseller bricklayer broker builder
    bursar butcher butler caretaker carpenter cashier chef chemist cleaner clerk coach composer consultant cook
    counsellor courier curator dancer dentist designer detective developer dietician diplomat director doctor
    driver economist editor electrician engineer farmer firefighter fisherman florist gardener geologist
    goldsmith guard guide hairdresser historian illustrator inspector instructor interpreter janitor jeweller
    joiner journalist judge lawyer lecturer librarian locksmith manager mathematician mechanic midwife miner
    model musician nanny novelist nurse officer optician painter paramedic pharmacist photographer physicist
    physiotherapist pianist pilot plumber policeman policewoman porter postman potter producer professor
    programmer psychologist publisher receptionist reporter researcher sailor salesman saleswoman scientist
    seamstress secretary shepherd shopkeeper singer smith soldier solicitor statistician surgeon surveyor tailor
    teacher technician therapist tiler trainer translator tutor typist undertaker vet veterinarian waiter
    waitress watchmaker weaver welder writer zookeeper"""
)


def left_behind(clause: str) -> Iterator[str]:
    """Yield the subjects that 'I switched to Initech' may be about, where what was left is known."""
    if (match := _SWITCHED.fullmatch(clause)) and (who := _who(match["who"])):
        yield from (f"{who[0]}|{relation}" for relation in ("home", "employer", "job"))


def facts(clause: str) -> Iterator[Fact]:
    """Yield the facts of one clause: the first wording that fits tells all of them."""
    if len(clause) > LONGEST:
        return
    for wording, read in _wordings():
        if match := wording.fullmatch(clause):
            facts = [fact for fact in read(match) if fact is not None]
            if facts:
                yield from facts
                return


def _noun_phrase(phrase: str) -> str:
    """Return a noun phrase as part of a subject's name: lower case, one spelling, 'our' and 'the' as 'my'.

    'New' and the like are dropped where the noun is something one has only one of (a new address), kept where they tell
    two things apart (a new cat).
    """
    phrase = " ".join(phrase.lower().split()).replace("favorite", "favourite").replace("color", "colour")
    for name, spelling in _SPELLINGS:
        phrase = spelling.sub(name, phrase)
    first, *rest = phrase.split()
    listed = [first if first not in ("our", "the") else "my", *rest]
    noun = phrase.split(" for ")[0].split()[-1]
    if noun in _ATTRIBUTES or _one_at_a_time(phrase) or "favourite" in listed:
        listed = [word for word in listed if word not in _CURRENT]
    return " ".join(listed)


def _one_at_a_time(name: str) -> bool:
    """Return whether a new one takes the old one's place: a boss, a piano teacher."""
    *before, noun = [word for word in name.split() if word not in _CURRENT] or [""]
    return noun in _ONE_AT_A_TIME or (noun in ("teacher", "instructor") and len(before) > 1)


def _perhaps_several(name: str) -> bool:
    return name.split()[-1] in _SEVERAL and not _one_at_a_time(name)


_CURRENT = words("new current latest preferred all-time actual correct own")
_SPELLINGS = (
    ("phone number", re.compile(r"(?:(?:mobile|cell|tele)[ -]?phone|telephone|mobile|cell|phone)(?: number)?$")),
    ("my phone number", re.compile(r"^(?:my|our) (?:new )?number$")),
    ("email", re.compile(r"(?:e-?mail|mail)(?: address)?$")),
    ("address", re.compile(r"(?:home|postal|street) address$")),
)


def _one(subject: str, relation: str, value: str, *, multi_valued: bool = False, most: int = 6) -> Fact | None:
    """Return the fact, or `None` where the value is none: a negation, a judgement, nothing.

    `most` is how many words a value may have that is understood as a whole.
    """
    value = value.strip()
    other = _NO_VALUES.get(relation)
    bare = _ADVERBS.sub("", value)
    if not bare or _NOT_A_VALUE.match(bare) or _STATE.match(bare) or (other and other.match(bare)):
        return None
    unqualified = len(value.split()) <= most and not _HANGING.search(value)
    return Fact(f"{subject}|{relation}", unqualified, multi_valued)


def _who(phrase: str) -> tuple[str, bool] | None:
    """Return a subject's name and whether there may be several; `None` where the phrase is nobody and nothing."""
    if phrase.lower() in ("i", "we"):
        return "i", False
    named = phrase.lower().split()
    if named[0] in _NOBODY or _CURRENT.issuperset(named):
        return None
    name = _noun_phrase(phrase)
    return name, name.split()[-1] in _SEVERAL


Read = Callable[[re.Match[str]], list[Fact | None]]


def _relation(relation: str) -> Read:
    """Return the reader of a wording that tells one relation of the group `who`, or of the speaker."""

    def read(match: re.Match[str]) -> list[Fact | None]:
        groups = match.groupdict()
        who = _who(groups.get("who") or "I")
        return [_one(who[0], relation, match["v"], multi_valued=who[1])] if who else []

    return read


def _called_by_others(match: re.Match[str]) -> list[Fact | None]:
    """Read 'My friends call me Bo': a name beside one's own, so that only a change supersedes that."""
    return [_one("i", "name", match["v"], multi_valued=True)]


def _named(match: re.Match[str]) -> list[Fact | None]:
    name = _noun_phrase(match["x"])
    noun = name.split()[-1]
    if noun in _ATTRIBUTES:
        return []
    return [_one(name, "name", match["v"], multi_valued=_perhaps_several(name), most=4)]


def _one_of(match: re.Match[str]) -> list[Fact | None]:
    """Read 'I have a dentist called Tom': there may be another, so that only a change supersedes it."""
    name = _noun_phrase(f"my {match['x']}")
    if name.split(" for ")[0].split()[-1] in _ATTRIBUTES:
        return [_one(name, "is", match["v"])]
    if match.groupdict().get("of"):
        return []
    return [_one(name, "name", match["v"], multi_valued=not _one_at_a_time(name), most=4)]


def _is_named(match: re.Match[str]) -> list[Fact | None]:
    """Read 'My boss is Tom' and 'Tom is my boss'."""
    name, value = _noun_phrase(match["x"]), match["v"]
    noun = name.split()[-1]
    # What stands before "is my boss" is a name in small letters, too.
    before = match.start("v") < match.start("x") and (_one_at_a_time(name) or noun in _PETS)
    if not (_PROPER.fullmatch(value) or (before and _BARE_NAME.fullmatch(value) and _who(value))):
        return []
    if _ORIGIN.match(value) or _DAY.search(value) or noun in _ATTRIBUTES:
        return []
    return [_one(name, "name", value, multi_valued=not _one_at_a_time(name) and noun not in _PETS, most=3)]


def _favourite(match: re.Match[str]) -> list[Fact | None]:
    owner = _noun_phrase(match["whose"]) if match.groupdict().get("whose") else "my"
    multi_valued = owner.split()[-1] in _SEVERAL
    return [
        _one(
            "i" if owner == "my" else owner,
            _noun_phrase(f"favourite {match['x']}"),
            match["v"],
            multi_valued=multi_valued,
        )
    ]


def _attribute(match: re.Match[str]) -> list[Fact | None]:
    """Read 'My <noun> is <value>', where the noun is one that there is one of."""
    name, value = _noun_phrase(match["x"]), match["v"]
    *owner, noun = name.split(" for ")[0].split()
    if noun not in _ATTRIBUTES:
        return []
    if owner == ["my"] and noun == "birthday":
        return [_one("i", "birthday", value)] if _DAY.search(value) else []
    if owner == ["my"] and noun in _OWN:
        return [_one("i", _OWN[noun], value)] if _OWN[noun] != "job" or _is_trade(value) else []
    if noun in ("job", "employer", "age", "home") and (holder := re.fullmatch(r"(.+)'s", " ".join(owner))):
        who = _who(holder[1])
        return [_one(who[0], noun, value, multi_valued=who[1])] if who else []
    if noun in ("car", "home", "name") and not name.endswith(("'s name", "user name")) and owner[-1:] != ["middle"]:
        return []
    if noun == "deadline":
        return [_one(" ".join(owner).removesuffix("'s"), "deadline", value)]
    holder = re.fullmatch(r"(.+)'s? (?:(.+) )?(\w+)", name)
    return [_one(name, "is", value, multi_valued=holder is not None and holder[1].split()[-1] in _SEVERAL)]


_OWN = {
    "name": "name", "age": "age", "employer": "employer", "job": "job", "profession": "job",
    "occupation": "job", "hometown": "birthplace",
}  # fmt: skip
"""Relations that one tells about oneself in two ways, by noun: 'my job is', 'I work as'."""


def _reached(match: re.Match[str]) -> list[Fact | None]:
    for name, shape in (("email", _EMAIL), ("phone number", _PHONE), ("address", _STREET)):
        if shape.fullmatch(match["v"]):
            return [_one(f"my {name}", "is", match["v"])]
    return []


def _place_or_time(match: re.Match[str]) -> list[Fact | None]:
    """Read 'My keys are in the drawer', 'the meeting is on Friday at three': a thing's place, or its day and time."""
    name, value = _noun_phrase(match["x"]), match["v"]
    noun = name.split()[-1]
    if noun == "deadline":
        return _attribute(match)
    if noun in _PEOPLE or noun in _ATTRIBUTES - {"car", "date"}:
        return []
    day, clock = _DAY.search(value), _CLOCK.search(value)
    if day or clock:
        return [_one(name, "day", value) if day else None, _one(name, "time", value) if clock else None]
    if re.match(rf"{_PREPOSITION}\s+{_PLACE}", value, re.IGNORECASE):
        # "The hotel is in Rome", on another journey, is another hotel.
        return [_one(name, "place", value, multi_valued=match["x"].lower().startswith("the "))]
    return []


def _put(match: re.Match[str]) -> list[Fact | None]:
    """Read 'I put the drill in the attic': wherever it was, it is there now."""
    return [fact and replace(fact, multi_valued=False) for fact in _place_or_time(match)]


def _moved_to(match: re.Match[str]) -> list[Fact | None]:
    """Read 'The meeting was moved to Friday', '... to the town hall'."""
    if facts := _place_or_time(match):
        return facts
    name, value = _noun_phrase(match["x"]), match["v"]
    if name.split()[-1] in _PEOPLE | _ATTRIBUTES:
        return _attribute(match)
    placed = re.match(_PLACE, value, re.IGNORECASE)
    return [_one(name, "place", value)] if placed else []


def _counted(match: re.Match[str]) -> list[Fact | None]:
    counted = match["x"].lower()
    return (
        [_one("i", f"count {counted}", match["v"], multi_valued=counted not in _COUNTED)]
        if counted.endswith("s") or counted in _COUNTED
        else []
    )


def _born(match: re.Match[str]) -> list[Fact | None]:
    who = _who(match["who"])
    if who is None or re.search(r"\d{4}", match["v"]):
        return []
    return [_one(who[0], "birthday" if match["how"].lower() == "on" else "birthplace", match["v"], multi_valued=who[1])]


def _birthday(match: re.Match[str]) -> list[Fact | None]:
    return [_one("i", "birthday", match["v"])] if re.search(r"\d", match["v"]) else []


def _age(match: re.Match[str]) -> list[Fact | None]:
    return _relation("age")(match) if match["old"] or match["turned"] or _is_person(match["who"]) else []


def _is_person(phrase: str) -> bool:
    listed = phrase.lower().split()
    if listed[0] in ("i", "we") or (_PEOPLE | _PETS).intersection(listed):
        return True
    return listed[0] not in ("my", "our", "the") and phrase[:1].isupper()


def _lives_in(match: re.Match[str]) -> list[Fact | None]:
    return [] if _is_thing(match["who"]) else _relation("home")(match)


def _is_thing(phrase: str) -> bool:
    listed = phrase.lower().split()
    return listed[0] in ("my", "our", "the") and not (_PEOPLE | _PETS).intersection(listed)


def _moved(match: re.Match[str]) -> list[Fact | None]:
    # "I moved to Oslo in 2010" tells the past, not a change.
    if _STREET.fullmatch(match["v"]):
        return _lives_at(match)
    if _is_thing(match["who"]) or re.search(r"\d|\b(?:last|ago|when|as)\b|^the\s(?![A-Z])", match["v"]):
        return []
    return _relation("home")(match)


def _lives_at(match: re.Match[str]) -> list[Fact | None]:
    who = _who(match["who"])
    if who is None:
        return []
    return [_one("my address" if who[0] == "i" else f"{who[0]}'s address", "is", match["v"], multi_valued=who[1])]


def _house_at(match: re.Match[str]) -> list[Fact | None]:
    return [_one("my address", "is", match["v"])] if _STREET.fullmatch(match["v"]) else []


def _is_a(match: re.Match[str]) -> list[Fact | None]:
    owned = re.match(r"(?:my|our|the)\s", match["v"], re.IGNORECASE)
    if not _is_person(match["who"]) or owned or _noun(match["v"]) not in _TRADES:
        return []
    return _relation("job")(match)


def _noun(phrase: str) -> str:
    return phrase.lower().split()[-1]


def _is_trade(value: str) -> bool:
    """Return whether a value is what somebody may be: "my job is remote" tells something else."""
    return _noun(value) in _TRADES or _noun(value).endswith(("ist", "ian", "man", "woman", "eer", "yst"))


def _due(match: re.Match[str]) -> list[Fact | None]:
    return [_one(_noun_phrase(match["x"]), "deadline", match["v"])] if _DAY.search(match["v"]) else []


def _named_either(match: re.Match[str]) -> list[Fact | None]:
    """Read a name whose thing stands in one of the groups `x` and `y`."""
    name = _noun_phrase(match["x"] or match["y"])
    return [_one(name, "name", match["v"], multi_valued=_perhaps_several(name), most=4)]


def _noted(match: re.Match[str]) -> list[Fact | None]:
    """Read 'Locker code: 4312'."""
    again = _NOTED.fullmatch(f"my {match[0]}")
    return _attribute(again) if again else []


def _one_event(match: re.Match[str]) -> list[Fact | None]:
    """Read 'I have a haircut on Friday': there may be another, so that only a change supersedes it."""
    again = _EVENT.fullmatch(f"my {match['a']} is {match['v']}")
    return [fact and replace(fact, multi_valued=True) for fact in _place_or_time(again)] if again else []


def _my_named(match: re.Match[str]) -> list[Fact | None]:
    """Read 'The cat I have is called Ada.'"""
    return [_one(_noun_phrase(f"my {match['a']}"), "name", match["v"], most=4)]


def _wording(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


@cache
def _wordings() -> tuple[tuple[re.Pattern[str], Read], ...]:
    """Return the wordings, compiled for the first clause: that takes 60 ms, and most programs never read one."""
    return tuple((_wording(pattern), read) for pattern, read in _WORDINGS)


_THE_X = rf"(?P<x>{_NP}(?:\s+for\s+(?:my|our|the)\s+[^\s,:;]+)?)"
_NOTED = _wording(rf"{_THE_X}\s?[:=]{_V}")
_EVENT = _wording(rf"{_X} is\s+{_VALUE}")
_SWITCHED = _wording(rf"{_WHO}{_HAVE} (?:switched|moved|transferred) to{_V}")
_NOUN = r"(?P<x>[\w'-]+(?: (?!(?:and|or)\b)[\w'-]+){0,5}?)"
_SET = r"(?:changed|set|reset|updated|switched)"
_MOVED = r"(?:moved|rescheduled|postponed|brought forward|changed|shifted|put back|pushed back|extended)"
_WORDINGS: tuple[tuple[str, Read], ...] = (
    # names
    (rf"(?:my (?:new )?name{_BE}|(?:please )?call me(?! (?:on|at|in|back|when|if|later)\b)|"
              rf"you can call me(?! on\b)|"
              rf"i would like you to call me|feel free to call me|i am called|my first name{_BE}|"
              rf"i (?:usually )?go by(?: the name of)?|i(?: have)? changed my name to){_V}", _relation("name")),
    (rf"(?:(?:people|they|(?:my )?friends|everyone|everybody)(?: at work)? calls? me|"
              rf"(?:most )?people know me as){_V}", _called_by_others),
    (rf"{_VALUE} is my name", _relation("name")),
    (rf"{_VALUE} is what (?:people|they|my friends) call me", _called_by_others),
    (rf"{_X}(?:{_BE}(?: an? \w+)?\s+(?:called|named|known as)|\s+goes by(?: the name of)?){_V}", _named),
    (rf"{_X}'s (?:new )?name(?:{_BE}|(?: has)? changed to){_V}", _named),
    (rf"the (?:new )?name of {_X}{_BE}{_V}", _named),
    (rf"(?P<v>.+)\s+is the (?:new )?name of {_X}", _named),
    (rf"(?:i|we|they){_HAVE} renamed? {_X} (?:(?:to|as)\s+)?(?P<v>\S+(?: \S+)?)", _named),
    (rf"(?:i|we){_HAVE} (?:decided to )?(?:call|called|named|name) {_X} (?P<v>\S+(?: \S+)?)", _named),
    (rf"(?:i|we|they){_HAVE} changed? (?:{_X}'s name|the name of (?P<y>{_NP})) to{_V}",
     _named_either),
    (rf"(?:everyone|everybody) calls {_X} (?P<v>\S+(?: \S+)?)", _named),
    (rf"the (?P<a>[\w'-]+(?: [\w'-]+){{0,4}}?) (?:that )?i (?:have|own)(?: got)? is (?:called|named){_V}",
     _my_named),
    (rf"(?:i|we){_HAVE} (?:gave|given) {_X} the (?:new )?name{_V}", _named),
    (rf"{_X} (?:answers to|has the (?:new )?name|(?:was|has been) given the (?:new )?name){_V}", _named),
    (rf"(?:i|we){_HAVE} (?:chose|chosen|picked) (?P<v>.+) as (?:the|a) (?:new )?name (?:of|"
              rf"for) {_X}", _named),
    (rf"the name (?P<v>.+) belongs to {_X}", _named),
    (rf"(?P<v>.+) is what (?:i|we) call {_X}", _named),
    (rf"(?P<v>.+) is what {_X} is called", _named),
    (rf"{_X}(?: was| has been|'s been| is| got) renamed (?:to\s+|as\s+)?{_VALUE}", _named),
    (rf"{_X} (?:has|got|has got) a new name\s?[,:]?{_V}", _named),
    (rf"(?:i|we) (?:have|have got|own|run|got|go to|see) an? {_NOUN}(?:,| called| named|"
              rf"(?P<of> of)){_V}", _one_of),
    (rf"(?:i|we) (?:have|have got|got) a new {_NOUN}(?::|,){_V}", _one_of),
    # where one lives and works, what as, how old
    (rf"{_WHO}(?:{_BE} (?:living|based)|\s+lives?|{_HAVE} settled|\s+ha(?:ve|s) (?:lived|been living)|"
              rf"\s+resides?) in{_V}",
     _lives_in),
    (rf"{_WHO}(?:{_BE} living|\s+lives?|\s+resides?) at{_V}", _lives_at),
    (rf"{_WHO}{_HAVE} (?:moved|relocated)(?: house)? to{_V}", _moved),
    (rf"(?:my|our) (?:new )?(?:home|flat|apartment|place|house){_BE} (?:at|in){_V}", _house_at),
    (rf"(?:my|our) (?:new )?home{_BE} in{_V}", _relation("home")),
    (rf"(?:my|our) (?:new )?(?:flat|apartment|place|"
              rf"house){_BE} in(?P<v>\s+(?-i:[A-Z]).+)", _relation("home")),
    (rf"home for me is(?: in)?{_V}", _relation("home")),
    (rf"i make my home in{_V}", _relation("home")),
    (rf"i am (?:a resident of|at home in){_V}", _relation("home")),
    (rf"(?P<who>{_NP}|{_NAME})'s home is in{_V}", _relation("home")),
    (r"(?P<v>.+) is (?:where i live|my home|the (?:place|town|city) i (?:live in|"
              r"call home))", _relation("home")),
    (rf"the (?:town|city|place) (?:that )?i live in is{_V}", _relation("home")),
    (rf"{_WHO}(?:\s+works?|{_BE} working|{_HAVE} (?:worked|started (?:working|work)|"
              rf"been working)) as an?{_V}",
     _relation("job")),
    (rf"i (?:have (?:got )?a job|get paid to work|(?:earn|make) (?:my|"
              rf"a) living) as an?{_V}", _relation("job")),
    (rf"i am an?{_V} by (?:profession|trade)", _relation("job")),
    (rf"by (?:profession|trade),? i am an?{_V}", _relation("job")),
    (rf"{_WHO}(?:{_BE}|{_HAVE} become|\s+became|\s+switched to(?: being)?)(?: an?)?{_V}", _is_a),
    (rf"the (?:company|firm) (?:(?:that )?i work for|that employs me) is{_V}", _relation("employer")),
    (rf"{_WHO}(?:\s+works?|{_BE} (?:employed|working)|{_HAVE} (?:worked|been working|started(?: working|"
              rf" work| a job)?|"
              rf"started a new job|got a(?: new)? job|(?:was|were|got|been) hired)|\s+ha(?:ve|"
              rf"s) a(?: new)? job) (?:at|for|(?:by|with)(?= (?:the |(?-i:[A-Z])))){_V}", _relation("employer")),
    (rf"{_WHO}{_HAVE} (?:joined|switched jobs to){_V}", _relation("employer")),
    (r"(?P<v>.+) (?:is where i work|is the (?:company|firm) (?:that )?i work for|employs me|(?:has )?hired me|"
              r"is my (?:new )?employer)", _relation("employer")),
    (rf"{_WHO}(?:{_BE}(?: aged)?|{_HAVE} (?P<turned>turned|become|became|"
              rf"reached the age of)) (?P<v>{_NUMBER})(?P<old> years old| years of age)?"
              r"(?: yesterday| this (?:year|week|month)| last (?:week|month)| on (?:my|his|"
              r"her) last birthday)?", _age),
    (rf"{_WHO}\s+(?:was|were)\s+born (?P<how>in|on){_V}", _born),
    (rf"(?:i|we) (?:have|have got|own) (?:a total of )?(?P<v>{_NUMBER}|no) (?P<x>\w+)", _counted),
    (rf"(?:it is|there are) (?P<v>{_NUMBER}) (?P<x>\w+)(?: in my life| at home)?", _counted),
    (rf"the number of (?P<x>\w+) (?:that )?i have is (?P<v>{_NUMBER})", _counted),
    # favourites
    (rf"my (?:(?:new|all-time|current|absolute) )?(?:favou?rite|preferred) (?P<x>[\w' -]+?)"
              rf"(?:{_BE}|\s+(?:has )?changed to){_V}", _favourite),
    (rf"(?P<whose>{_NP}|{_NAME})'s (?:new )?(?:favou?rite) (?P<x>[\w' -]+?){_BE}{_V}", _favourite),
    (r"(?P<v>.+) is my (?:(?:new|all-time|current) )?favou?rite (?P<x>[\w' -]+)", _favourite),
    (rf"the (?P<x>\w+) i (?:like (?:the )?(?:best|most)|love (?:the )?most|prefer){_BE}{_V}", _favourite),
    (r"i (?:like|love) (?P<v>.+) (?:best|most) of (?:every|all) (?P<x>\w+)", _favourite),
    (r"i (?:like|love) (?P<v>.+) (?:more|better) than any other (?P<x>\w+)", _favourite),
    (rf"my (?P<x>\w+) of choice{_BE}{_V}", _favourite),
    (r"favou?rite (?P<x>[\w' -]+?)\s?[:=](?P<v>.+)", _favourite),
    # what there is one of
    (rf"(?:my|our) (?:actual |correct )?(?:birthday|date of birth)(?:{_BE}|\s+falls)(?: on)?{_V}", _birthday),
    (rf"(?:i have|i celebrate) my birthday on{_V}", _birthday),
    (r"(?P<v>.+) is my (?:actual |correct )?birthday", _birthday),
    (rf"(?:you|people|they) can (?:reach|call|phone|mail|email|write to) me (?:at|on|under|"
              rf"by){_V}", _reached),
    (rf"(?:please )?(?:reach|call|phone|mail|email|write to) me (?:at|on|under){_V}", _reached),
    (rf"(?:(?:you|people|they) can |please )?(?:send|post|mail) (?:post|mail|letters|"
              rf"parcels)(?: for me)? to{_V}",
     _reached),
    (rf"the (?:new )?(?:date|day|time|place|room) (?:for|of) {_X}{_BE}{_V}", _moved_to),
    (rf"the deadline (?:for|of) {_X}{_BE}(?: on)?{_V}", _due),
    (rf"the deadline (?:for|of) {_X} (?:(?:was|has been|has|got) )?{_MOVED} to{_V}", _due),
    (rf"(?:i|we|they){_HAVE} {_MOVED} the deadline (?:for|of) {_X} to{_V}", _due),
    (rf"{_X}{_BE} due(?: on| by)?{_V}", _due),
    (rf"{_X} (?:has|needs) to be (?:done|finished|ready|handed in) (?:by|on){_V}", _due),
    (rf"i (?:have to|must|need to) (?:hand in|submit|finish) {_X} (?:by|on){_V}", _due),
    (rf"{_THE_X}(?:{_BE}|\s?[:=]|\s+(?:(?:has |was |has been )?(?:changed|extended|updated|reset|went up|"
              rf"set) to|went to|reads))"
              rf"(?: about)?{_V}", _attribute),
    (rf"(?:i|we|they){_HAVE} {_SET} {_THE_X} to{_V}", _attribute),
    (rf"for {_THE_X} i use{_V}", _attribute),
    (rf"(?:i|we|they){_HAVE} (?:use|chose|chosen|picked|have|got|(?:gave|"
              rf"given) me) (?P<v>.+) as {_THE_X}", _attribute),
    (rf"(?:please )?use (?P<v>.+) (?:as|for) {_THE_X}", _attribute),
    (rf"here is {_THE_X}:{_V}", _attribute),
    (rf"(?P<bare>[\w'-]+(?: [\w'-]+){{0,2}}\s?[:=]){_V}", _noted),
    (rf"(?P<v>.+) is {_THE_X}", _attribute),
    # where and when
    (rf"{_X}(?:(?:{_BE}|\s+will be) (?:(?:re)?scheduled|planned|set|held|kept|stored)|\s+(?:can be found|"
              rf"should be|must be|ended up|got left)|{_BE}|"
              rf"\s+(?:will be|takes place|starts|begins|happens|lives|sits|stands|lies|hangs|belongs))"
              rf"\s+(?:always\s+)?(?:for\s+)?(?P<v>(?:(?:{_PREPOSITION}|today|tomorrow|tonight|next|"
              rf"this)\b)?.*)", _place_or_time),
    (rf"(?:i|we) (?:have|have got) {_X} (?P<v>(?:on|at)\s.+)", _place_or_time),
    (r"(?:i|we) (?:have|have got) an? (?P<a>[\w'-]+(?: [\w'-]+){0,4}?) (?P<v>(?:on|at)\s.+)", _one_event),
    (rf"(?P<v>.+) is when i have {_X}", _place_or_time),
    (rf"{_X}(?:{_HAVE} (?:been |got )?|\s+(?:was|is|got) ){_MOVED} (?:to|until|till){_V}", _moved_to),
    (rf"(?:i|we|they){_HAVE} {_MOVED} {_X} to{_V}", _moved_to),
    (rf"we meet for {_X}\s+(?P<v>{_PREPOSITION}\b.+)", _place_or_time),
    (rf"(?:i|we){_HAVE} (?:put|moved|hidden|hid) {_X}\s+(?P<v>{_PREPOSITION}\b.+)", _put),
    (rf"(?:i|we){_HAVE} (?:always )?(?:put|keep|kept|leave|left|dropped|stuffed|store|stored|hid|hide|"
              rf"hidden|parked|moved|found) {_X}"
              rf"\s+(?P<v>{_PREPOSITION}\b.+)", _place_or_time),
    (rf"(?:you will|you'll|you can) find {_X}\s+(?P<v>{_PREPOSITION}\b.+)", _place_or_time),
    # who somebody is
    (rf"{_X}{_BE}{_V}", _is_named),
    (rf"(?P<v>.+) is {_X}", _is_named),
)  # fmt: skip
"""Wordings and their readers; earlier ones go before later ones."""
