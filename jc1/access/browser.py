"""The rules of the gate: who may ask, and from where; the same for API and UI.

Knows hosts and origins, and who asks where there are no keys. Knows nothing about any web framework: the API's
middleware hands it what a request says about itself, before its body is read.

**Without keys** JC1 serves the people of this machine only. It listens on loopback, answers callers on loopback, and
does so under a loopback name: a name that somebody else's DNS points here (rebinding) is refused. A browser says which
page sent a request; if that is not one of JC1's own pages the request is refused, so that a web page elsewhere cannot
write memories or spend the machine. Only following a link to JC1 is allowed from anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jc1.access.principal import ADMIN, Principal, check_owner
from jc1.errors import HostRefused, InvalidSettings, OriginRefused, Refused

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says about itself; header values as they were sent, `None` when absent.

    `peer` is the address at the other end of the connection, `None` where there is none (a Unix socket).
    """

    method: str
    peer: str | None
    host: str | None
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None


class Access:
    """The gate's decision. `hosts` are names besides the loopback ones under which this server may be addressed."""

    def __init__(self, owner: str, *, hosts: Iterable[str] = ()) -> None:
        self._everyone = Principal(check_owner(owner), frozenset({ADMIN}))
        self._hosts = frozenset(name.lower() for name in hosts)

    def admit(self, caller: Caller) -> Principal:
        """Return the principal that a caller is.

        Raises:
            Refused: It calls from another machine.
            HostRefused: It addresses this server by a name that is not one of its own.
            OriginRefused: A browser sends it for a page that is not JC1's.
        """
        if caller.peer is not None and not is_loopback(caller.peer):
            raise Refused("Without keys JC1 answers callers on this machine only.")
        host = _split(caller.host or "")
        if host is None or not (is_loopback(host[0]) or host[0] in self._hosts):
            raise HostRefused("This server answers for localhost, 127.0.0.1 and [::1]: use one of these names.")
        if caller.origin is not None and not _same(caller.origin, host):
            raise OriginRefused("The request comes from a web page of another origin, which may not use this server.")
        follows_link = caller.method in ("GET", "HEAD") and caller.fetch_mode == "navigate"
        if caller.fetch_site in ("cross-site", "same-site") and not follows_link:
            raise OriginRefused("The request comes from a web page of another site, which may not use this server.")
        return self._everyone


def check_listen(host: str) -> None:
    """Raise `InvalidSettings` unless `host` is an address that only this machine can reach."""
    if not is_loopback(host):
        raise InvalidSettings(
            f"Listening on {host!r} would let other machines in, and there are no keys to tell who they are: "
            "use --host 127.0.0.1, and reach it from elsewhere through an SSH tunnel."
        )


def is_loopback(name: str) -> bool:
    """Return whether a host name or address, IPv6 in brackets or not, means this machine itself."""
    if name.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    # ::ffff:127.0.0.1, as a socket for both protocols shows a caller over IPv4.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _split(authority: str) -> tuple[str, int | None] | None:
    """Return name, in lower case, and port of `name[:port]`; None for anything else."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    return match["name"].lower(), int(match["port"]) if match["port"] else None


def _same(origin: str, host: tuple[str, int | None]) -> bool:
    """Return whether a page of `origin` was served under `host`: name and port are the same."""
    scheme, _, authority = origin.partition("://")
    page = _split(authority)
    default = _DEFAULT_PORTS.get(scheme)
    if page is None or default is None:
        return False
    return (page[0], page[1] or default) == (host[0], host[1] or default)
