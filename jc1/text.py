"""Text to tokens and back: the tokenizer of a model folder, chat templates, streaming text, and words for searching.

Knows SentencePiece, special tokens, templates and stopwords. Knows nothing about engines, prompts or memory.

A folder that ships `tokenizer.model` is tokenized with SentencePiece, its special and added tokens spliced in by id. At
load this is compared with the folder's own Hugging Face tokenizer on a set of probes; where they differ, the latter is
used and `reason` says why. Special tokens that stand in the *content* of a message are broken up, so that nobody can
write one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jc1.errors import EngineUnavailable
from jc1.messages import Message, TextPart

if TYPE_CHECKING:
    import jinja2
    import sentencepiece
    import tokenizers

PROBES = (
    "Hello world", " leading and trailing ", "two  spaces,   three", "line\nbreak\n\nand\ttab", "", "a", " ", "\n",
    "3.14 and 2026-11-23 at 15:30", "x = f(a[1]) != {'k': \"v\"};", "UPPER lower MiXeD", "don't you're it's",
    "naïve café, Zürich, Ærø", "e\u0301 combining", "▁underscore", "日本語", "مرحبا", "emoji 🙂🚀",
)  # fmt: skip
"""What both tokenizers must agree on, alone and right after each special token."""

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For models that ship no chat template."""


class Detokenizer(Protocol):
    """Turns the tokens of one reply into text as they come."""

    def push(self, token_id: int) -> str:
        """The text that is certain once this token is there; empty while a character is incomplete."""
        ...

    def finish(self) -> str:
        """What was held back."""
        ...


