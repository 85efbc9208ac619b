"""What a request says about where it comes from: hosts and origins.

Knows loopback, and what browsers tell of the page that sent a request. Knows nothing about any web framework, and
nothing about keys (`jc1.access.gate`).

**Without keys** JC1 serves the people of this machine only. It listens on loopback, answers callers on loopback, and
does so under a loopback name: a name that somebody else's DNS points here (rebinding) is refused. A browser says which
page sent a request; if that is not one of JC1's own pages the request is refused, so that a web page elsewhere cannot
write memories or spend the machine. Only following a link to JC1 is allowed from anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from jc1.errors import HostRefused, InvalidSettings, OriginRefused, Refused

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says about itself; header values as they were sent, `None` when absent.

    `peer` is the address at the other end of the connection, `None` where there is none (a Unix socket). A header that
    was sent twice is empty. `session` is the value of the cookie that a sign-in left.
    """

    method: str
    peer: str | None
    host: str | None
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None
    authorization: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)


def check_local(caller: Caller) -> None:
    """Let the people of this machine pass.

    Raises:
        Refused: The request comes from another machine.
        HostRefused: It addresses this server by a name that is not one of its own.
        OriginRefused: A browser sends it for a page that is not JC1's.
    """
    if caller.peer is not None and not is_loopback(caller.peer):
        raise Refused("Without keys JC1 answers callers on this machine only.")
    host = _split(caller.host or "")
    if host is None or not is_loopback(host[0]):
        raise HostRefused("This server answers for localhost, 127.0.0.1 and [::1]: use one of these names.")
    check_page(caller)


def check_page(caller: Caller) -> None:
    """Let requests pass that no browser sends for a page of another origin. Raises `OriginRefused`."""
    if caller.origin is not None and not _same(caller.origin, _split(caller.host or "")):
        raise OriginRefused("The request comes from a web page of another origin, which may not use this server.")
    follows_link = caller.method in ("GET", "HEAD") and caller.fetch_mode == "navigate"
    if caller.fetch_site in ("cross-site", "same-site") and not follows_link:
        raise OriginRefused("The request comes from a web page of another site, which may not use this server.")


def check_listen(host: str, *, any_keys: bool) -> None:
    """Raise `InvalidSettings` where other machines could reach `host` and there are no keys to tell who they are."""
    if not any_keys and not is_loopback(host):
        raise InvalidSettings(
            f"Listening on {host!r} would let other machines in, and there is no valid key to tell who they are: make "
            "one with `jc1 keys create`, or use --host 127.0.0.1, and reach it from elsewhere through an SSH tunnel."
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


def _same(origin: str, host: tuple[str, int | None] | None) -> bool:
    """Return whether a page of `origin` was served under `host`: name and port are the same."""
    scheme, _, authority = origin.partition("://")
    page = _split(authority)
    default = _DEFAULT_PORTS.get(scheme)
    if host is None or page is None or default is None:
        return False
    return (page[0], page[1] or default) == (host[0], host[1] or default)
