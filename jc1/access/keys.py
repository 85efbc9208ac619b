"""Keys: how one is made, shown once, told from others, rotated and revoked.

Knows tokens, digests, times and what a key allows. Knows nothing about requests and headers (`jc1.access.gate`), or
about rows (`jc1.database.keys`).

A token is `jc1_<id>_<secret>`: twelve hexadecimal digits that may be shown and logged, and 256 random bits that may
not. Stored is the SHA-256 of the secret. A slow hash, as passwords have, would protect nothing: it makes guessing
expensive where people chose the secret, and among 2^256 there is nothing to guess; but it would cost every request, and
let anybody keep the server busy with wrong keys.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from jc1.access.principal import SCOPES, USUAL_SCOPES, Limits, Principal, check_owner
from jc1.errors import Conflict, InvalidRequest, Jc1Error, Unauthenticated, UnknownKey

if TYPE_CHECKING:
    from jc1.database.keys import KeyRepository

log = logging.getLogger(__name__)

FRESH = timedelta(seconds=5)
"""How long a process may go on with what it read of a key: one that another process revokes ends within this."""
TOUCH = timedelta(minutes=1)
"""How exactly the last use of a key is stored."""
MOST_RECENT = 10_000
"""Keys, and ids that are none, which a process keeps in mind."""
NAME_LENGTH = 200

State = Literal["valid", "expired", "revoked"]

_ID = re.compile(r"[0-9a-f]{12}")
_TOKEN = re.compile(rf"jc1_({_ID.pattern})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret.

    Attributes:
        scopes: What it allows, of `jc1.access.principal.SCOPES`.
        models: The models that it may ask, None for all; `presets` likewise.
        grace: Until when the secret before the last rotation is good; None where it is not.
    """

    id: str
    owner: str
    name: str
    scopes: frozenset[str]
    limits: Limits
    models: frozenset[str] | None
    presets: frozenset[str] | None
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None
    grace: datetime | None
    digest: bytes = field(repr=False)
    earlier: bytes | None = field(repr=False)

    def state(self, now: datetime) -> State:
        """Return whether the key opens anything at a moment."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"

    def digests(self, now: datetime) -> tuple[bytes, ...]:
        """Return the digests of the secrets that are good at a moment."""
        if self.state(now) != "valid":
            return ()
        if self.earlier is None or self.grace is None or self.grace <= now:
            return (self.digest,)
        return (self.digest, self.earlier)

    def principal(self) -> Principal:
        """Return who somebody is that shows this key."""
        return Principal(self.owner, self.scopes, self.id, self.limits, self.models, self.presets)

    def to_dict(self) -> dict[str, Any]:
        """Return all that may be shown, with the key's `state` now."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        lists = {name: sorted(value) for name, value in shown.items() if isinstance(value, frozenset)}
        return {**shown, **lists, "limits": self.limits.to_dict(), "state": self.state(_now())}


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with its token, which nobody can be told again."""

    key: Key
    token: str = field(repr=False)


def _now() -> datetime:
    return datetime.now(UTC)


class Keys:
    """The keys of a database. `clock` tells the time.

    `authenticate` is for the event loop and waits for the database in a thread, where what was read is not fresh any
    more. The other calls block.
    """

    def __init__(self, rows: KeyRepository, *, clock: Callable[[], datetime] = _now) -> None:
        self._rows = rows
        self.clock = clock
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, tuple[datetime, Key | None]] = OrderedDict()
        self._changes = 0
        """Counts what this process changed: what was read before is not kept after."""
        self._exist = False
        self._asked: datetime | None = None
        self._touched: dict[str, datetime] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="keys")

    def create(
        self,
        owner: str,
        *,
        name: str = "",
        scopes: Collection[str] = USUAL_SCOPES,
        limits: Limits | None = None,
        models: Collection[str] | None = None,
        presets: Collection[str] | None = None,
        expires: datetime | None = None,
    ) -> Issued:
        """Make a key for `owner`.

        Raises:
            InvalidRequest: An argument is none that a key can have; `param` names it.
        """
        limits = limits or Limits()
        now = self.clock()
        _check(owner, name, scopes, limits, expires, now)
        key_id = secrets.token_hex(6)
        token = _token(key_id)
        values = {
            "id": key_id,
            "owner": owner,
            "name": name,
            "scopes": sorted(set(scopes)),
            "limits": limits.to_dict(),
            "models": None if models is None else sorted(set(models)),
            "presets": None if presets is None else sorted(set(presets)),
            "digest": digest_of(token),
            "created": now,
            "expires": expires,
        }
        self._rows.add(values)
        return self._issued(key_id, token)

    def list(self) -> list[Key]:
        """Return every key that was ever made, the newest first."""
        return [_key(row) for row in self._rows.list()]

    def get(self, key_id: str) -> Key:
        """Return a key as it is stored now. Raises `UnknownKey`."""
        row = self._rows.get(key_id)
        if row is None:
            raise UnknownKey(key_id)
        return _key(row)

    def rotate(self, key_id: str, *, grace: timedelta = timedelta()) -> Issued:
        """Give a key a new secret. The one before is good for `grace` from now, one before that no more.

        Raises:
            UnknownKey: There is no such key.
            Conflict: It is revoked or expired.
            InvalidRequest: `grace` is negative or longer than a year.
        """
        if not timedelta() <= grace <= timedelta(days=366):
            raise InvalidRequest("'grace' is a time from 0 to a year.", param="grace")
        now = self.clock()
        if (state := self.get(key_id).state(now)) != "valid":
            raise Conflict(f"The key {key_id!r} is {state}: make a new one.")
        token = _token(key_id)
        if not self._rows.rotate(key_id, digest_of(token), now + grace if grace else None):
            raise Conflict(f"The key {key_id!r} was revoked meanwhile: make a new one.")
        return self._issued(key_id, token)

    def revoke(self, key_id: str) -> Key:
        """End a key for good: here at once, in other processes within `FRESH`. Raises `UnknownKey`."""
        self.get(key_id)
        self._rows.revoke(key_id, self.clock())
        self._forget(key_id)
        return self.get(key_id)

    def any_valid(self) -> bool:
        """Return whether there is a key that opens anything now."""
        now = self.clock()
        return any(key.state(now) == "valid" for key in self.list())

    def signing_secret(self, name: str) -> bytes:
        """Return the secret by which this and other processes sign what `name` says."""
        return self._rows.secret(name)

    async def exist(self) -> bool:
        """Return whether a key was ever made; that another process makes the first is seen within `FRESH`."""
        now = self.clock()
        if not self._exist and not _is_fresh(self._asked, now):
            # Never back to False: a key may be made here while another thread looks.
            if await asyncio.to_thread(self._rows.any):
                self._exist = True
            self._asked = now
        return self._exist

    async def authenticate(self, token: str) -> Key:
        """Return the key that a token is of. Raises `Unauthenticated`."""
        match = _TOKEN.fullmatch(token)
        key = await self.find(match[1]) if match else None
        # As much work for an id that is none: how long a refusal takes does not tell which ids there are.
        digest = digest_of(token)
        now = self.clock()
        matches = [hmac.compare_digest(digest, known) for known in (key.digests(now) if key else (bytes(32),))]
        if key is None or not any(matches):
            raise invalid()
        self.used(key)
        return key

    async def find(self, key_id: str) -> Key | None:
        """Return a key as it was at most `FRESH` ago; None where there is none."""
        if not _ID.fullmatch(key_id):
            return None
        with self._lock:
            read, key = self._recent.get(key_id, (None, None))
            changes = self._changes
        if _is_fresh(read, now := self.clock()):
            return key
        row = await asyncio.to_thread(self._rows.get, key_id)
        key = None if row is None else _key(row)
        with self._lock:
            if changes == self._changes:
                self._recent[key_id] = now, key
                self._recent.move_to_end(key_id)
                while len(self._recent) > MOST_RECENT:
                    self._recent.popitem(last=False)
        return key

    async def stands(self, principal: Principal) -> bool:
        """Return whether who was let in would be now: its key is good, or there are none, as there were none then."""
        if principal.key is None:
            return not await self.exist()
        key = await self.find(principal.key)
        return key is not None and key.state(self.clock()) == "valid"

    def used(self, key: Key) -> None:
        """Store, in a thread and once a minute, that a key was used."""
        now = self.clock()
        before = self._touched.get(key.id) or key.last_used
        if before is None or now - before >= TOUCH:
            self._touched[key.id] = now
            self._writer.submit(self._touch, key.id, now)

    def close(self) -> None:
        """Finish what is being stored."""
        self._writer.shutdown()

    def _touch(self, key_id: str, now: datetime) -> None:
        try:
            self._rows.touch(key_id, now, TOUCH)
        except Jc1Error as error:
            log.warning("the last use of the key %s was not stored: %s", key_id, error.message)

    def _issued(self, key_id: str, token: str) -> Issued:
        self._forget(key_id)
        return Issued(self.get(key_id), token)

    def _forget(self, key_id: str) -> None:
        """Keep nothing of what was read of a key before it was changed here."""
        with self._lock:
            self._changes += 1
            self._recent.pop(key_id, None)
            self._exist = True


def invalid() -> Unauthenticated:
    """Return the error for whatever is wrong with a key: which it is would help only those who guess."""
    return Unauthenticated("This key is unknown, expired or revoked: ask for a new one.")


def _token(key_id: str) -> str:
    """Return a token with a new secret."""
    return f"jc1_{key_id}_{secrets.token_urlsafe(32)}"


def _is_fresh(read: datetime | None, now: datetime) -> bool:
    # A clock that was set back makes nothing fresh for longer.
    return read is not None and timedelta() <= now - read < FRESH


def digest_of(token: str) -> bytes:
    """Return the digest of a token's secret; of the whole text where it is no token."""
    match = _TOKEN.fullmatch(token)
    return hashlib.sha256((match[2] if match else token).encode("utf-8", "surrogatepass")).digest()


def _key(row: dict[str, Any]) -> Key:
    names = {name: row[name] if row[name] is None else frozenset(row[name]) for name in ("models", "presets")}
    return Key(**{**row, **names, "scopes": frozenset(row["scopes"]), "limits": Limits(**row["limits"])})


def _check(
    owner: str,
    name: str,
    scopes: Collection[str],
    limits: Limits,
    expires: datetime | None,
    now: datetime,
) -> None:
    check_owner(owner)
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"'name' has at most {NAME_LENGTH} printable characters.", param="name")
    if unknown := sorted(set(scopes) - SCOPES.keys()):
        raise InvalidRequest(f"No scope {unknown[0]!r}: there are {', '.join(SCOPES)}.", param="scopes")
    for limit, value in asdict(limits).items():
        if value is not None and value < 1:
            raise InvalidRequest(f"{limit!r} is {value}: a limit is 1 or more, or left out.", param=limit)
    if expires is not None and expires <= now:
        raise InvalidRequest("'expires' is past: name a later time, or none.", param="expires")
