"""The forms in which models write calls of tools: one row each, recognised by what a chat template writes for a call.

Knows how a call is written and read back while its tokens come. Knows nothing about grammars (`guides` keeps a model to
its form) or templates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jc1.tools import ToolCallDelta, Toolset, new_call_id

PROBE = ("f", "{}")
"""Name and arguments of the call that a template is shown, to see how it writes one."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How calls are written: `opening`, then each call as `before` NAME `between` ARGUMENTS `after`, then `closing`.

    `trigger` is how that begins: text stands before it where it is `anywhere`, else calls are the whole reply.
    """

    trigger: str
    before: str
    between: str
    after: str
    opening: str = ""
    separator: str = ""
    closing: str = ""
    several: bool = True
    anywhere: bool = True
    taught: str = ""
    """How templates describe it that write earlier calls otherwise."""

    def writes(self, rendered: str) -> bool:
        """Return whether a rendered conversation holds the call of `PROBE` in this form, or a description of it."""
        name, arguments = PROBE
        call = f"{self.opening}{self.before}{name}{self.between}{arguments}"
        return call in rendered or bool(self.taught and self.taught in rendered)


_JSON = '{"name": "'
_ARGUMENTS = '", "arguments": '
FORMATS: Mapping[str, CallFormat] = {
    "hermes": CallFormat(
        "<tool_call>",
        f"<tool_call>\n{_JSON}",
        _ARGUMENTS,
        "}\n</tool_call>",
        separator="\n",
        taught='<tool_call>\n{"name": <function-name>, "arguments": ',
    ),
    "mistral": CallFormat("[TOOL_CALLS]", "[TOOL_CALLS]", "[ARGS]", ""),
    "mistral_json": CallFormat(
        "[TOOL_CALLS]", _JSON, _ARGUMENTS, "}", opening="[TOOL_CALLS][", separator=", ", closing="]"
    ),
    "mistral_spaced": CallFormat(
        "[TOOL_CALLS]", _JSON, _ARGUMENTS, "}", opening="[TOOL_CALLS] [", separator=", ", closing="]"
    ),
    "llama": CallFormat(_JSON, _JSON, '", "parameters": ', "}", several=False, anywhere=False),
}
"""Hermes and Qwen; Mistral's since 2025, and the two before; Llama 3."""


def recognized(rendered: str) -> CallFormat | None:
    """Return the format in which a template wrote the call of `PROBE`; None where it is none of these."""
    return next((row for row in FORMATS.values() if row.writes(rendered)), None)


@dataclass(frozen=True, slots=True)
class Calls:
    """The tools that a reply may call, and the form in which the model does."""

    form: CallFormat
    tools: Toolset

    def reader(self, index: int) -> CallReader:
        """Return what reads the calls of one choice."""
        return CallReader(self.form, self.tools, index)

    def spelled(self, special: Mapping[str, int]) -> frozenset[int]:
        """Return the ids of the special tokens that the form has: a reader must see them."""
        form = self.form
        written = (form.opening, form.before, form.between, form.after, form.separator, form.closing)
        return frozenset(id for token, id in special.items() if any(token in text for text in written))


class CallReader:
    """Reads one reply as its text comes: what is text, and what of the calls is new.

    `begun` says that a call stands at the beginning: no text may come before. What is not of the format is text.
    """

    def __init__(self, form: CallFormat, tools: Toolset, index: int = 0, *, begun: bool = False) -> None:
        self.calls = 0
        """How many calls have begun."""
        self._form = form
        self._names = {tool.name for tool in tools.callable}
        self._index = index
        self._held = ""
        self._read: Callable[[], bool] = self._head if begun else self._text
        self._first = True
        """Whether nothing was read yet."""
        self._scan = _ObjectScan()
        self._shown = ""
        self._deltas: list[ToolCallDelta] = []

    def push(self, text: str, *, last: bool = False) -> tuple[str, tuple[ToolCallDelta, ...]]:
        """Take new text, the `last` of the reply or not; return what of it is text, and what is new of calls."""
        self._held += text
        while self._held and self._read():
            pass
        if last and self._read == self._text:
            self._show(len(self._held))
        shown, deltas = self._shown, tuple(self._deltas)
        self._shown, self._deltas = "", []
        return shown, deltas

    # Each state reads what it can of `_held` and returns whether it got on; the next state is in `_read`.

    def _text(self) -> bool:
        trigger = self._form.trigger
        at = self._held.find(trigger)
        if at == 0 or (at > 0 and self._form.anywhere):
            self._show(at)
            self._read = self._head
            return True
        if not self._form.anywhere and not (self._first and trigger.startswith(self._held)):
            return self._not_of_it()
        self._show(len(self._held) - _overlap(self._held, trigger))
        return False

    def _head(self) -> bool:
        """Read what stands before the first call's name."""
        return self._literal({self._form.opening + self._form.before: self._name})

    def _name(self) -> bool:
        name, between, _ = self._held.partition(self._form.between)
        if not between:
            return False
        if name not in self._names:
            return self._not_of_it()
        self._held = self._held[len(name) + len(between) :]
        self._deltas.append(ToolCallDelta(self._index, self.calls, new_call_id(), name))
        self.calls += 1
        self._scan, self._read = _ObjectScan(), self._arguments
        return True

    def _arguments(self) -> bool:
        length = self._scan.push(self._held)
        if length:
            self._deltas.append(ToolCallDelta(self._index, self.calls - 1, arguments=self._held[:length]))
        self._held = self._held[length:]
        if self._scan.ended:
            self._read = self._tail
        return self._scan.ended

    def _tail(self) -> bool:
        """Read what stands after a call's arguments."""
        return self._literal({self._form.after: self._next})

    def _next(self) -> bool:
        """Read what stands before another call's name, or after the last call."""
        form = self._form
        another = {form.separator + form.before: self._name} if form.several else {}
        return self._literal({**another, **({form.closing: self._rest} if form.closing else {})})

    def _literal(self, options: Mapping[str, Callable[[], bool]]) -> bool:
        """Read one of the options, which leads to its state; what can be none of them is text."""
        for option, state in options.items():
            if self._held.startswith(option):
                self._held = self._held[len(option) :]
                self._read = state
                return True
        return not any(option.startswith(self._held) for option in options) and self._not_of_it()

    def _not_of_it(self) -> bool:
        self._read = self._rest
        return True

    def _rest(self) -> bool:
        self._show(len(self._held))
        return False

    def _show(self, length: int) -> None:
        self._first = self._first and not length
        self._shown += self._held[:length]
        self._held = self._held[length:]


class _ObjectScan:
    """Finds where a JSON object ends that comes in pieces."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def push(self, text: str) -> int:
        """Take new text; return how much of it belongs to the object."""
        for at, letter in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = letter == "\\"
                self._in_string = letter != '"'
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if not self._depth:
                    self.ended = True
                    return at + 1
        return len(text)


def _overlap(text: str, trigger: str) -> int:
    """Return the length of the longest end of `text` with which the trigger begins."""
    lengths = range(min(len(text), len(trigger) - 1), 0, -1)
    return next((length for length in lengths if trigger.startswith(text[-length:])), 0)
