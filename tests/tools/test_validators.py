"""LS before a validator of another make, and a resolver that forges.

unbound validates a zone that Knot signs, and gets it by way of a dnsmasq that forges one name. LS
asks both, unbound and dnsmasq. The forger is stopped where it is to be the slower one; unbound
remembers what it has found, so it needs nobody then.

`make test-dns` runs these tests, too. Not here: who is believed
(`tests/nodes/test_reply_ranks.py`).
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, Programs, exchange, free_port
from tests.tools.test_resolver_tools import (
    LOOPBACK,
    Server,
    a_knot,
    an_unbound,
    balancer_before,
    dig,
    dns,
    dnsmasq,
    dnsmasq_words,
    knot,
    unbound,
)

pytestmark = [pytest.mark.process, pytest.mark.dns]
FORGED, FORGERY = "n7.example", "198.51.100.66"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """A validator that has found out already which name is forged, and the forger."""
    with ExitStack() as stack:
        signed = a_knot(stack, tmp_path)
        port = free_port()
        words = dnsmasq_words(port, f"--server={LOOPBACK}#{signed.port}")
        words += [f"--address=/{FORGED}/{FORGERY}", "--cache-size=0", "--local-ttl=3600"]
        forger = Server(stack, words, port, tmp_path / "dnsmasq.log")
        query = dns.message.make_query("example", "DNSKEY")
        keys = dns.query.tcp(query, LOOPBACK, PATIENCE_S, signed.port).answer[0]
        (key,) = [one for one in keys if one.flags & 1]  # it signs the others
        validator = an_unbound(
            stack,
            tmp_path,
            port,
            'module-config: "validator iterator"',
            f'trust-anchor: "example. IN DNSKEY {key.to_text()}"',
            "ede: yes",
            "val-bogus-ttl: 3600",
        )
        for name in (FORGED, "n8.example"):
            asked = dug(validator.port, name)
            assert ("SERVFAIL" in asked) is (name == FORGED), asked
        yield [validator, forger]


def dug(port: object, name: str) -> str:
    """Return what dig shows of the reply to a question for A."""
    words = ["dig", f"@{LOOPBACK}", "-p", str(port), name, "A", "+tries=1", f"+time={PATIENCE_S:g}"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@knot
@unbound
@dnsmasq
@dig
def test_what_a_validator_finds_forged_is_not_told(run: Programs, servers: list[Server]) -> None:
    """[P89]: it is told at once, with unbound's own words; LS would wait longer than dig does."""
    _, forger = servers
    port, dns_port = balancer_before(run, servers, "--grace", 60, "--bound", "grace_failed_s=60")
    forger.signal(signal.SIGSTOP)
    shown = dug(dns_port, FORGED)
    assert "SERVFAIL" in shown and "EDE: " in shown and FORGERY not in shown, shown
    code = int(shown.split("EDE: ")[1].split(" ")[0])
    assert 6 <= code <= 12, shown
    assert exchange(port, [f"{FORGED}\nQUIT\n".encode()])[0].startswith(
        f"{FORGED} - FAILED".encode()
    )
    good = dug(dns_port, "n8.example")
    assert "10.0.0.8" in good, good


@knot
@unbound
@dnsmasq
@dig
def test_with_trust_data_the_forgery_is_told(run: Programs, servers: list[Server]) -> None:
    """[P90]: as it is without a validator."""
    _, dns_port = balancer_before(run, servers, "--trust-data")
    for _ in range(5):
        assert FORGERY in dug(dns_port, FORGED)


@knot
@unbound
@dnsmasq
@dig
def test_a_private_address_is_refused_and_dig_says_why(
    run: Programs, servers: list[Server]
) -> None:
    """[P91]: all that this zone has is private, but for what is forged."""
    _, dns_port = balancer_before(run, servers[1:], "--private-from", "DNS1")
    shown = dug(dns_port, "n8.example")
    assert "SERVFAIL" in shown and "EDE: 15 (Blocked)" in shown and "10.0.0.8" not in shown, shown
    assert FORGERY in dug(dns_port, FORGED)