class Tokenizer(Protocol):
    """What an engine needs of a tokenizer."""

    end_tokens: tuple[int, ...]
    reason: str
    """Why SentencePiece is not used; empty where it is."""

    def encode(self, text: str) -> list[int]:
        """Tokens of mere text: no special token comes out of it."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        ...

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Tokens of messages as the model's chat template renders them."""
        ...

    def count(self, messages: Sequence[Message]) -> int:
        """How many tokens `chat` gives."""
        ...

    def piece(self, token_id: int) -> str:
        """One token by itself, special ones included, as it is shown beside its probability."""
        ...

    def stream(self) -> Detokenizer:
        """A new reply's text."""
        ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder.

    Raises `EngineUnavailable` when the folder holds none.
    """
    folder = Path(folder)
    added = _added_tokens(folder)
    template = _Template(folder, {token for token, (_, special) in added.items() if special})
    ends = _end_tokens(folder, added)
    own = _own(folder)
    if not (folder / "tokenizer.model").exists():
        if own is None:
            raise EngineUnavailable(
                f"{folder.name!r} holds no tokenizer: add tokenizer.model or tokenizer.json to the folder."
            )
        return HuggingFace(own, template, ends, reason="the folder ships no tokenizer.model")
    try:
        pieces = SentencePiece(folder / "tokenizer.model", added, template, ends)
    except (RuntimeError, OSError):
        if own is None:
            raise EngineUnavailable(
                f"The tokenizer.model of {folder.name!r} cannot be read: download the model again."
            ) from None
        return HuggingFace(own, template, ends, reason="tokenizer.model is not a SentencePiece model")
    if own is None:
        return pieces
    reference = HuggingFace(own, template, ends, reason="")
    if difference := _difference(pieces, reference, [token for token, (_, special) in added.items() if special]):
        reference.reason = difference
        return reference
    return pieces


def _difference(a: _Base, b: _Base, special: Sequence[str]) -> str:
    """Where two tokenizers disagree, in words; empty where they do not."""
    for probe in PROBES:
        for text in (probe, *(token + probe for token in special[:12])):
            if a.encode_rendered(text) != b.encode_rendered(text):
                return f"SentencePiece and the model's own tokenizer differ on {text!r}"
    return ""


class _Base:
    """What both kinds of tokenizer share: chats and streams."""

    def __init__(self, template: _Template, end_tokens: tuple[int, ...], reason: str = "") -> None:
        self.template = template
        self.end_tokens = end_tokens
        self.reason = reason

    def encode_rendered(self, text: str) -> list[int]:
        """Ids of a text in which special tokens mean what they say."""
        raise NotImplementedError

    def decode(self, token_ids: Sequence[int]) -> str:
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        return self.encode_rendered(neutralize(text, self.template.special))

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Ids of messages as the folder's chat template renders them."""
        return self.encode_rendered(self.template.render(messages, add_generation_prompt))

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of messages as the template renders them, generation prompt included."""
        return len(self.chat(messages))

    def piece(self, token_id: int) -> str:
        raise NotImplementedError

    def stream(self) -> Detokenizer:
        return IncrementalDetokenizer(self)


class SentencePiece(_Base):
    """A `tokenizer.model`, with special and added tokens spliced in by id."""

    def __init__(
        self, model: Path, added: dict[str, tuple[int, bool]], template: _Template, end_tokens: tuple[int, ...]
    ) -> None:
        import sentencepiece

        super().__init__(template, end_tokens)
        self.pieces: sentencepiece.SentencePieceProcessor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.ids = {token: id for token, (id, _) in added.items()}
        self.names = {id: token for token, (id, _) in added.items()}
        self.skipped = {id for id, special in added.values() if special}
        self.skipped |= {i for i in range(len(self.pieces)) if self.pieces.is_control(i) or self.pieces.is_unknown(i)}
        self.texts = {id: token for token, (id, special) in added.items() if not special}
        self.split = _any_of(self.ids)

    def encode_rendered(self, text: str) -> list[int]:
        if self.split is None:
            return list(self.pieces.encode(text))
        ids: list[int] = []
        for part in self.split.split(text):
            if part in self.ids:
                ids.append(self.ids[part])
            elif part:
                ids += self.pieces.encode(part)
        return ids

    def piece(self, token_id: int) -> str:
        if token_id in self.texts or token_id in self.names:
            return self.texts.get(token_id) or self.names[token_id]
        return self.pieces.id_to_piece(token_id).replace("▁", " ") if token_id < len(self.pieces) else ""

    def decode(self, token_ids: Sequence[int]) -> str:
        texts: list[str] = []
        run: list[int] = []
        for id in token_ids:
            if id in self.texts or id in self.skipped or id >= len(self.pieces):
                texts += [self.pieces.decode(run), self.texts.get(id, "")]
                run = []
            else:
                run.append(id)
        return "".join([*texts, self.pieces.decode(run)])


class HuggingFace(_Base):
    """The folder's own `tokenizer.json`."""

    def __init__(
        self, own: tokenizers.Tokenizer, template: _Template, end_tokens: tuple[int, ...], *, reason: str
    ) -> None:
        super().__init__(template, end_tokens, reason)
        self.own = own

    def encode_rendered(self, text: str) -> list[int]:
        return list(self.own.encode(text, add_special_tokens=False).ids)

    def piece(self, token_id: int) -> str:
        token = self.own.id_to_token(token_id)
        return self.own.decode([token_id], skip_special_tokens=False) or token or ""

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.own.decode(list(token_ids), skip_special_tokens=True))


