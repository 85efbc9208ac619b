"""Somebody who was let in: for whom they act, and what they may do.

Knows scopes, limits and owners. Knows nothing about keys, cookies or connections, which tell who somebody is.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, fields

from jc1.errors import InvalidRequest, Refused

OWNER_LENGTH = 200
"""Most characters of an owner's name."""
ANY_OWNER = "owners:any"
"""The scope that lets a caller act for an owner other than its own."""
ADMIN = "admin"
"""The scope that holds every other, and keys and usage besides: who makes keys could make itself any."""
SCOPES = {
    "chat": "Ask for replies, and read the traces of one's own.",
    "embed": "Have texts embedded.",
    "vision": "Ask about pictures.",
    "speech": "Have speech transcribed and texts read out.",
    "memory:read": "Search and read memories, documents and sessions.",
    "memory:write": "Add, edit, forget and import them.",
    "presets:write": "Save presets and point aliases.",
    "metrics": "Read /metrics and the live telemetry.",
    ANY_OWNER: "Act for any owner, by `user`.",
    ADMIN: "Everything, and the keys and everybody's usage.",
}
"""What may be allowed to a caller, each with what it allows."""
USUAL_SCOPES = frozenset({"chat", "embed", "vision", "speech", "memory:read", "memory:write"})
"""What a key allows that is made without saying: everything about what is its owner's own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a key may ask for; None is no limit."""

    requests_per_minute: int | None = field(default=None, metadata={"help": "Requests a minute."})
    tokens_per_minute: int | None = field(default=None, metadata={"help": "Tokens a minute, read and written."})
    tokens_per_day: int | None = field(default=None, metadata={"help": "Tokens a day (UTC), read and written."})
    concurrent: int | None = field(default=None, metadata={"help": "Replies that are written at the same time."})

    def to_dict(self) -> dict[str, int]:
        """Return the limits that are set, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in.

    Attributes:
        owner: For whom a request acts that names nobody.
        scopes: What is allowed, of `SCOPES`.
        key: The id of the key that was shown; None where there are no keys.
        limits: How much may be asked for.
        models: The models that may be asked, None for all.
        presets: The presets and aliases that may be used, None for all.
    """

    owner: str
    scopes: frozenset[str]
    key: str | None = None
    limits: Limits = Limits()
    models: frozenset[str] | None = None
    presets: frozenset[str] | None = None

    def may(self, scope: str) -> bool:
        """Return whether `scope` is allowed."""
        return scope in self.scopes or ADMIN in self.scopes

    def require(self, scope: str) -> None:
        """Raise `Refused` unless `scope` is allowed."""
        if not self.may(scope):
            raise Refused(f"This key lacks the scope {scope!r}: ask for one that has it.")

    def may_ask(self, model: str) -> bool:
        """Return whether a model may be asked."""
        return self.models is None or model in self.models

    def may_use(self, preset: str) -> bool:
        """Return whether a preset may be used that is named so: it is allowed by its reference, name or alias."""
        return self.presets is None or not self.presets.isdisjoint({preset, *preset.split("@", 1)})

    def require_model(self, model: str) -> None:
        """Raise `Refused` unless the model may be asked."""
        if not self.may_ask(model):
            raise Refused(f"This key may not ask the model {model!r}: /v1/models lists those it may.", param="model")

    def require_preset(self, preset: str) -> None:
        """Raise `Refused` unless the preset may be used that is named so."""
        if not self.may_use(preset):
            allowed = ", ".join(sorted(self.presets or ())) or "none"
            raise Refused(f"This key may not use the preset {preset!r}: allowed are {allowed}.", param="preset")

    def acting_for(self, named: str | None) -> str:
        """Return the owner whose memories, sessions and traces a request is about.

        Args:
            named: The owner that the request names, None where it names none.

        Raises:
            InvalidRequest: The name cannot be an owner's.
            Refused: It is another owner's, and this caller may act for its own alone.
        """
        if named is None or named == self.owner:
            return self.owner
        check_owner(named)
        if not self.may(ANY_OWNER):
            raise Refused(f"This caller acts for {self.owner!r} only: leave 'user' out.", param="user")
        return named


def check_owner(name: str) -> str:
    """Return `name` as it is.

    Raises:
        InvalidRequest: It cannot be an owner's, which has 1 to 200 characters, not all blank, no control character and
            no half of a surrogate pair.
    """
    if not name.strip() or len(name) > OWNER_LENGTH or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidRequest(
            f"'user' names the owner: 1 to {OWNER_LENGTH} characters, without control characters.", param="user"
        )
    return name
