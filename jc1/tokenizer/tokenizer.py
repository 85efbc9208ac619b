"""Text to tokens and back: the tokenizer of a model folder, and the text of a reply as its tokens come.

Knows SentencePiece, Hugging Face's tokenizers and special tokens. Knows nothing about engines, prompts or memory.

A folder that ships `tokenizer.model` is tokenized with SentencePiece, its special and added tokens spliced in by id. At
load this is compared with the folder's own Hugging Face tokenizer on a set of probes; where they differ, the latter is
used and `reason` says why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jc1.errors import EngineUnavailable
from jc1.messages import Message
from jc1.models import unreadable
from jc1.tokenizer.chat_template import ChatTemplate, any_of, read_json
from jc1.tokenizer.token_bytes import of_sentencepiece, reader_for
from jc1.tools import Tool

if TYPE_CHECKING:
    import sentencepiece
    import tokenizers

PROBES = (
    "Hello world", " leading and trailing ", "two  spaces,   three", "line\nbreak\n\nand\ttab", "", "a", " ", "\n",
    "3.14 and 2026-11-23 at 15:30", "x = f(a[1]) != {'k': \"v\"};", "UPPER lower MiXeD", "don't you're it's",
    "naïve café, Zürich, Ærø", "e\u0301 combining", "▁underscore", "日本語", "مرحبا", "emoji 🙂🚀",
)  # fmt: skip
"""What both tokenizers must agree on, alone and right after each special token."""


CONTEXT = 8
"""Tokens of a prompt that tell how the text after them begins."""


class Detokenizer(Protocol):
    """Turns the tokens of one reply into text as they come."""

    def push(self, token_id: int) -> str:
        """Take the next token; return the text that is certain by now, empty while a character is incomplete."""
        ...

    def finish(self) -> str:
        """Return what was held back, once no more tokens will come."""
        ...


class Tokenizer(Protocol):
    """What an engine needs of a tokenizer."""

    end_tokens: tuple[int, ...]
    opening: tuple[int, ...]
    """What stands before every text to which no template is applied."""
    reason: str
    """Why SentencePiece is not used; empty where it is."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of mere text: no special token comes out of it."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        ...

    def chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Return the ids of messages as the model's chat template renders them, with the tools that may be called."""
        ...

    def count(self, messages: Sequence[Message]) -> int:
        """Return how many ids `chat` gives."""
        ...

    def piece(self, token_id: int) -> str:
        """Return one token by itself, special ones included, as it is shown beside its probability; U+FFFD for bytes
        that are no character alone."""
        ...

    def bytes_of(self, token_id: int) -> bytes:
        """Return what one token adds to a reply, to the byte; of a special one, its name."""
        ...

    @property
    def special(self) -> Mapping[str, int]:
        """Return the special tokens, which are no part of a reply's text, and the id of each."""
        ...

    @property
    def template(self) -> ChatTemplate:
        """Return the chat template of the folder."""
        ...

    def stream(self, spelled: Collection[int] = (), before: Sequence[int] = ()) -> Detokenizer:
        """Return what turns the tokens of a reply into its text, with the names of those special ones.

        `before` are the tokens whose text it goes on from: where there are some, a space at its beginning is shown.
        """
        ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a model folder: SentencePiece where it gives what the folder's own tokenizer does.

    Raises:
        EngineUnavailable: The folder holds none, a tokenizer.json that cannot be read, or such a tokenizer.model alone.
    """
    folder = Path(folder)
    own = _hugging_face(folder)
    loaded = _loaded(folder, own)
    loaded.opening = _opening(own)
    return loaded


def _loaded(folder: Path, tokenizer: tokenizers.Tokenizer | None) -> _Base:
    added = _added_tokens(folder)
    special = {token: id for token, (id, is_special) in added.items() if is_special}
    template = ChatTemplate(folder, set(special), added)
    ends = _end_tokens(folder, added)
    if not (folder / "tokenizer.model").exists():
        if tokenizer is None:
            raise EngineUnavailable(
                f"{folder.name!r} holds no tokenizer: add tokenizer.model or tokenizer.json to the folder."
            )
        return HuggingFace(tokenizer, template, ends, special, reason="the folder ships no tokenizer.model")
    try:
        pieces = SentencePiece(folder / "tokenizer.model", added, template, ends, special)
    except (RuntimeError, OSError):
        if tokenizer is None:
            raise unreadable(folder, "tokenizer.model") from None
        return HuggingFace(tokenizer, template, ends, special, reason="tokenizer.model is not a SentencePiece model")
    if tokenizer is None:
        return pieces
    reference = HuggingFace(tokenizer, template, ends, special, reason="")
    if difference := _difference(pieces, reference, list(special)):
        reference.reason = difference
        return reference
    return pieces


def _difference(a: _Base, b: _Base, special: Sequence[str]) -> str:
    """Return where two tokenizers disagree, in words; empty where they do not."""
    for probe in PROBES:
        for text in (probe, *(token + probe for token in special[:12])):
            if a.encode_rendered(text) != b.encode_rendered(text):
                return f"SentencePiece and the model's own tokenizer differ on {text!r}"
    return ""


class _Base(ABC):
    """What both kinds of tokenizer share: chats and streams."""

    opening: tuple[int, ...] = ()

    def __init__(
        self, template: ChatTemplate, end_tokens: tuple[int, ...], special: Mapping[str, int], reason: str = ""
    ) -> None:
        self.template = template
        self.special = special
        self.end_tokens = end_tokens
        self.reason = reason

    @abstractmethod
    def encode_rendered(self, text: str) -> list[int]:
        """Return the ids of a text in which special tokens mean what they say."""

    @abstractmethod
    def decode(self, token_ids: Sequence[int]) -> str: ...

    @abstractmethod
    def bytes_of(self, token_id: int) -> bytes: ...

    def plain(self, token_id: int) -> str | None:
        """Return what the token adds to a text that has begun, where that is always the same; else None."""
        return None

    def piece(self, token_id: int) -> str:
        return self.bytes_of(token_id).decode(errors="replace")

    def encode(self, text: str) -> list[int]:
        return self.encode_rendered(self.template.neutral(text, self.template.special))

    def chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Return the ids of messages as the folder's chat template renders them, with the tools that may be called."""
        return self.encode_rendered(self.template.render(messages, add_generation_prompt, tools))

    def count(self, messages: Sequence[Message]) -> int:
        """Return how many tokens messages take as the template renders them, generation prompt included."""
        return len(self.chat(messages))

    def stream(self, spelled: Collection[int] = (), before: Sequence[int] = ()) -> Detokenizer:
        return IncrementalDetokenizer(self, spelled, before)


