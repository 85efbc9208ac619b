"""Grammars: what a request's guides and tools leave a reply to be, as llguidance's Lark.

Knows how a JSON Schema, an expression, choices and calls of tools are written as one grammar. Knows nothing about
tokens but the ids of special ones, or about who keeps a reply to its grammar.

Objects are written on one line, with at most one space after a comma or colon: a grammar that allows any white space
lets a model write nothing else until its tokens are used up. `oneOf` is taken as `anyOf`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jc1.decoding import GUIDES, Decoding
from jc1.engines.call_formats import Calls
from jc1.tokenizer.chat_template import any_of
from jc1.tools import Tool

COMPACT: dict[str, Any] = {
    "whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "coerce_one_of": True,
}  # fmt: skip
"""llguidance's options for JSON Schema."""
ANYTHING = r"/(.|\n)*/"
_SPECIAL_LETTERS = re.compile(r"[\\/.^$|?*+()\[\]{}&~#-]")


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar, and the field of the request that is to blame where it cannot be compiled."""

    lark: str
    param: str


def grammar_of(decoding: Decoding, calls: Calls | None, special: Mapping[str, int]) -> Grammar | None:
    """Return the grammar of a request's reply; None where any text will do.

    Args:
        calls: What may be called, and how.
        special: The tokenizer's special tokens, and the id of each: they are no text, and a form may have some.
    """
    guide = next((name for name in GUIDES if name in decoding.chosen), None)
    if calls is None:
        return None if guide is None else Grammar(f"start: {_guided(decoding)}\n", guide)
    rules = _CallRules(calls, special)
    if calls.tools.forced:
        start = f"start: {rules.first()}\n"
    elif guide is not None:
        start = f"start: guided | {rules.first()}\nguided: {_guided(decoding)}\n"
    else:
        start = rules.after_text()
    return Grammar(start + rules.all(), "tools" if guide is None else guide)


class _CallRules:
    """The rules of the calls of one request."""

    def __init__(self, calls: Calls, special: Mapping[str, int]) -> None:
        self._form = calls.form
        self._tools = calls.tools
        self._special = special

    def first(self) -> str:
        """Return calls that are the whole reply."""
        return f"{self._spelled(self._form.opening + self._form.before)} calls"

    def after_text(self) -> str:
        """Return the rule of a reply that may be text, calls, or calls after text."""
        form, trigger = self._form, self._form.trigger
        pattern = _SPECIAL_LETTERS.sub(r"\\\g<0>", trigger)
        if not form.anywhere:
            return f"start: TEXT | {self.first()}\nTEXT: {ANYTHING} & ~/{pattern}(.|\\n)*/\n"
        rest = self._spelled((form.opening + form.before).removeprefix(trigger))
        if trigger in self._special:
            return f"start: TEXT | TEXT {self._spelled(trigger)} {rest} calls\nTEXT: {ANYTHING}\n"
        # Lazy, so that the lexeme ends where the trigger does.
        return (
            f"start: TEXT | head {rest} calls\nhead[lazy]: /(.|\\n)*{pattern}/\n"
            f"TEXT: {ANYTHING} & ~/(.|\\n)*{pattern}(.|\\n)*/\n"
        )

    def all(self) -> str:
        """Return the rules of what follows the beginning of the first call."""
        form = self._form
        again = f" ({self._spelled(form.separator + form.before)} call)*"
        several = again if form.several and self._tools.parallel else ""
        calls = [f"calls: call{several} {self._spelled(form.closing)}"]
        calls.append("call: " + " | ".join(f"call_{number}" for number in range(len(self._tools.callable))))
        calls += [f"call_{number}: {self._call(tool)}" for number, tool in enumerate(self._tools.callable)]
        return "\n".join(calls) + "\n"

    def _call(self, tool: Tool) -> str:
        schema = _json({**tool.parameters, "type": "object"}, lenient=not tool.strict)
        return f"{self._spelled(tool.name + self._form.between)} {schema} {self._spelled(self._form.after)}"

    def _spelled(self, text: str) -> str:
        """Return the text as a sequence of literals and special tokens."""
        split = any_of(self._special)
        parts = [text] if split is None else split.split(text)
        return " ".join(f"<[{self._special[p]}]>" if p in self._special else _quoted(p) for p in parts if p)


def _guided(decoding: Decoding) -> str:
    """Return what the guide of a request leaves a reply to be."""
    if decoding.json_schema is not None:
        return _json(decoding.json_schema)
    if decoding.regex is not None:
        return f"/{_in_slashes(decoding.regex)}/" if decoding.regex else _quoted("")
    return " | ".join(map(_quoted, decoding.choice))


def _json(schema: Mapping[str, Any], *, lenient: bool = False) -> str:
    return f"%json {json.dumps({**schema, 'x-guidance': {**COMPACT, 'lenient': lenient}})}"


def _in_slashes(regex: str) -> str:
    """Return the expression with its slashes escaped, and line ends too, which end a rule."""
    return re.sub(r"\\.|/|\n|\r", _escaped, regex, flags=re.DOTALL)


def _escaped(found: re.Match[str]) -> str:
    match found[0]:
        case "/":
            return r"\/"
        case "\n" | "\\\n":
            return r"\n"
        case "\r" | "\\\r":
            return r"\r"
    return found[0]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
