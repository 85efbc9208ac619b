"""Where a request says it comes from: what passes without keys, and for which pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.access.browser import Caller, check_listen, check_local, is_loopback
from jc1.errors import HostRefused, InvalidSettings, OriginRefused, Refused

HERE = "127.0.0.1"


def pass_local(**said: str | None) -> None:
    given: dict[str, str | None] = {"peer": HERE, "host": "localhost:8000", **said}
    check_local(Caller(given.pop("method", None) or "POST", **given))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LocalHost:1", "127.0.0.1", "127.0.0.1:80", "127.8.9.1:1", "[::1]:8000"]
)
def test_a_loopback_name_on_any_port_is_answered(host: str) -> None:
    pass_local(host=host)


@pytest.mark.parametrize(
    "host",
    [
        None, "", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
        "localhost:port", "localhost:8000:9000", "user@localhost", "localhost/", " localhost", "::1", "2130706433",
        "0.0.0.0", "[::]", "localhost\n", "[::1", "ⓛocalhost",
    ],
)  # fmt: skip
def test_any_other_host_is_refused(host: str | None) -> None:
    with pytest.raises(HostRefused):
        pass_local(host=host)


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.1.2", "2001:db8::1", "::ffff:10.0.0.7", "testclient"])
def test_a_caller_on_another_machine_is_refused_whatever_it_says(peer: str) -> None:
    with pytest.raises(Refused):
        pass_local(peer=peer)


@pytest.mark.parametrize("peer", [None, "127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_caller_on_this_machine_is_let_in(peer: str | None) -> None:
    pass_local(peer=peer)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "https://localhost:443"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
    ],
)
def test_its_own_pages_may_ask(host: str, origin: str) -> None:
    pass_local(host=host, origin=origin, fetch_site="same-origin", fetch_mode="cors")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "http://localhost:3000", "http://localhost", "http://127.0.0.1:8000", "null", "",
        "file://", "http://localhost:8000@evil.example", "chrome-extension://localhost:8000", "localhost:8000",
    ],
)  # fmt: skip
def test_a_page_of_another_origin_may_not_even_read(origin: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(OriginRefused):
            pass_local(method=method, origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_from_another_site_only_following_a_link_is_allowed(site: str) -> None:
    for method in ("GET", "HEAD"):
        pass_local(method=method, fetch_site=site, fetch_mode="navigate")
    for method, mode in [("POST", "navigate"), ("GET", "no-cors"), ("GET", "cors"), ("DELETE", "cors"), ("GET", None)]:
        with pytest.raises(OriginRefused):
            pass_local(method=method, fetch_site=site, fetch_mode=mode)


@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_its_own_pages_the_address_bar_and_programs_are_let_in(site: str | None) -> None:
    pass_local(fetch_site=site)


@given(st.text(), st.text())
def test_no_header_breaks_the_gate(host: str, origin: str) -> None:
    with pytest.raises(Refused):
        pass_local(host=host, origin=origin)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "::1", "127.0.0.2"])
def test_listening_on_loopback_needs_no_keys(host: str) -> None:
    check_listen(host, any_keys=False)
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4", "box.example"])
def test_listening_for_other_machines_takes_a_key(host: str) -> None:
    with pytest.raises(InvalidSettings, match=r"jc1 keys create.*--host 127\.0\.0\.1"):
        check_listen(host, any_keys=False)
    check_listen(host, any_keys=True)
