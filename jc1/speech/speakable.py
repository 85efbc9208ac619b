"""What is written becomes what can be said: Markdown, links, code, numbers, dates and abbreviations.

Knows what is said of each, what is left out, and the table in docs/speech.md (markdown-it-py reads the Markdown,
num2words the numbers). Knows nothing about voices. Words are English ones: in other languages only what nobody can say
is left out, and the voice reads numbers as it can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it.token import Token

ABBREVIATIONS = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
    "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Prof.": "Professor", "St.": "Saint",
    "Jr.": "Junior", "Sr.": "Senior", "Inc.": "Incorporated", "Ltd.": "Limited", "Dept.": "Department",
    "Fig.": "Figure", "fig.": "figure", "No.": "number", "no.": "number", "p.": "page", "pp.": "pages",
    "cf.": "compare", "w/o": "without", "w/": "with",
}  # fmt: skip
"""`No.`, `no.`, `p.` and `pp.` count before a number alone."""
BEFORE_NUMBERS = {"No.", "no.", "p.", "pp.", "Fig.", "fig."}
UNITS = {
    "km": "kilometre", "m": "metre", "cm": "centimetre", "mm": "millimetre", "kg": "kilogram", "g": "gram",
    "mg": "milligram", "l": "litre", "L": "litre", "ml": "millilitre", "h": "hour", "min": "minute", "s": "second",
    "ms": "millisecond", "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "W": "watt",
    "kW": "kilowatt", "kWh": "kilowatt hour", "V": "volt", "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte",
    "GB": "gigabyte", "TB": "terabyte", "mph": "mile per hour", "ft": "foot", "lb": "pound", "lbs": "pound",
    "km/h": "kilometre per hour", "m/s": "metre per second", "°C": "degree Celsius", "°F": "degree Fahrenheit",
    "°": "degree",
}  # fmt: skip
IRREGULAR = {"hertz": "hertz", "kilohertz": "kilohertz", "megahertz": "megahertz", "gigahertz": "gigahertz",
             "foot": "feet"}  # fmt: skip
CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
CURRENCY_WORDS = {"USD": ("dollar", "cent"), "EUR": ("euro", "cent"), "GBP": ("pound", "penny"), "JPY": ("yen", "")}
SYMBOLS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "≈": "about", "~": "about", "×": "times", "÷": "divided by",
    "→": "to", "←": "from", "≤": "at most", "≥": "at least", "<": "less than", ">": "greater than",
    "±": "plus or minus", "%": "percent", "§": "section", "#": "number", "©": "copyright", "™": "",
    "®": "", "…": ".", "^": "to the power of",
}  # fmt: skip
FRACTIONS = {(1, 2): "a half", (1, 3): "a third", (2, 3): "two thirds", (1, 4): "a quarter", (3, 4): "three quarters"}
CODE = "There is a code block here."
LONGEST_NUMBER = 15
"""Digits; a longer number, such as a telephone's or an account's, is read digit by digit."""

_URL = r"(?:https?://|www\.)[^\s<>()\[\]\"']+[^\s<>()\[\]\"'.,;:!?]"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_YEAR = r"1[1-9]\d\d|20\d\d"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f\U0001f1e6-\U0001f1ff]+"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")
_OPEN = re.compile(r"[\w%]$|(?<![.!?])[)\"'’”]$")
_SAID = re.compile(r"\w")


def speakable(text: str, language: str = "en") -> str:
    """Return a text as it is to be said, a sentence or many; empty where nothing of it can be."""
    said = _plain(_CONTROL.sub(" ", text))
    said = _links(said, language)
    said = _EMOJI.sub(" ", said)
    if language == "en":
        said = _abbreviations(said)
        for pattern, say in _number_rules():
            said = pattern.sub(say, said)
        said = _symbols(said)
    said = re.sub(r"[*_`|\\{}\[\]]+", " ", said)
    said = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s+", " ", said)).strip()
    return said if _SAID.search(said) else ""


def _plain(text: str) -> str:
    """Return the words of Markdown: emphasis, marks of lists and headings and addresses of links are not said."""
    return " ".join(part for part in map(str.strip, _blocks(_markdown().parse(text))) if part)


def _blocks(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "inline":
                yield _closed("".join(_inline(token.children or [])))
            case "fence" | "code_block":
                yield CODE


def _inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "text" | "code_inline":
                yield token.content
            case "softbreak" | "hardbreak":
                yield " "
            case "image":
                yield f"picture: {token.content}" if token.content else "a picture"


def _closed(line: str) -> str:
    """Return a line that ends as a sentence does: a heading, or an item of a list, needs the pause."""
    line = line.strip()
    return f"{line}." if _OPEN.search(line) else line


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # Not `linkify`, which needs one package more; not HTML, whose tags are then text that the next line takes out.
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _links(text: str, language: str) -> str:
    """Say of a bare address its host alone, and of an e-mail address all."""
    english = language == "en"

    def host(match: re.Match[str]) -> str:
        name = re.sub(r"^(?:https?://)?(?:www\.)?", "", match[0]).split("/")[0].split("?")[0]
        return f"a link to {name.replace('.', ' dot ')}" if english else name

    def email(match: re.Match[str]) -> str:
        return re.sub(r"[_-]", " ", match[0].replace("@", " at ").replace(".", " dot ")) if english else match[0]

    return re.sub(_EMAIL, email, re.sub(_URL, host, text))


def _abbreviations(text: str) -> str:
    for short, long in ABBREVIATIONS.items():
        before = r"(?=\s?\d)" if short in BEFORE_NUMBERS else r"(?!\w)"
        # One that ends a sentence ends it still.
        ends = rf"(?<![\w.]){re.escape(short)}(?=\s*$)"
        if short in ("etc.", "Inc.", "Ltd.", "Jr.", "Sr."):
            text = re.sub(ends, f"{long}.", text)
        text = re.sub(rf"(?<![\w.]){re.escape(short)}{before}", long, text)
    return text


@cache
def _number_rules() -> tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]:
    """Return what is done with numbers, one after the other: what is special first, any number last."""
    units = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"\b(\d{4})-(\d{2})-(\d{2})(?:T| (?=\d\d:))?", _date),
        (r"\b([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?:\s?([ap])\.?m\b\.?)?", _time),
        (rf"([$€£¥])\s?({_NUMBER})(?:\s?(million|billion|trillion|thousand|[kKMB])\b)?", _money),
        (rf"(?<![\w.])(-|−|–)?({_NUMBER})\s?%", lambda m: f"{_minus(m[1])}{cardinal(m[2])} percent"),
        (r"\b(\d{1,12})(st|nd|rd|th)\b", lambda m: _words(int(m[1]), to="ordinal")),
        (r"\b(\d{1,2})/(\d{1,2})\b(?![/\d])", _fraction),
        (r"\bv?(\d+(?:\.\d+){2,})\b", lambda m: " point ".join(map(cardinal, m[1].split(".")))),
        (rf"(?<![\w.-])({_NUMBER})\s?[-–]\s?({_NUMBER})(?:\s?({units}))?(?![\w/-])", _range),
        (rf"\b({_YEAR})s\b", _decade),
        (rf"(?<![\w.])(-|−)?({_NUMBER})\s?({units})(?![\w/])", _quantity),
        (rf"(?<![\w.,])({_YEAR})(?![\w,%]|\.\d)", lambda m: _words(int(m[1]), to="year")),
        (rf"(?<![\w.])(-|−)?({_NUMBER})", lambda m: f"{_minus(m[1])}{cardinal(m[2])}"),
        (r"\d+", lambda m: f" {cardinal(m[0])} "),
    ]
    return tuple((re.compile(pattern), say) for pattern, say in rules)


def cardinal(number: str) -> str:
    """Return a number in words, from its digits, with or without commas and a decimal point."""
    digits = number.replace(",", "")
    if len(digits.replace(".", "")) > LONGEST_NUMBER or (len(digits) > 1 and digits[0] == "0" and digits[1] != "."):
        return " ".join("point" if digit == "." else _words(int(digit)) for digit in digits)
    whole, _, decimals = digits.partition(".")
    if not decimals:
        return _words(int(whole))
    return f"{_words(int(whole))} point {' '.join(_words(int(digit)) for digit in decimals)}"


def _words(number: int, to: str = "cardinal") -> str:
    from num2words import num2words

    return str(num2words(number, to=to, lang="en")).replace(",", "")


def _minus(sign: str | None) -> str:
    return "minus " if sign else ""


def _date(match: re.Match[str]) -> str:
    try:
        day = date(*map(int, match.groups()))
    except ValueError:
        return match[0]
    return f"{day:%B} {_words(day.day, to='ordinal')}, {_words(day.year, to='year')} "


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2]), match[3]
    minutes = f" {'oh ' if 0 < minute < 10 else ''}{_words(minute)}" if minute else " o'clock" if not half else ""
    return f"{_words(hour)}{minutes}{f' {half} m' if half else ''}"


def _money(match: re.Match[str]) -> str:
    unit, part = CURRENCY_WORDS[CURRENCIES[match[1]]]
    scale = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}.get(match[3], match[3])
    amount = Decimal(match[2].replace(",", ""))
    if scale:
        return f"{cardinal(match[2])} {scale} {_plural(unit)}"
    whole, cents = int(amount), int(amount * 100) % 100
    units = f"{cardinal(str(whole))} {unit if whole == 1 else _plural(unit)}"
    return units if not cents or not part else f"{units} {_words(cents)}"


def _quantity(match: re.Match[str]) -> str:
    unit = UNITS[match[3]]
    one = match[2] == "1"
    return f"{_minus(match[1])}{cardinal(match[2])} {unit if one else _plural(unit)}"


def _range(match: re.Match[str]) -> str:
    return f"{cardinal(match[1])} to {cardinal(match[2])}{f' {_plural(UNITS[match[3]])}' if match[3] else ''}"


def _plural(unit: str) -> str:
    first, *rest = unit.split(" ", 1)
    if unit in IRREGULAR or unit == "yen":
        return IRREGULAR.get(unit, unit)
    if rest and first != "kilowatt":  # miles per hour, degrees Celsius
        return f"{first}s {rest[0]}"
    return f"{unit}s"


def _fraction(match: re.Match[str]) -> str:
    pair = int(match[1]), int(match[2])
    return FRACTIONS.get(pair, f"{cardinal(match[1])} over {cardinal(match[2])}")


def _decade(match: re.Match[str]) -> str:
    words = _words(int(match[1]), to="year")
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _symbols(text: str) -> str:
    for symbol, word in SYMBOLS.items():
        text = text.replace(symbol, f" {word} " if word and word != "." else word)
    return text
