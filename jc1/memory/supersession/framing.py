"""Recognition of plain sentences, the writer's own: not reported, quoted, made up, taken back, conditional or in doubt.

"Ruben said: I live in Brussels now." tells of Ruben, "If they reset it, my code is 0000." of what may be. Knows the
English that marks such sentences, and how far a mark reaches: one sentence, all that follows, or the whole message.
Knows nothing about what a sentence tells. In doubt a sentence is not plain, since a fact that is wrongly retired is
never recalled again, while two that stand side by side are read with their dates.
"""

from __future__ import annotations

import re
from functools import cache

QUOTED = "«»"
"""Placeholder for a quotation in a sentence that goes on."""

_FIRST_PERSON = r"(?:i|my|mine|me|we|our|us|i'm|i've|i'd|i'll|we're|we've)"
_WEEKS = r"(?:an?|one|two|three|four|five|six|seven|ten|a\s+few|a\s+couple\s+of|some|several|\d+)"

_QUOTATION = r"""
    ```.*?(?:```|\Z) | (?m:^[ ]*>[^\n]*$) | "[^"]*(?:"|\Z) | “[^”]*(?:”|\Z) | „[^“”]*(?:[“”]|\Z) | «[^»]*(?:»|\Z)
  | `[^`]+` | (?<!\w)['‘](?=\S).{1,300}?(?<=\S)['’](?!\w)
"""
"""Text between marks of quotation; an opening one without an end reaches to the end of the text."""
_CLAUSE = rf"\b{_FIRST_PERSON}\b|(?:\S+\s+){{3}}\S"
"""Signs that a quotation is more than a name or a title."""

