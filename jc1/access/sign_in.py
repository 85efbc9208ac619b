"""Sign-ins: a browser shows a key once, and a cookie after that.

Knows what the cookie holds and for how long it is good. Knows nothing about HTTP, or about pages.

The cookie names the key and says when it was shown, signed with a secret of the database, so that every replica takes
it, and with the digest of what was shown: a revoked key, and the old secret of a rotated one, end their sign-ins too.
Nothing is stored for one: signing out takes the cookie from the browser, and a copy of it would be good until its time
is over.
"""

from __future__ import annotations

import asyncio
import hashlib

from itsdangerous import TimestampSigner

from jc1.access.keys import Key, Keys, digest_of, invalid

_SECRET = "session"


class SignIns:
    """What browsers hold that signed in with one of `keys`, good for `hours`."""

    def __init__(self, keys: Keys, hours: float) -> None:
        self.seconds = round(hours * 3600)
        self._keys = keys
        self._secret: bytes | None = None

    async def begin(self, token: str) -> tuple[Key, str]:
        """Return the key that a token is of, and what the browser shows from now on. Raises `Unauthenticated`."""
        key = await self._keys.authenticate(token)
        return key, (await self._signer(digest_of(token))).sign(key.id).decode("ascii")

    async def resume(self, session: str) -> Key:
        """Return the key that a browser signed in with. Raises `Unauthenticated` where that is over."""
        key = await self._keys.find(session.partition(".")[0])
        if key is None:
            raise invalid()
        for digest in key.digests(self._keys.clock()):
            if (await self._signer(digest)).validate(session, max_age=self.seconds):
                self._keys.used(key)
                return key
        raise invalid()

    async def _signer(self, digest: bytes) -> TimestampSigner:
        if self._secret is None:
            self._secret = await asyncio.to_thread(self._keys.signing_secret, _SECRET)
        return TimestampSigner(self._secret, salt=b"jc1.session" + digest, digest_method=hashlib.sha256)
