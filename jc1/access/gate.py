"""The gate's decision: who a request comes from, and whether it is let in; the same for API and page.

Knows the two ways to show a key: in a header, or by the cookie of somebody who signed in with one. Knows nothing about
any web framework: the API's middleware hands it what a request says about itself, before its body is read.

**Without keys** `jc1.access.browser` says who is let in, and whoever is may do everything. **With keys**, which begins
with the first that was ever made and never ends, a request shows a key, also one from this machine; a database in which
all keys are revoked or expired lets nobody in. A key in a header is answered under any host name and for any page: a
page elsewhere has no key that its reader did not give it. A cookie is sent by browsers whoever asks, so it counts for
requests of JC1's own pages alone.
"""

from __future__ import annotations

from jc1.access.browser import Caller, check_local, check_page
from jc1.access.keys import Keys
from jc1.access.principal import ADMIN, Principal, check_owner
from jc1.access.sign_in import SignIns
from jc1.errors import Unauthenticated

NOBODY = Principal("nobody", frozenset())
"""Who asks at an open address, where there are keys."""


class Access:
    """Decides who is let in. `owner` is for whom everybody acts while there are no keys."""

    def __init__(self, owner: str, keys: Keys, sign_ins: SignIns) -> None:
        self._everyone = Principal(check_owner(owner), frozenset({ADMIN}))
        self._keys = keys
        self._sign_ins = sign_ins

    async def admit(self, caller: Caller, *, open_to_all: bool = False) -> Principal:
        """Return the principal that a caller is. `open_to_all` is an address that takes no key.

        Raises:
            Unauthenticated: There are keys, and it shows none that is good.
            Refused: What `check_local` raises without keys, and for a cookie or an open address `check_page` with them.
        """
        # 1) Without keys: the people of this machine
        if not await self._keys.exist():
            check_local(caller)
            return self._everyone
        # 2) An open address needs no key, and does not look at one
        if open_to_all:
            check_page(caller)
            return NOBODY
        # 3) A key in a header
        if (token := _token(caller)) is not None:
            return (await self._keys.authenticate(token)).principal()
        # 4) Somebody who signed in
        if caller.session is not None:
            check_page(caller)
            return (await self._sign_ins.resume(caller.session)).principal()
        raise Unauthenticated("This server asks for a key: send it as 'Authorization: Bearer KEY', or go to /sign-in.")


def _token(caller: Caller) -> str | None:
    """Return the key that the headers show; None where they show none. Raises `Unauthenticated` for two that differ."""
    tokens = set()
    scheme, _, value = (caller.authorization or "").partition(" ")
    # Another scheme is somebody else's, such as a proxy's before this server. A header that was sent twice is empty.
    if caller.authorization is not None and scheme.lower() in ("bearer", ""):
        tokens.add(value.strip())
    if caller.api_key is not None:
        tokens.add(caller.api_key)
    if len(tokens) > 1:
        raise Unauthenticated("'Authorization' and 'x-api-key' show different keys: send one of them.")
    return tokens.pop() if tokens else None