_MESSAGE = r"""
    # something to be done with a text
    (?:^|[.!?:,\n]\s*|\b(?:and|then|you|please)\s+)(?:please\s+)?(?:translate|re-?write|re-?phrase|paraphrase|
      proofread|conjugate|transcribe|pronounce|summari[sz]e|repeat\s+after\s+me|
      (?:correct|fix|check|improve|parse|diagram|complete|finish|continue)\s+(?:this|that|these|the|my)\s+
      (?:sentences?|grammar|spelling|text|phrase|translation|paragraph|lines?|essay|story|poem|letter|email))\b
  | \b(?:say|write|put|read|spell|sing|mean|means)\s+(?:(?:this|that|it)\s+)?(?:in|into|as)\s+
    (?:french|german|spanish|italian|dutch|english|latin|chinese|japanese|another\s+language)\b
  | \b(?:write|compose|draft|tell|make\s+up|invent)\s+(?:me\s+|us\s+)?(?:an?|another|the|some)\s+(?:[\w-]+\s+){0,3}
    (?:story|tale|poem|song|lyrics|joke|riddle|limerick|haiku|letter|e-?mail|essay|speech|dialogue|scene|script|
    monologue|diary|advert|ad|bio|biography|cv|text)\b
  | \b(?:for|as\s+an)\s+(?:example|instance)\b | \be\.g\. | \b(?:example|sentence|exercise|dictation|quote|text)\s*:
    # a game or fiction
  | \b(?:imagine|pretend(?:ing)?|role[-\s]?play(?:ing)?|fiction(?:al)?|make-believe|hypothetical(?:ly)?|what\s+if|
      once\s+upon\s+a\s+time|let(?:'s|\s+us)\s+(?:play|say|pretend|imagine|assume|suppose)|act\s+(?:as|like)|
      playing\s+(?:the\s+(?:role|part)|as)|in\s+character|
      you\s+are\s+(?:now\s+an?\s|an?\s.{1,30}\s(?:called|named))|
      dream(?:t|ed)\s+(?:that|of|about|i|we)|make\s+believe)\b
  | (?<!\bas\s)\b(?:in|from|for)\s+(?:my|the|this|that|a|an|our|another|his|her)\s+(?:[\w'-]+\s+){0,2}
      (?:dreams?|games?|story|novel|book|film|movie|play|series|show|song|poem|fairy\s+tale|campaign|universe|simulation|
      scenario|role|musical|opera|comic|fantasy|
      (?:next|past|other|parallel)\s+life)\b(?!\s+(?:is|are|club|shop|store)\b)
  | \bmy\s+(?:[\w'-]+\s+)?(?:character|avatar|alter\s+ego|persona|paladin|wizard)\b
    # not meant
  | \b(?:just\s+)?(?:kidding|joking)\b | \bjk\b | (?:^|\s)/s\b | \byeah,?\s+right\b | \ba\s+joke\b | \bsarcasm\b |
    \bironically\b | \bin\s+my\s+(?:dreams|sleep)\b | \bapril\s+fools?\b | \bl(?:ol|mao)\b | \bha(?:ha)+\b
  | (?m:^(?:oh,?\s+)?(?:sure|yeah|right|of\s+course)[,!.]*\s+and\b)
    # a letter, or what was sent on
  | (?m:^\s*(?:from|to|cc|subject|sent|fwd|re)\s*:) | (?m:^\s*dear\s+(?!jc1\b)[^\n,]{1,40},)
  | (?:^|\s)(?-i:[QAB]):\s
  | \b(?:forwarded|excerpt|transcript|copied\s+from|pasted)\b
    # taken back at once: "I live in Brussels. Not.", "..., not!"
  | (?:[.!?…,;:(\n]|\s[–—-])\s*
    (?:or\s+|of\s+course\s+|(?:certainly|obviously|definitely|absolutely|surely|clearly|probably)\s+)?
    not(?:\s+(?:really|at\s+all|true|even))?\s*(?=[.!?…)]|\Z)
  | [.!?…\n]\s*(?:
      no|nope|nah|wrong|false|lies|psych|sike|gotcha|as\s+if|(?:i|you)\s+wish|(?:yeah|sure),?\s+sure|fooled\s+you
    | no,?\s+wait|wait,?\s+no|(?:scratch|strike)\s+that|never\s*mind|forget\s+(?:it|that)
    | (?:no,?\s+)?(?:
        i\s+(?:lied|made\s+(?:that|it|this)\s+up|take\s+(?:that|it)\s+back|(?:did\s+not|didn't)\s+mean\s+(?:that|it))
      | i(?:'m|\s+am)\s+(?:lying|not\s+serious|(?:only|just)\s+testing)
      | (?:that|this|it)(?:'s|\s+is|\s+was)\s+
        (?:(?:all\s+|just\s+)?(?:a\s+lie|a\s+fib|a\s+test|made\s+up|nonsense|rubbish)|not\s+(?:true|so))
      )
    )\s*[.!?…]*\s*\Z
"""
"""Marks of a message of which no sentence is plain."""

_OWN_TOPIC = (
    r"[^:]*\b(?:updates?|news|info|change[sd]?|reminder|correction|note|fact|important|attention|address|job|work|home|"
    r"moved|renamed|switched|now|today|ps|life)\b"
)
"""Words before a colon that leave what follows the writer's own: "Life update: I moved."""

_ONWARDS = rf"""
    # "Ruben wrote: ..." and "Ruben: I ...", without marks that say where it ends
    \b(?:said|says?|told|tells|wrote|writes?|texted|texts|mailed|e-?mailed|messaged|asked|asks|replied|replies|
      answered|answers|shouted|whispered|sang|sings|announced|announces|posted|tweeted|reads?|goes|was\s+like)\b
      [^.!?:]{{0,60}}[:–—]\s
  | 's\s+(?:message|letter|note|post|answer|reply)\b[^.!?:]{{0,60}}[:–—]\s
  | \b(?:said|says|wrote|writes|texted|told\s+(?:me|us)|sent\s+(?:me|us)|replied|answered|the\s+following|
      (?:this|these|the\s+following)\s+(?:sentences?|texts?|words|quotes?|examples?|lines?))$
  | ^(?:\[?\d{{1,2}}:\d\d\]?\s*)?(?!{_OWN_TOPIC})[^:]{{1,80}}?:\s+
    (?:[\w']+[,!.]*\s+){{0,3}}?(?={_FIRST_PERSON}\b)
"""
"""Marks of a speech by somebody else, which goes on to the end of the message."""

