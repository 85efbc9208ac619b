"""Idempotency: a write that is sent again, because its answer was lost, is done once.

Knows when two requests are the same. Keeps no request and no answer, so that no secret and no text that is forgotten
later stays behind: what the first request made is kept by its id, and who asks again gets it as it is then.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from jc1.errors import Conflict, IdempotencyKeyReused, Unavailable

if TYPE_CHECKING:
    from jc1.database.idempotency import IdempotencyRepository

T = TypeVar("T")

LIFETIME = timedelta(hours=24)
"""For how long a key holds."""
ABANDONED = timedelta(minutes=2)
"""After which a request that never ended counts as one that ended with its process."""
PARAM = "Idempotency-Key"


def _now() -> datetime:
    return datetime.now(UTC)


class Idempotency:
    """The idempotency keys of a database. `secret` keeps the digests of requests from telling what stood in them."""

    def __init__(
        self,
        rows: IdempotencyRepository | None = None,
        secret: Callable[[], bytes] = bytes,
        *,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._rows = rows
        self._secret = secret
        self._clock = clock

    def once(
        self,
        owner: str,
        key: str,
        request: bytes,
        make: Callable[[], T],
        *,
        id_of: Callable[[T], str],
        again: Callable[[str], T],
    ) -> T:
        """Return what `make` makes, or `again` what it made when the same request of this owner came before. Blocks.

        Args:
            key: The client's, which names the request.
            request: All that makes it this request.
            id_of: Tells the id of what was made.
            again: Returns what was made, by its id.

        Raises:
            IdempotencyKeyReused: The key came with another request before.
            Conflict: The same request is still under way.
            Unavailable: There is no database to remember it in.
            Jc1Error: What `make` and `again` raise; after `make` did, the key is free.
        """
        if self._rows is None:
            raise Unavailable(f"Nothing here remembers keys: send the request without {PARAM}.", param=PARAM)
        now = self._clock()
        digest = hmac.digest(self._secret(), request, "sha256")
        name = hashlib.sha256(key.encode()).hexdigest()
        claim = self._rows.claim(owner, name, digest, now, oldest=now - LIFETIME, abandoned=now - ABANDONED)
        if claim is None:
            try:
                made = make()
            except BaseException:
                self._rows.give_up(owner, name)
                raise
            self._rows.finish(owner, name, id_of(made))
            return made
        if not hmac.compare_digest(claim.request, digest):
            raise IdempotencyKeyReused(PARAM)
        if claim.made is None:
            raise Conflict("The same request is under way: wait a moment, and send it again.", param=PARAM)
        return again(claim.made)
