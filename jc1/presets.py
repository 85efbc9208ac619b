"""Presets: named, versioned decoding, retrieval and system prompt, with aliases that can be moved.

Knows how a reference is resolved. Knows nothing about experiments or MLflow: a promotion saves a version and moves an
alias.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from jc1.decoding import Decoding
from jc1.engines.settings import FIELDS
from jc1.errors import Conflict, InvalidRequest, UnknownPreset
from jc1.memory.base import Retrieval
from jc1.prompt import DEFAULT_SYSTEM
from jc1.vision.reading import OCR_MODES, OcrMode

if TYPE_CHECKING:
    from jc1.database.presets import PresetRepository

REQUIREMENTS = frozenset(FIELDS) - {"base_url", "api_key"} | {"engine"}
"""The settings that a preset may ask for. Where a remote engine is, and its key, are the installation's own."""

CHAMPION = "champion"
"""The alias that promotion moves, and that a sweep compares with, unless told another."""
FRESH_SECONDS = 1.0
"""How long a server may go on with what a reference meant, after another process has moved it."""
MOST_RECENT = 100
"""References that are kept at most."""
NAME_LENGTH = 200
"""Most characters of a name or an alias."""
_NAMES = f"has 1 to {NAME_LENGTH} printable characters, no '@' and no space around it"
VERSION_DIGITS = 9
"""A version of more digits is none: no database would take it."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings under a name. `decoding` holds the fields that differ from `Decoding`'s defaults; `engine` those of the
    engine that it needs; `ocr` whether text in pictures is read, empty where the settings say; `version` 0 is one that
    JC1 ships. `measured` says where it was found best and how well it did there; nothing that a request means depends
    on it. `unread` names what a newer JC1 saved in it and this one does not know: such a preset is listed, and not
    served."""

    name: str
    version: int = 0
    description: str = ""
    system: str = DEFAULT_SYSTEM
    decoding: Mapping[str, Any] = field(default_factory=dict)
    retrieval: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    ocr: OcrMode | Literal[""] = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """Return the name that always means this very version."""
        return f"{self.name}@{self.version}"

    @property
    def figures(self) -> dict[str, Any]:
        """Return `measured` without the score of each prompt, which are many."""
        return {name: value for name, value in self.measured.items() if name != "scores"}


@dataclass(frozen=True, slots=True)
class AliasMove:
    """An alias was pointed at a version. `moved` is None where that was before JC1 kept such times; `undone` is when it
    was taken back."""

    reference: str
    moved: datetime | None
    undone: datetime | None = None


SHIPPED = (
    Preset("default", description="Greedy: the same question gets the same answer."),
    Preset(
        "creative",
        description="Sampled: varied wording.",
        decoding={"temperature": 0.8, "top_p": 0.95},
    ),
)