class SentencePiece(_Base):
    """A `tokenizer.model`, with special and added tokens spliced in by id."""

    def __init__(
        self,
        model: Path,
        added: dict[str, tuple[int, bool]],
        template: ChatTemplate,
        end_tokens: tuple[int, ...],
        special: Mapping[str, int],
    ) -> None:
        import sentencepiece

        super().__init__(template, end_tokens, special)
        self.pieces: sentencepiece.SentencePieceProcessor = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.ids = {token: id for token, (id, _) in added.items()}
        self.names = {id: token for token, (id, _) in added.items()}
        self.skipped = {id for id, special in added.values() if special}
        self.skipped |= {i for i in range(len(self.pieces)) if self.pieces.is_control(i) or self.pieces.is_unknown(i)}
        self.special = {self.names.get(i) or self.pieces.id_to_piece(i): i for i in self.skipped}
        self.texts = {id: token for token, (id, special) in added.items() if not special}
        self.split = any_of(self.ids)
        self.size = len(self.pieces)
        self._plain: dict[int, str | None] = {}

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

    def bytes_of(self, token_id: int) -> bytes:
        if token_id in self.names:
            return self.names[token_id].encode()
        return of_sentencepiece(self.pieces.id_to_piece(token_id)) if token_id < self.size else b""

    def plain(self, token_id: int) -> str | None:
        if token_id not in self._plain:
            special = token_id in self.names or token_id in self.skipped or token_id >= self.size
            changes = special or self.pieces.is_byte(token_id) or self.pieces.is_unused(token_id)
            self._plain[token_id] = None if changes else self.piece(token_id)
        return self._plain[token_id]

    def decode(self, token_ids: Sequence[int]) -> str:
        texts: list[str] = []
        run: list[int] = []
        for id in token_ids:
            if id in self.texts or id in self.skipped or id >= self.size:
                texts += [self.pieces.decode(run), self.texts.get(id, "")]
                run = []
            else:
                run.append(id)
        return "".join([*texts, self.pieces.decode(run)])