_SENTENCE = rf"""
    {QUOTED}
    # reported
  | \b(?:said|saying|told|wrote|written|texted|mailed|e-?mailed|messaged|asked|replied|answered|claim(?:s|ed)|thinks|
      thought|believe[sd]|reckons?|insist(?:s|ed)|swears?|swore|announce[sd]|mentions|mentioned|posted|tweeted|quoted|
      quoting|shouted|whispered|jokes|joked|lied|explained|reported|promised|heard|allegedly|supposedly|apparently|
      reportedly|rumou?rs?|gossip)\b
  | \b(?:says|tells|writes|asks|replies|promises|suggests|explains)\b | \baccording\s+to\b | \b(?:was|were|is)\s+like\b
  | \b(?:they|people|you|we\s+all|everyone|some|many|others|friends|parents|colleagues|kids)\s+
    (?:\w+ly\s+|all\s+|often\s+)?(?:say|think|believe|claim|write|mean|tell)\b
  | \bin\s+(?!fact\b)[\w']+(?:\s\w+)?'s\s+(?:words|opinion|view)\b | \bas\s+the\s+(?:saying|song|story|joke)\b
  | \bas\s+(?:[\w]+\s+){{1,2}}(?:puts?|calls|called|sees|saw|has|had)\s+it\b | \b(?:to\s+)?quote\b
  | \bread\s+(?:that|somewhere|in)\b
    # conditional
  | \b(?:if|unless|whether|assuming|provided|providing|suppos(?:e|ing)|otherwise|in\s+case|in\s+the\s+event)\b
  | ^(?:when(?!\s+it\s+comes\b)(?:ever)?|once|as\s+soon\s+as|while|by\s+the\s+time|after|before|until|till)\b
  | \bas\s+long\s+as\b | \bdepend(?:s|ing)\b | ^say\s+(?:i|we|you|he|she|it|they|my|our|the)\b
  | ^(?:should|had|were)\s+(?:i|we|you|he|she|it|they|my|our|the)\b
    # doubtful, wished for, denied
  | \b(?:maybe|perhaps|possibly|probably|presumably|likely|hopefully|ideally|with\s+(?:\w+\s+){{0,3}}luck|unsure|
      not\s+(?:sure|certain)|might|could|would(?!\s+like\s+you\s+to\s+call)|or(?!\s+(?:rather|better|so)\b))\b
  | \bmay\s+(?:be|have|move|live|work|become|change|get|go)\b
  | \bi(?:'m|\s+am)?\s+(?:also\s+|still\s+|kind\s+of\s+)?(?:think|believe|reckon|guess|suppose|assume|imagine|hope|
      hoping|wish|wishing|doubt|fear|bet|suspect|wonder|wondering|considering|planning|feel\s+like|want)\b
    (?!\s+you\s+to\s+know)
  | \b(?:never|nobody|hardly|(?:is|was)\s+not\s+true|not\s+the\s+case|no\s+way|untrue|false)\b
    # for a while
  | \b(?:temporarily|tonight|overnight|meanwhile|for\s+the\s+(?:week|weekend|night|day|month|summer|winter|spring|
      autumn|holidays?|semester|term|time\s+being)|on\s+(?:holiday|vacation)|during)\b
  | (?<!lived)\b(?:only|just)?\s*\bfor\s+{_WEEKS}\s+(?:more\s+)?(?:hours?|days?|nights?|weeks?|weekends?)\b
    # what some call it
  | \b(?:called|named|known\s+as)\b.*\bby\s+(?:my|our|his|her|their|the|everyone|everybody|some|most|people|friends)\b
  | \bfor\s+short\b
    # one more of a kind
  | \b(?:also|as\s+well|additionally|in\s+addition|besides|both|one\s+of\s+(?:my|our)|another\s+one)\b | \btoo$
    # asked for confirmation
  | (?<!\bis)(?<!\bare)(?<!\bam)(?<!\ball)(?<!\bthe)(?<!'s)(?<!\bmy)(?<!'re)\s(?:right|correct|huh|eh|innit|or\s+not)$
"""
_UNTIL = r"\b(?:until|till)\b"
_PUT_OFF = r"\b(?:moved|postponed|rescheduled|extended|shifted|changed|put\s+back|pushed\s+back|brought\s+forward)\b"
_THIS_WEEK = r"\bthis\s+(?:week|weekend|month|summer|winter|spring|autumn|fall|year|semester|term)\b"
_CHANGED = (
    r"\b(?:moved|relocated|started|joined|changed|renamed|switched|became|become|got|hired|turned|turn|birthday|left|"
    r"retrained|replaced)\b"
)
_ABROAD = (
    r"^in\s+(?-i:[A-Z])(?!anuary|ebruary|arch|pril|ay\b|une|uly|ugust|eptember|ctober|ovember|ecember)[^,\d]{1,40},?\s+"
    rf"(?={_FIRST_PERSON}\b)"
)
"""An opening that limits a statement to one place: "In Animal Crossing my name is Zorg."""
_OWN_WORDS = (
    r"\b(?:(?:as\s+)?(?:i|we)(?:'ve|'d|'ll|\s+(?:have|had|just|already|once|must|should|will|forgot\s+to|wanted?\s+to|"
    r"meant\s+to|need\s+to|have\s+to|never))*\s+(?:say|said|mention|mentioned|meant|think\s+you\s+should\s+know|"
    r"(?:tell|told|wrote)\s+you)|(?:since|as|because)\s+you\s+asked|(?:if|in\s+case)\s+you(?:'re|\s+are)?\s+"
    r"(?:(?:must|want\s+to|need\s+to|care\s+to)\s+know|did\s+not\s+know|do\s+not\s+know|wonder(?:ing)?|forgot|curious|"
    r"asked?)|if\s+i\s+(?:remember|recall)\s+(?:correctly|right|well)|i\s+want(?:ed)?\s+you\s+to\s+know|"
    r"guess\s+what|i\s+said\s+it\s+wrong)\b(?:\s+that\b)?"
)
"""Words like those of a report or a condition that leave what follows the writer's own."""