class Presets:
    """The registry: what JC1 ships and what was saved, found by reference.

    A reference is an alias (`champion`), a name (`default`, its newest version), `name@version` or `name@alias`.
    """

    def __init__(self, rows: PresetRepository) -> None:
        self._rows = rows
        self._shipped = {preset.name: preset for preset in SHIPPED}
        self._recent: dict[str, tuple[float, Preset]] = {}

    def recent(self, reference: str) -> Preset | None:
        """Return what `reference` meant when it was last resolved, None after `FRESH_SECONDS`. Never blocks."""
        when, preset = self._recent.get(reference, (-math.inf, None))
        return preset if time.monotonic() - when <= FRESH_SECONDS else None

    def resolve(self, reference: str) -> Preset:
        """Return the preset that a reference means.

        Raises:
            UnknownPreset: There is none; the message names those that there are.
        """
        preset = self._resolve(reference)
        if len(self._recent) >= MOST_RECENT:
            self._recent.clear()
        self._recent[reference] = (time.monotonic(), preset)
        return preset

    def _resolve(self, reference: str) -> Preset:
        name, _, detail = reference.partition("@")
        if not detail:
            target = self._rows.aliases().get(name)
            preset = self._find(*target) if target else self._find(name, None)
        elif detail.isdecimal():
            preset = self._find(name, int(detail)) if len(detail) <= VERSION_DIGITS else None
        else:
            target = self._rows.aliases().get(detail)
            preset = self._find(*target) if target and target[0] == name else None
        if preset is None:
            known = ", ".join(sorted({p.name for p in self.list()} | set(self._rows.aliases())))
            raise UnknownPreset(f"No preset {reference!r}: known are {known}.", param="preset")
        return preset

    def _find(self, name: str, version: int | None) -> Preset | None:
        if version != 0 and (row := self._rows.get(name, version)):
            return _read(name, *row)
        return self._shipped.get(name) if not version else None

    def list(self) -> list[Preset]:
        """Return every version there is, shipped ones first."""
        return [*SHIPPED, *(_read(*row) for row in self._rows.list())]

    def aliases(self) -> dict[str, str]:
        """Return where each alias points, as `name@version`."""
        return {alias: f"{name}@{version}" for alias, (name, version) in self._rows.aliases().items()}

    def save(self, preset: Preset) -> Preset:
        """Store `preset` as the next version of its name, and return it with that version.

        Raises:
            InvalidDecoding: Its decoding is not valid.
            InvalidRequest: It asks for what is not known here.
            Conflict: Its name cannot be one.
        """
        if not _nameable(preset.name) or preset.name in self._rows.aliases():
            raise Conflict(
                f"{preset.name[:80]!r} cannot name a preset: a name {_NAMES}, and is no alias.", param="name"
            )
        Decoding.parse(preset.decoding)
        unknown = [f"engine.{name}" for name in preset.engine if name not in REQUIREMENTS]
        unknown += [f"ocr {preset.ocr!r}"] if preset.ocr and preset.ocr not in OCR_MODES else []
        unknown += [*preset.unread, *_unknown_retrieval(preset.retrieval)]
        if unknown:
            raise InvalidRequest(f"A preset cannot hold {', '.join(map(repr, unknown))}: leave it out.", param="preset")
        body = {key: value for key, value in asdict(preset).items() if key in _BODY and (key != "ocr" or value)}
        version = self._rows.save(preset.name, body)
        self._recent.clear()
        return Preset(name=preset.name, version=version, **body)

    def check_alias(self, alias: str) -> None:
        """Raise `Conflict` where `alias` cannot be one."""
        if not _nameable(alias) or alias.isdecimal() or any(preset.name == alias for preset in self.list()):
            raise Conflict(
                f"{alias[:80]!r} cannot be an alias: it {_NAMES}, is no number and names no preset.", param="alias"
            )

    def set_alias(self, alias: str, reference: str, *, expected: Preset | EllipsisType | None = ...) -> Preset:
        """Point `alias` at a version, and return that; `rollback` takes it back.

        Args:
            alias: An alias, new or known.
            reference: The version, as `resolve` takes it.
            expected: What the alias means as far as the caller knows, None for nothing; left out, whatever it means.

        Raises:
            Conflict: The alias cannot be one, or was moved meanwhile.
            UnknownPreset: The reference means nothing.
        """
        self.check_alias(alias)
        preset = self.resolve(reference)
        before = (expected.name, expected.version) if isinstance(expected, Preset) else expected
        self._rows.set_alias(alias, preset.name, preset.version, expected=before)
        self._recent.clear()
        return preset

    def rollback(self, alias: str) -> Preset | None:
        """Point `alias` where it pointed before, each time further back, and return the preset that it means now.

        Returns:
            None where it pointed nowhere before: there is no such alias any more.

        Raises:
            UnknownPreset: There is no such alias.
        """
        self._alias(alias)
        target = self._rows.undo_alias(alias)
        self._recent.clear()
        return None if target is None else self.resolve("{}@{}".format(*target))

    def history(self, alias: str) -> tuple[AliasMove, ...]:
        """Return where `alias` was pointed, newest first, what was taken back included. Raises `UnknownPreset`."""
        self._alias(alias)
        return tuple(
            AliasMove(f"{name}@{version}", moved, undone) for name, version, moved, undone in self._rows.moves(alias)
        )

    def _alias(self, alias: str) -> str:
        """Return where `alias` points. Raises `UnknownPreset` naming those that there are."""
        known = self.aliases()
        if alias not in known:
            there = f"there are {', '.join(known)}" if known else "there is none yet, `jc1 promote` makes one"
            raise UnknownPreset(f"No alias {alias!r}: {there}.", param="alias")
        return known[alias]


def _nameable(name: str) -> bool:
    return 0 < len(name) <= NAME_LENGTH and name.isprintable() and name == name.strip() and "@" not in name


_BODY = tuple(f.name for f in fields(Preset) if f.name not in ("name", "version", "unread"))
"""What a row's body holds."""


def _read(name: str, version: int, body: Mapping[str, Any]) -> Preset:
    """Return the preset in a row, whichever version of JC1 wrote it."""
    known = {key: value for key, value in body.items() if key in _BODY}
    unread = [key for key in body if key not in _BODY]
    return Preset(
        name=name, version=version, **known, unread=(*unread, *_unknown_retrieval(known.get("retrieval", {})))
    )


def _unknown_retrieval(retrieval: Mapping[str, Any]) -> list[str]:
    known = {f.name for f in fields(Retrieval)}
    return [f"retrieval.{name}" for name in retrieval if name not in known]
