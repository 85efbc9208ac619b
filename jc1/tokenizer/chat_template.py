"""Chat templates: the form in which a model reads its messages.

Knows where a model's folder keeps its template and what templates on the hub expect of a renderer. Special tokens that
stand in the *content* of a message are broken up, so that nobody can write one; so are the delimiters that a template
writes as mere text ("[INST]"). Knows nothing about token ids.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1.errors import InvalidRequest
from jc1.messages import Message, TextPart
from jc1.tools import Tool, ToolCall

if TYPE_CHECKING:
    import jinja2

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For models that ship no chat template."""

_Plain = dict[str, Any]
"""A message as templates see it: `role` and `content`, with `tool_calls` or `tool_call_id` where it has them."""
_DELIMITER = re.compile(r"<[^\s<>]{1,60}>|\[[^\s\[\]]{1,60}\]")
_CONTENT = "\ue000"
"""Stands for any content: a character that no template writes."""
_BOUNDARY = 200
"""Characters of a text within which the beginning of a delimiter lies that the next part may end."""


class ChatTemplate:
    """The folder's chat template, rendered in a sandbox.

    `special` are the tokenizer's special tokens and `added` the other tokens that were added to it. Where the tokenizer
    normalizes a text before it looks for special tokens, `fold` is how.
    """

    def __init__(self, folder: Path, special: set[str], added: Iterable[str] = ()) -> None:
        config = read_json(folder / "tokenizer_config.json")
        self.special = special
        self.fold: Callable[[str], str] | None = None
        self.tokens = {}
        for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
            token = config.get(key)
            self.tokens[key] = (token.get("content") if isinstance(token, dict) else token) or ""
        self.source = self._source(folder, config)
        self._mentioned = {token for token in added if _DELIMITER.fullmatch(token) and self._mentions(token)}
        self._compiled: jinja2.Template | None = None

    @staticmethod
    def _source(folder: Path, config: dict[str, Any]) -> str:
        path = folder / "chat_template.jinja"
        if path.exists():
            return path.read_text(encoding="utf-8")
        template = config.get("chat_template") or read_json(folder / "chat_template.json").get("chat_template")
        if isinstance(template, list):
            named = {entry["name"]: entry["template"] for entry in template}
            template = named.get("default") or next(iter(named.values()), None)
        return template or PLAIN_TEMPLATE

    @cached_property
    def takes_tools(self) -> bool:
        """Return whether the template has a place for tools."""
        return re.search(r"\btools\b", self.source) is not None

    @cached_property
    def wants_parts(self) -> bool:
        """Return whether the template reads the parts of a content alone, and passes over one that is a string."""
        return not self._shows(_CONTENT) and self._shows([{"type": "text", "text": _CONTENT}])

    def _shows(self, content: str | list[dict[str, str]]) -> bool:
        """Return whether the template writes a user's content of this form."""
        from jinja2 import TemplateError

        try:
            return _CONTENT in self._render([{"role": "user", "content": content}], True)
        except (TemplateError, TypeError, AttributeError, KeyError):  # it adds, or calls, what the other form lacks
            return False

    def written_call(self, name: str, arguments: str) -> str:
        """Return a conversation in which a tool is called, as the template writes it; empty where it cannot."""
        call = ToolCall("123456789", name, arguments)
        try:
            return self.render([Message.user("u"), Message.assistant("", (call,))], False, [Tool(name)])
        except InvalidRequest:
            return ""

    def render(self, messages: Sequence[Message], add_generation_prompt: bool, tools: Sequence[Tool] = ()) -> str:
        """Return the prompt's text. Where the template takes no system message, its text goes before the first user's.

        Args:
            messages: The conversation.
            add_generation_prompt: Whether the opening of the reply follows.
            tools: What the model may ask for, where the template takes tools.

        Raises:
            InvalidRequest: The template takes the messages in neither form.
        """
        from jinja2 import TemplateError

        names = {call.id: call.name for message in messages for call in message.tool_calls}
        plain = [self._plain(message, names) for message in messages]
        offered = [self._neutral_json(tool.to_dict()) for tool in tools]
        for form in (plain, _without_system(plain)):
            try:
                return self._render(form, add_generation_prompt, offered)
            except TemplateError:
                continue
        raise InvalidRequest(
            "The model's chat template takes no such conversation: let user and assistant take turns, the user first.",
            param="messages",
        )

    def _render(
        self, plain: Sequence[_Plain], add_generation_prompt: bool, tools: Sequence[dict[str, Any]] = ()
    ) -> str:
        if self._compiled is None:
            self._compiled = _sandbox().from_string(self.source)
        return self._compiled.render(
            messages=plain, tools=list(tools) or None, add_generation_prompt=add_generation_prompt, **self.tokens
        )

    def _mentions(self, token: str) -> bool:
        """Return whether an added token is the template's, or opens or closes what is: not <b>, which Gemma has."""
        opening = token.replace("</", "<", 1)
        return token.startswith("<|") or opening in self.source or f"</{opening[1:]}" in self.source

    @cached_property
    def delimiters(self) -> frozenset[str]:
        """Return the special tokens, and what else the template writes around messages to tell them apart."""
        from jinja2 import TemplateError

        marks = set(self.special)
        content = [{"type": "text", "text": _CONTENT}] if self.wants_parts else _CONTENT
        talk: list[_Plain] = [{"role": role, "content": content} for role in ("system", "user", "assistant", "user")]
        call = {"id": "123456789", "type": "function", "function": {"name": "f", "arguments": {}}}
        asked: _Plain = {"role": "assistant", "content": "", "tool_calls": [call]}
        answered: _Plain = {"role": "tool", "content": _CONTENT, "tool_call_id": "123456789", "name": "f"}
        probes: list[tuple[list[_Plain], list[dict[str, Any]]]] = [(talk, []), (talk[1:], [])]
        if self.takes_tools:
            probes.append(([talk[1], asked, answered], [Tool("f").to_dict()]))
        for probe, tools in probes:
            try:
                written = self._render(probe, True, tools)
            except TemplateError:
                continue
            marks.update(mark for piece in written.split(_CONTENT) for mark in _DELIMITER.findall(piece))
        return frozenset(marks)

    def _plain(self, message: Message, names: Mapping[str, str]) -> _Plain:
        """Return a message as templates see it; `names` has those of the tools that were called, by call."""
        plain: _Plain = {"role": message.role, "content": self._content(message)}
        if message.tool_calls:
            plain["tool_calls"] = [self._neutral_json(_with_object(call.to_dict())) for call in message.tool_calls]
        if message.tool_call_id is not None:
            plain["tool_call_id"] = self._neutral_json(message.tool_call_id)
            plain["name"] = self._neutral_json(names.get(message.tool_call_id, ""))
        return plain

    def _neutral_json(self, value: Any) -> Any:
        """Return JSON values with every text in them broken up as a user's is."""
        match value:
            case str():
                return self.neutral(value, self.delimiters | self._mentioned)
            case Mapping():
                return {self._neutral_json(name): self._neutral_json(inner) for name, inner in value.items()}
            case list() | tuple():
                return [self._neutral_json(inner) for inner in value]
        return value

    def _content(self, message: Message) -> str | list[dict[str, str]]:
        """Return a string where the message is only text; else a list of parts, in which a template places pictures."""
        # What a model writes itself, its thoughts say, is for its template to take out of a reply.
        broken = self.delimiters if message.role == "assistant" else self.delimiters | self._mentioned
        if isinstance(message.content, str) or all(isinstance(p, TextPart) for p in message.content):
            text = self.neutral(message.text, broken)
            return [{"type": "text", "text": text}] if self.wants_parts else text
        parts = []
        before = ""
        for part in message.content:
            if isinstance(part, TextPart):
                text = self.neutral(part.text, broken)
                # A template may put one text right after another, so that two halves become a whole.
                while self.neutral(before + text, broken) != before + text:
                    text = f" {text}"
                before = (before + text)[-_BOUNDARY:]
                parts.append({"type": "text", "text": text})
            else:
                parts.append({"type": type(part).__name__.removesuffix("Part").lower()})
        return parts

    def neutral(self, text: str, broken: Iterable[str]) -> str:
        """Return the text with every delimiter in `broken` split by a space, also one that only `fold` makes."""
        text = neutralize(text, broken)
        if self.fold is None:
            return text
        openings = "".join({re.escape(token[0]) for token in broken if token})
        words = re.split(r"(\s+)", text)
        for i, word in enumerate(words):
            if neutralize(folded := self.fold(word), broken) != folded:
                words[i] = re.sub(f"([{openings}])", r"\1 ", unicodedata.normalize("NFKC", word))
        return "".join(words)


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments as an object, which templates write as JSON; as they are where they are none."""
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def _without_system(messages: Sequence[_Plain]) -> list[_Plain]:
    """Return the messages with the system's text at the beginning of the first user message."""
    system = [m["content"] for m in messages if m["role"] == "system"]
    others = [dict(m) for m in messages if m["role"] != "system"]
    for message in others:
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                message["content"] = "\n\n".join([*map(_plain_text, system), content])
            else:
                texts = ({"type": "text", "text": f"{_plain_text(text)}\n\n"} for text in system)
                message["content"] = [*texts, *content]
            break
    return others


def _plain_text(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _sandbox() -> jinja2.Environment:
    """Return what templates on the hub expect: trimmed blocks, loops, `raise_exception`, `strftime_now`, plain JSON."""
    from datetime import datetime

    import jinja2
    from jinja2 import ext, nodes, sandbox

    class Generation(ext.Extension):
        """`{% generation %}` marks what a training masks; here its body is rendered."""

        tags = {"generation"}  # noqa: RUF012, jinja2 declares it without ClassVar

        def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
            next(parser.stream)
            body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return body

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def plain_json(value: Any, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = plain_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def neutralize(text: str, special: Iterable[str]) -> str:
    """Return the text with every special token in it broken up by a space after its first character."""
    pattern = any_of(t for t in special if len(t.strip()) > 1)
    if pattern is None:
        return text
    # Again, until none is left: what was broken up may hold a shorter one.
    while pattern.search(text):
        text = pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    return text


def any_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern for any of the tokens, the longest first, whose splits keep what is matched; None for none."""
    ordered = sorted((t for t in tokens if t), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one where there is no file, or something else in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