class IncrementalDetokenizer:
    """Decodes a window of the latest ids and hands out what is new: each id costs the same however long the reply."""

    def __init__(self, tokenizer: _Base) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0
        """How many of `_ids` have been handed out; the ids before them are kept as context for spaces."""

    def push(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._new()
        if not text or text.endswith("\ufffd"):
            return ""
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        return text

    def finish(self) -> str:
        text = self._new()
        self._shown = len(self._ids)
        return text

    def _new(self) -> str:
        before = self._tokenizer.decode(self._ids[: self._shown])
        return self._tokenizer.decode(self._ids)[len(before) :]


def neutralize(text: str, special: Iterable[str]) -> str:
    """The text with every special token in it broken up by a space after its first character."""
    pattern = _any_of(t for t in special if len(t.strip()) > 1)
    if pattern is None:
        return text
    while pattern.search(text):
        text = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return text


def _any_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """Matches any of the tokens, the longest first; splits keep what is matched."""
    ordered = sorted((t for t in tokens if t), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else None


# what a folder says about its tokens


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _own(folder: Path) -> tokenizers.Tokenizer | None:
    """The folder's Hugging Face tokenizer; one that exists only in an older form is converted by transformers."""
    if (folder / "tokenizer.json").exists():
        import tokenizers

        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if not (folder / "tokenizer_config.json").exists() and not (folder / "vocab.json").exists():
        return None
    from transformers import AutoTokenizer

    try:
        return getattr(AutoTokenizer.from_pretrained(str(folder), local_files_only=True), "backend_tokenizer", None)
    except (ValueError, OSError, ImportError):
        return None


def _added_tokens(folder: Path) -> dict[str, tuple[int, bool]]:
    """Special and added tokens: text to (id, is special)."""
    added: dict[str, tuple[int, bool]] = {}
    for token in _json(folder / "tokenizer.json").get("added_tokens", []):
        added[token["content"]] = (token["id"], bool(token.get("special")))
    for id, token in _json(folder / "tokenizer_config.json").get("added_tokens_decoder", {}).items():
        added.setdefault(token["content"], (int(id), bool(token.get("special"))))
    for text, number in _json(folder / "added_tokens.json").items():
        added.setdefault(text, (int(number), False))
    return added


def _end_tokens(folder: Path, added: dict[str, tuple[int, bool]]) -> tuple[int, ...]:
    """Ids that end a reply, as the generation config, the model config or the tokenizer config says."""
    for name in ("generation_config.json", "config.json"):
        found = _json(folder / name).get("eos_token_id")
        if found is not None:
            return tuple(found) if isinstance(found, list) else (int(found),)
    token = _json(folder / "tokenizer_config.json").get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    return (added[text][0],) if text in added else ()


class _Template:
    """The folder's chat template, rendered in a sandbox."""

    def __init__(self, folder: Path, special: set[str]) -> None:
        config = _json(folder / "tokenizer_config.json")
        self.special = special
        self.tokens = {}
        for key in ("bos_token", "eos_token", "unk_token", "pad_token"):
            token = config.get(key)
            self.tokens[key] = (token.get("content") if isinstance(token, dict) else token) or ""
        self.source = self._source(folder, config)
        self._compiled: jinja2.Template | None = None

    @staticmethod
    def _source(folder: Path, config: dict[str, Any]) -> str:
        path = folder / "chat_template.jinja"
        if path.exists():
            return path.read_text(encoding="utf-8")
        found = config.get("chat_template") or _json(folder / "chat_template.json").get("chat_template")
        if isinstance(found, list):
            named = {entry["name"]: entry["template"] for entry in found}
            found = named.get("default") or next(iter(named.values()), None)
        return found or PLAIN_TEMPLATE

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        if self._compiled is None:
            self._compiled = _sandbox().from_string(self.source)
        plain = [{"role": m.role, "content": self._content(m)} for m in messages]
        return self._compiled.render(messages=plain, add_generation_prompt=add_generation_prompt, **self.tokens)

    def _content(self, message: Message) -> str | list[dict[str, str]]:
        """A string where the message is only text; else a list of parts, in which a template places the pictures."""
        if isinstance(message.content, str) or all(isinstance(p, TextPart) for p in message.content):
            return neutralize(message.text, self.special)
        return [
            {"type": "text", "text": neutralize(part.text, self.special)}
            if isinstance(part, TextPart)
            else {"type": type(part).__name__.removesuffix("Part").lower()}
            for part in message.content
        ]


def _sandbox() -> jinja2.Environment:
    """What templates on the hub expect: trimmed blocks, loops, `raise_exception`, `strftime_now`, plain JSON."""
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


# words for searching

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
    """The text without its stopwords, for a retrieval query; the text itself when nothing else would be left."""
    kept = [w for w in text.split() if not _is_stopword(w)]
    return " ".join(kept) or text


def _is_stopword(word: str) -> bool:
    found = _WORD.findall(word.lower().replace("’", "'"))
    return bool(found) and all(part in STOPWORDS for part in found)


def keywords(text: str) -> list[str]:
    """Stems (Snowball, English) of the words and numbers of a text, in order, without stopwords and endings in 's."""
    import snowballstemmer

    words = [w.replace("’", "'") for w in _WORD.findall(text.lower())]
    kept = [w.removesuffix("'s") for w in words if w not in STOPWORDS]
    stems: list[str] = snowballstemmer.stemmer("english").stemWords(kept)
    return stems
