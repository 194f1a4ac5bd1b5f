"""Addresses of closed networks are told from all others, however they are written."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.runtime.address import addresses_of, is_closed, public_addresses

CLOSED_4 = [
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12"),
    *("192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
]
CLOSED_6 = ["::1/128", "fe80::/10", "fc00::/7"]


def members(network: IPv4Network | IPv6Network) -> st.SearchStrategy[Any]:
    return st.ip_addresses(network=network)


@given(st.sampled_from([*CLOSED_4, *CLOSED_6]).flatmap(lambda text: members(ip_network(text))))
@settings(deadline=None)
def test_every_address_of_a_closed_network_is_one(address: IPv4Address | IPv6Address) -> None:
    assert is_closed(str(address))
    if isinstance(address, IPv6Address):
        assert is_closed(address.exploded)
    else:
        assert is_closed(f"::ffff:{address}")


@given(st.ip_addresses())
@settings(deadline=None)
def test_any_other_address_is_none(address: IPv4Address | IPv6Address) -> None:
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if inner is not None:
        address = inner
    texts = CLOSED_4 if isinstance(address, IPv4Address) else CLOSED_6
    assert is_closed(str(address)) == any(address in ip_network(text) for text in texts)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"),
        *("11.0.0.0", "192.167.255.255", "192.169.0.0", "169.253.0.1", "128.0.0.0"),
        *("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("2001:db8::1", "2606:4700::1", "::2", "fec0::1", "ff02::1", "::ffff:8.8.8.8"),
        *("64:ff9b::a00:1", "2002:a00:1::", "fe00::1"),
    ],
)
def test_the_neighbours_of_closed_networks_and_every_address_at_once_are_none(
    address: str,
) -> None:
    assert not is_closed(address)
    assert public_addresses(address) == [str(address)] or ":" in address


def test_the_scope_of_an_address_changes_nothing() -> None:
    assert is_closed("fe80::1%eth0")
    assert not is_closed("2606:4700::1%eth0")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x8.8.8.8", "8.8.8.8"),
        ("0", "0.0.0.0"),
    ],
)
def test_an_address_is_looked_up_however_it_is_written(written: str, meant: str) -> None:
    assert addresses_of(written) == (meant,)
    assert public_addresses(written) == ([] if meant.startswith("127.") else [meant])


def test_a_name_is_public_where_any_of_its_addresses_is(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["10.0.0.7", "8.8.8.8", "10.0.0.7", "fd00::7"]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (each, 0)) for each in found]
    )
    assert is_closed("node3")
    assert addresses_of("node3") == ("10.0.0.7", "8.8.8.8", "fd00::7")
    assert public_addresses("node3") == ["8.8.8.8"]


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "no-such-host.invalid"])
def test_nobody_has_the_address_of_a_name_that_is_not_known(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith(".invalid"):

        def nobody(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "not known")

        monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert addresses_of(name) == ()
    assert public_addresses(name) == []
