"""Addresses: which of them count as one asker, and which are this machine's own.

Not here: whom LS must not ask (`tests/nodes/test_server_addresses.py`).
"""

import pytest

from core.addresses import THIS_MACHINE, network, network_of_peer


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("asker7", "asker7", True),  # a simulated network's addresses
        ("asker7", "asker8", False),
    ],
)
def test_ipv4_counts_by_address_and_ipv6_by_its_64(one: str, other: str, alike: bool) -> None:
    assert (network(one) == network(other)) is alike


@pytest.mark.parametrize(
    ("peer", "own", "here"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.8.8.8", "127.0.0.1", True),
        ("::1", "::1", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("2001:db8::7", "2001:db8::7", True),
        ("192.0.2.8", "192.0.2.7", False),
        ("2001:db8::8", "2001:db8::7", False),
        ("asker7", "LS", False),
    ],
)
def test_a_peer_on_this_machine_is_known_by_its_address(peer: str, own: str, here: bool) -> None:
    assert (network_of_peer(peer, own) == THIS_MACHINE) is here
