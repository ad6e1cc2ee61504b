"""Ports: which of ours a socket of datagrams may have."""

import pytest

from core.io import ports


def test_a_port_that_is_filtered_or_reserved_is_not_used() -> None:
    """[P52]"""
    left = ports.usable(ports.reserved_in("8080,9148-9150,123\n"))
    assert not {1_900, 5_353, 11_211, 8_080, 9_148, 9_149, 9_150} & set(left)
    assert {1_024, 65_535, 8_081, 9_147, 9_151} <= set(left) and len(left) == 64_512 - 13 - 4
    assert len(ports.usable(set())) == 64_499


def test_a_list_of_reserved_ports_may_be_anything() -> None:
    assert (
        ports.reserved_in("") == ports.reserved_in("\n") == ports.reserved_in("-,a-b,-7") == set()
    )
    assert ports.reserved_in("70000,65535-99999") == {65_535}
    assert ports.usable(set(range(1_024, 65_000))) == ports.usable(set())  # too few would be left


def test_a_machine_without_a_list_has_reserved_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RESERVED", "/nowhere")
    ports.ours.cache_clear()
    assert len(ports.ours()) == 64_499
    ports.ours.cache_clear()