def unquoted(text: str) -> str:
    """Return the text with a mark in place of each quotation that is more than a name or a title.

    >>> unquoted('"I live in Rome. It is hot", he said.')
    '«», he said.'
    """
    return _pattern(_QUOTATION, re.DOTALL).sub(_mark, text)


def is_plain_message(text: str) -> bool:
    """Return whether no mark says that all of a message is an exercise, a game, a joke or a letter."""
    return _pattern(_MESSAGE).search(text) is None


def quotes_onwards(sentence: str) -> bool:
    """Return whether somebody else's speech begins in the sentence, without a mark that says where it ends."""
    return _pattern(_ONWARDS).search(sentence) is not None


def is_plain(sentence: str) -> bool:
    """Return whether a sentence states something as its writer's own, certain and lasting."""
    own = _pattern(_OWN_WORDS).sub("", sentence)
    if _pattern(_SENTENCE).search(own) or _pattern(_ABROAD).search(own):
        return False
    if _pattern(_UNTIL).search(own) and not _pattern(_PUT_OFF).search(own):
        return False
    return not _pattern(_THIS_WEEK).search(own) or _pattern(_CHANGED).search(own) is not None


def _mark(quotation: re.Match[str]) -> str:
    return QUOTED if _pattern(_CLAUSE).search(quotation[0]) else quotation[0]


@cache
def _pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return the pattern compiled, when it is first needed: most programs never read a sentence."""
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE | flags)
