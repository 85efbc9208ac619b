"""Which addresses are anybody's: every spelling of one that is not comes to the same refusal."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from jc1.fetch.addresses import is_public, may_be_reached, networks

PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255",
          "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")  # fmt: skip
OWN = (
    # loopback, this network, private, carrier-grade NAT, link-local, metadata
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    # documentation, benchmarks, multicast, reserved, broadcast
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    # the same in IPv6
    "::1", "::", "fe80::1", "fe80::1%2", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "3fff::1", "fec0::1",
    "100::1",
    # IPv4 in IPv6: mapped, compatible, translated, NAT64, NAT64 of a network's own, 6to4, Teredo
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
)  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_may_be_reached(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OWN)
def test_an_address_of_this_machine_its_network_or_its_cloud_may_not(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "017700000001"])
def test_the_systems_own_reading_of_a_number_comes_to_a_refused_address(host: str) -> None:
    (entry,) = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    assert str(entry[4][0]) == "127.0.0.1"
    assert not is_public(ipaddress.ip_address(entry[4][0]))


def test_nothing_is_public_that_python_calls_private() -> None:
    """Python's own table is shorter than ours, and must never be longer."""
    for number in range(0, 2**32, 2**32 // 20_011):
        address = ipaddress.IPv4Address(number)
        assert address.is_global or not is_public(address), address


def test_an_operators_networks_are_reached_too_and_no_others() -> None:
    allowed = networks("10.1.0.0/16, 127.0.0.1,fd00::/8")
    assert may_be_reached(ipaddress.ip_address("10.1.2.3"), allowed)
    assert may_be_reached(ipaddress.ip_address("fd00::1"), allowed)
    assert not may_be_reached(ipaddress.ip_address("10.2.0.1"), allowed)
    assert not may_be_reached(ipaddress.ip_address("127.0.0.2"), allowed)
    assert not may_be_reached(ipaddress.ip_address("::ffff:10.2.0.1"), allowed)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' is no address or network"):
        networks("127.0.0.1, 10.0.0.1/8")