class HuggingFace(_Base):
    """The folder's own `tokenizer.json`."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        template: ChatTemplate,
        end_tokens: tuple[int, ...],
        special: Mapping[str, int],
        *,
        reason: str,
    ) -> None:
        super().__init__(template, end_tokens, special, reason)
        self.tokenizer = tokenizer
        self._added = {id: token.content for id, token in tokenizer.get_added_tokens_decoder().items()}
        self._read = reader_for(tokenizer)
        if tokenizer.normalizer and any(token.normalized for token in tokenizer.get_added_tokens_decoder().values()):
            template.fold = tokenizer.normalizer.normalize_str

    def encode_rendered(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def bytes_of(self, token_id: int) -> bytes:
        added = self._added.get(token_id)
        if added is not None:
            return added.encode()
        token = self.tokenizer.id_to_token(token_id) or ""
        if self._read is not None:
            return self._read(token)
        return (self.tokenizer.decode([token_id], skip_special_tokens=False) or token).encode()

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))


class IncrementalDetokenizer:
    """Decodes a window of the latest ids and hands out what is new: each id costs the same however long the reply."""

    def __init__(self, tokenizer: _Base, spelled: Collection[int] = (), before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._spelled = spelled
        self._ids: list[int] = []
        self._shown = 0
        """How many of `_ids` have been handed out; the ids before them are kept as context for spaces."""
        self._begun = False
        """Whether anything but space was handed out."""
        self._go_on_from(before[-CONTEXT:])

    def push(self, token_id: int) -> str:
        if token_id in self._spelled:
            before, self._ids, self._shown = self.finish(), [], 0
            return before + self._tokenizer.piece(token_id)
        # 1) Most tokens add the same text wherever they stand, and need no decoding. Not so right after a special
        # token, where a space may be the beginning's, which is not shown.
        if self._begun and self._shown == len(self._ids) and self._tokenizer.plain(self._ids[-1]) is not None:
            plain = self._tokenizer.plain(token_id)
            if plain is not None:
                self._ids = [token_id]
                self._shown = 1
                return plain
        # 2) For the others the window is decoded; what ends in half a character waits for the next token.
        self._ids.append(token_id)
        text = self._new()
        if not text or text.endswith("\ufffd"):
            return ""
        # 3) The window moves on: what was shown now is the context of what comes.
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        self._begun = self._begun or not text.isspace()
        return text

    def finish(self) -> str:
        text = self._new()
        self._shown = len(self._ids)
        return text

    def _go_on_from(self, before: Sequence[int]) -> None:
        text = self._tokenizer.decode(before) if before else ""
        if text and not text.endswith("\ufffd"):  # half a character is nothing to go on from
            self._ids, self._shown, self._begun = list(before), len(before), not text.isspace()

    def _new(self) -> str:
        before = self._tokenizer.decode(self._ids[: self._shown])
        return self._tokenizer.decode(self._ids)[len(before) :]


def _hugging_face(folder: Path) -> tokenizers.Tokenizer | None:
    """Return the folder's Hugging Face tokenizer, one in an older form converted by transformers; None without any."""
    if (folder / "tokenizer.json").exists():
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception:  # the package has no class of its tokenizer for a file that it cannot read
            raise unreadable(folder, "tokenizer.json") from None
        # A folder may carry what its training cut and filled up; a prompt is neither.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    if not (folder / "tokenizer_config.json").exists() and not (folder / "vocab.json").exists():
        return None
    from transformers import AutoTokenizer

    try:
        return getattr(AutoTokenizer.from_pretrained(str(folder), local_files_only=True), "backend_tokenizer", None)
    except (ValueError, OSError, ImportError):
        return None


def _opening(tokenizer: tokenizers.Tokenizer | None) -> tuple[int, ...]:
    """Return the special tokens that a folder's own tokenizer puts before every text."""
    if tokenizer is None:
        return ()
    whole, mere = (tokenizer.encode("a", add_special_tokens=special).ids for special in (True, False))
    return tuple(whole[: whole.index(mere[0])]) if mere and mere[0] in whole else ()


def _added_tokens(folder: Path) -> dict[str, tuple[int, bool]]:
    """Return the special and added tokens: text to (id, is special)."""
    added: dict[str, tuple[int, bool]] = {}
    for token in read_json(folder / "tokenizer.json").get("added_tokens", []):
        added[token["content"]] = (token["id"], bool(token.get("special")))
    for id, token in read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {}).items():
        added.setdefault(token["content"], (int(id), bool(token.get("special"))))
    for text, number in read_json(folder / "added_tokens.json").items():
        added.setdefault(text, (int(number), False))
    return added


def _end_tokens(folder: Path, added: dict[str, tuple[int, bool]]) -> tuple[int, ...]:
    """Return the ids that end a reply, by the first that says: generation, model or tokenizer config."""
    for name in ("generation_config.json", "config.json"):
        ids = read_json(folder / name).get("eos_token_id")
        if ids is not None:
            return tuple(ids) if isinstance(ids, list) else (int(ids),)
    token = read_json(folder / "tokenizer_config.json").get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    return (added[text][0],) if text in added else ()
