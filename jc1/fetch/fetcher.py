"""Fetching what a request names by URL: from the internet, and nothing that only this machine reaches.

Each hop is done in this order: the URL's scheme and host are checked, the host is resolved once, every address that it
has is checked, and the connection goes to one of these addresses. A name that is resolved to something else a moment
later changes nothing, and a redirect is a new hop. The certificate has to be the host's. Nothing is sent along: no
cookie, no credentials, no proxy's settings.

Knows URLs, time and bytes. Knows nothing about what is fetched, or about which addresses are whose (`addresses`). Not
known here is a network's own NAT64 prefix: where there is one, a firewall has to keep it apart.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from jc1.errors import AddressRefused, FetchFailed, RequestTooLarge
from jc1.fetch.addresses import Address, Network, may_be_reached, networks

if TYPE_CHECKING:
    import httpx

    from jc1.settings import Settings

log = logging.getLogger(__name__)

HOPS = 5
"""Redirects that are followed, at most."""
CONNECT_SECONDS = 5.0
ADDRESSES = 3
"""Addresses of a host that are tried, at most."""
_NEVER_IN_URLS = re.compile(r"[\s\\\x00-\x20\x7f]")
"""What programs read in different ways: white space, control characters, backslashes."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses. Raises `OSError` where it has none."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched: the bytes, and what the server calls them."""

    data: bytes
    media_type: str


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system knows of a host, numbers in every spelling included."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Fetcher:
    """Fetches `https` URLs, where the operator lets it.

    Arguments:
        on: Whether anything is fetched at all.
        allowed: Networks that may be reached besides the internet.
        resolve: How names become addresses.
    """

    def __init__(self, *, on: bool, allowed: Sequence[Network] = (), resolve: Resolve = resolve) -> None:
        self.on = on
        self._allowed = tuple(allowed)
        self._resolve = resolve

    @classmethod
    def from_settings(cls, settings: Settings) -> Fetcher:
        return cls(on=settings.fetch_urls, allowed=networks(settings.fetch_networks))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def fetch(self, url: str, *, max_bytes: int, seconds: float, noun: str) -> Fetched:
        """Return what a URL leads to.

        Args:
            url: As the client sent it.
            max_bytes: Most bytes that are read; reading ends there.
            seconds: How long everything may take, redirects included.
            noun: What it is, in the words of an error.

        Raises:
            AddressRefused: It is not fetched: by setting, or for its scheme, host or address.
            FetchFailed: Its server cannot be reached, refuses it, or takes too long.
            RequestTooLarge: It has more than `max_bytes`.
        """
        import httpx

        if not self.on:
            raise AddressRefused(
                f"This server fetches no URLs: send the {noun} itself, as a data URL, or ask the operator for the "
                "setting fetch_urls."
            )
        try:
            async with asyncio.timeout(seconds):
                target = _parsed(url, noun)
                for _ in range(HOPS + 1):
                    result = await self._hop(target, max_bytes, noun)
                    if isinstance(result, Fetched):
                        return result
                    target = _parsed(result, noun, behind=target)
        except TimeoutError:
            raise FetchFailed(f"The {noun} was not fetched within {seconds:.0f} s: send it as a data URL.") from None
        except httpx.HTTPError as error:
            log.info("a URL was not fetched: %s", type(error).__name__)
            raise FetchFailed(f"The {noun} could not be fetched: check its URL, or send it as a data URL.") from None
        raise FetchFailed(f"The {noun} was redirected more than {HOPS} times: send the URL that it leads to.")

    async def _hop(self, url: httpx.URL, max_bytes: int, noun: str) -> Fetched | str:
        """Return what is at a URL, or where its server sends on to."""
        import httpx

        host, port = url.raw_host.decode("ascii"), _port(url)
        # 1) Resolve, and check every address: one that is refused refuses the host.
        addresses = await self._addresses(host, port, noun)
        # 2) Connect to an address that was checked, under the host's name.
        client = httpx.AsyncClient(
            verify=self._tls, trust_env=False, timeout=httpx.Timeout(None, connect=CONNECT_SECONDS)
        )
        async with client:
            for address in addresses[:ADDRESSES]:
                request = client.build_request(
                    "GET",
                    url.copy_with(host=str(address)),
                    headers={"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "jc1"},
                    extensions={"sni_hostname": host},
                )
                try:
                    response = await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if address == addresses[:ADDRESSES][-1]:
                        raise
                    continue
                try:
                    return await _read(response, max_bytes, noun)
                finally:
                    await response.aclose()
        raise AssertionError("there is an address, and the last one returns or raises")

    async def _addresses(self, host: str, port: int, noun: str) -> Sequence[Address]:
        # A name that is not there is told as one that is refused: else it could be asked which names a network has.
        refusal = AddressRefused(
            f"The host {host[:80]!r} is none of the public internet: send the {noun} as a data URL."
        )
        try:
            # An IPv6 address may carry a zone, which no public one does.
            addresses = [ipaddress.ip_address(text) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            raise refusal from None
        if not addresses or not all(may_be_reached(address, self._allowed) for address in addresses):
            raise refusal
        return addresses


def _parsed(url: str, noun: str, behind: httpx.URL | None = None) -> httpx.URL:
    """Return a URL that may be asked for, if its host may; one `behind` another may be relative to it.

    Raises `AddressRefused`.
    """
    import httpx

    try:
        parsed = httpx.URL(url) if behind is None else behind.join(url)
    except (httpx.InvalidURL, UnicodeError):
        parsed = None
    if parsed is None or not parsed.host or _NEVER_IN_URLS.search(url) or not 0 < _port(parsed) < 65536:
        raise AddressRefused(f"The URL of the {noun} cannot be read: send one of the form https://HOST/PATH.")
    if parsed.scheme != "https":
        raise AddressRefused(f"The URL of the {noun} has the scheme {parsed.scheme[:20]!r}: only https is fetched.")
    if parsed.userinfo:
        raise AddressRefused(f"The URL of the {noun} holds a name or password: send one without.")
    return parsed


def _port(url: httpx.URL) -> int:
    return 443 if url.port is None else url.port


async def _read(response: httpx.Response, max_bytes: int, noun: str) -> Fetched | str:
    """Return the body of an answer, as much as may be, or where it sends on to."""
    if response.has_redirect_location:
        return str(response.headers["location"])
    if response.status_code != 200:
        raise FetchFailed(f"The server of the {noun} answered {response.status_code}: check the URL.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchFailed(
            f"The server of the {noun} compresses what was asked for uncompressed: send it as a data URL."
        )
    too_large = RequestTooLarge(f"The {noun} has more than {max_bytes:,} bytes: send a smaller one.", param="messages")
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > max_bytes:
            raise too_large
    return Fetched(bytes(data), response.headers.get("content-type", "").partition(";")[0].strip().lower())
