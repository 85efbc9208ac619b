"""Engines that load a model on this machine: its tokenizer, its files, and what a request must be.

Knows model folders, and that a model sees by its own processor (`eyes`). Of weights it knows whether they are there and
whole, and whether they are the same; loading them is each engine's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1.decoding import GUIDES, Decoding
from jc1.engines.base import TEXT, TEXT_AND_IMAGES, Capabilities, Engine, EnginePrompt
from jc1.engines.call_formats import PROBE, CallFormat, Calls, recognized
from jc1.engines.eyes import Eyes, load_eyes
from jc1.engines.grammar import Grammar, grammar_of
from jc1.engines.guides import Guides
from jc1.engines.output_processor import reply_limit
from jc1.engines.sampling.reference import check_bias
from jc1.engines.settings import EngineSettings
from jc1.errors import EngineUnavailable, Jc1Error
from jc1.messages import Message
from jc1.models import resolve, unreadable
from jc1.tools import Toolset

if TYPE_CHECKING:
    from jc1.vision.images import Picture

log = logging.getLogger(__name__)

READ = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of the files that an engine reads from a model's folder."""

Stamps = tuple[tuple[str, int, int, int], ...]
"""Of each such file its name, size in bytes, time of change in nanoseconds, and inode."""


class LocalEngine(Engine):
    """An engine that has the model's tokenizer, and weights that it or processes of its own hold."""

    shows_pictures = False
    """Whether the engine can show pictures to a model that sees."""

    _eyes: Eyes | None = None

    def __init__(self, settings: EngineSettings) -> None:
        self.model = settings.model
        self._settings = settings
        self._folder: Path | None = None
        self._stamps: Stamps = ()
        """Of the model's files, as they were loaded."""
        self._form: CallFormat | None = None
        """How the model writes calls of tools, where its template knows any."""
        self._digests: dict[Stamps, str] = {}
        self._digesting = threading.Lock()

    def identity(self) -> str | None:
        """Return the SHA-256 of the model's files, read once (1.4 GB a second and core).

        `None` before they are loaded, and once they are no longer the ones that were.
        """
        folder, stamps = self._folder, self._stamps
        if folder is None:
            return None
        with self._digesting:
            try:
                if stamps not in self._digests and _stamps(folder) == stamps:
                    self._digests[stamps] = _digest(folder, stamps)
                return self._digests.get(stamps) if _stamps(folder) == stamps else None
            except OSError:
                return None

    def _read_tokenizer(self) -> Path:
        """Read the tokenizer and return the model's folder. Blocks; a hub id may be downloaded.

        Raises `UnknownModel` or `EngineUnavailable`.
        """
        from jc1.tokenizer.tokenizer import load_tokenizer

        source = resolve(self._settings.model)
        path = source.path
        config = read_config(path)
        try:
            self._folder, self._stamps = path, _stamps(path)
            self._tokenizer = load_tokenizer(path)
        except Jc1Error:
            raise
        except Exception:  # whatever a file holds that no tokenizer's file may hold
            log.exception("the tokenizer of %s cannot be read", source)
            raise EngineUnavailable(
                f"The tokenizer of {source.name!r} cannot be read: download the model again."
            ) from None
        self.model = source.name
        template = self._tokenizer.template
        self._eyes = load_eyes(path, config) if self.shows_pictures else None
        if self._eyes is not None:
            template.special.add(self._eyes.mark)  # so that nobody can write one
        self._form = recognized(template.written_call(*PROBE)) if template.takes_tools else None
        return path

    def _able(self, decoding: frozenset[str], context_length: int, advice: Mapping[str, str] | None = None) -> None:
        """Say what the engine honours, once model and tokenizer are loaded; tools where replies can be guided."""
        guided = decoding.issuperset(GUIDES)
        if not guided:
            tools = "it cannot keep a reply to a form; the transformers and vllm engines can."
        elif self._tokenizer is not None and self._tokenizer.template.takes_tools:
            tools = f"how {self.model!r} writes calls is not known here: choose another model."
        else:
            tools = f"the chat template of {self.model!r} knows no tools: leave them out, or choose another model."
        self._capabilities = Capabilities(
            decoding=decoding,
            context_length=context_length,
            modalities=TEXT if self._eyes is None else TEXT_AND_IMAGES,
            advice={**(advice or {}), "tools": tools},
            tools=guided and self._form is not None,
        )

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        """Return the token ids of messages and tools, each picture as what the model's processor writes for it."""
        token_ids = super().tokenize(messages, tools)
        pictures = EnginePrompt(tuple(messages)).pictures
        return token_ids if self._eyes is None else self._eyes.expand(token_ids, pictures)

    def picture_tokens(self, picture: Picture) -> int:
        return 0 if self._eyes is None else self._eyes.count(picture)

    def _unexpanded(self, prompt: EnginePrompt) -> list[int]:
        """Return the token ids of a prompt with one placeholder for each picture, as its template writes them."""
        return super().tokenize(prompt.messages, prompt.tools)

    def _calls(self, prompt: EnginePrompt) -> Calls | None:
        """Return what the reply may call, and how."""
        return None if prompt.tools is None or self._form is None else Calls(self._form, prompt.tools)

    def _grammar(self, prompt: EnginePrompt, decoding: Decoding) -> Grammar | None:
        """Return what a request leaves its reply to be, if it says so."""
        assert self._tokenizer is not None
        return grammar_of(decoding, self._calls(prompt), self._tokenizer.special)

    @cached_property
    def _guides(self) -> Guides:
        """What compiles the grammars of this model's replies."""
        assert self._tokenizer is not None
        return Guides(self._tokenizer, self._vocab, seconds=self._settings.guide_seconds)

    def _admitted(self, prompt: EnginePrompt, decoding: Decoding) -> tuple[tuple[int, ...], int]:
        """Return the prompt's token ids, and how many the reply may have. Raises what `generate` does at first."""
        self.capabilities.check(decoding, self.name)
        if prompt.tools is not None:
            self.capabilities.check_tools(self.name)
        check_bias(decoding, self._vocab)
        token_ids = prompt.token_ids or tuple(self.tokenize(prompt.messages, prompt.tools))
        return token_ids, reply_limit(len(token_ids), decoding, self.capabilities.context_length)


def read_config(path: Path) -> dict[str, Any]:
    """Return what the config.json of a model's folder says. Raises `EngineUnavailable` where it says nothing."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise unreadable(path, "config.json")
    return config


def check_weights(path: Path, *, otherwise: str = "") -> None:
    """Raise `EngineUnavailable` where a folder's weights are not all there and whole; `otherwise` is what else may be
    done where there are none. Reads the head of each file alone."""
    from safetensors import SafetensorError, safe_open

    files = {file.name for file in path.glob("*.safetensors")}
    if not files:
        raise EngineUnavailable(f"{path.name!r} holds no *.safetensors: download the weights{otherwise}.")
    if missing := sorted(_indexed(path) - files):
        raise EngineUnavailable(f"{path.name!r} holds no {missing[0]}: download the rest of the weights.")
    for name in sorted(files):
        try:
            with safe_open(path / name, framework="np"):
                pass
        except (SafetensorError, OSError):
            raise unreadable(path, name) from None


def _indexed(path: Path) -> set[str]:
    """Return the names of the files among which a model's weights are shared; none where one file holds them all."""
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return set()
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise unreadable(path, index.name) from None


def _stamps(folder: Path) -> Stamps:
    files = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.suffix in READ)
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in files)


def _digest(folder: Path, stamps: Stamps) -> str:
    whole = hashlib.sha256()
    for name, *_ in stamps:
        with (folder / name).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
