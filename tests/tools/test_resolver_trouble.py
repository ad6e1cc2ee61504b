"""LS before real resolvers in trouble: refusing, restarted, stopped, cut off.

Questions go out at their times, whatever became of those before. Beside a good resolver nobody may
notice; alone, each question has one reply, a failure which can be known at once is told at once,
and LS serves again as soon as there is somebody to ask.

"At once" is a matter of what LS waits for and not of clocks: it is told to wait longer for
a resolver than the test does for a reply. To be used again takes two seconds at most, which is
twenty times what it should, since all of this runs at once.

`make test-dns` runs these tests, too; without a program, or namespaces, or nftables, those that
need it are skipped, and say so. Not here: odd resolvers (`bench/oddities.py`).
"""

import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.dns_messages import CODES, RD, name
from tests.support.processes import PATIENCE_S, ROOT, Programs, free_port, stats
from tests.tools.test_resolver_tools import (
    LOOPBACK,
    Server,
    a_knot,
    an_unbound,
    dig,
    dnsmasq,
    dnsmasq_words,
    knot,
    unbound,
)  # fmt: skip

pytestmark = [pytest.mark.process, pytest.mark.dns]
_RATE = 100.0  # questions a second
_BACK_S = 2.0  # after which one that is there again has to be used again
_CODE_OF = {number: code for code, number in CODES.items()}


def a_table(stack: ExitStack, folder: Path) -> Server:
    """dnsmasq that has the names itself."""
    hosts = folder / "hosts"
    hosts.write_text("".join(f"10.0.0.{n} n{n}.example\n" for n in range(100)))
    port = free_port()
    words = dnsmasq_words(port, f"--addn-hosts={hosts}")
    return Server(stack, words, port, folder / f"dnsmasq-{port}.log")


def a_site(run: Programs, ports: list[int], timeout_s: float = 2 * PATIENCE_S) -> tuple[int, int]:
    """Start LS that waits longer for a reply than the test does, unless told otherwise; return its
    ports for lines and for DNS."""
    upstreams = [word for port in ports for word in ("--dns-upstream", f"{LOOPBACK}:{port}")]
    words = ("--dns", 0, "--dns-timeout", timeout_s, "--timeout", timeout_s)
    ls, port = run.ls([], *words, *upstreams, linked=False)
    return port, ls.listener("DNS")


class Steady:
    """A client whose questions go out at a rate; each has to have exactly one reply."""

    def __init__(self, port: int, rate: float = _RATE) -> None:
        self.rate = rate
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect((LOOPBACK, port))
        self.asked: list[float] = []  # when, by number
        self.said: dict[int, str] = {}  # `data` for the right address; or a code

    def __enter__(self) -> "Steady":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, count: int) -> None:
        """Ask so many more, at their times, and read replies meanwhile."""
        began = time.monotonic()
        for number in range(count):
            self.read_until(began + number / self.rate)
            self.asked.append(time.monotonic())
            head = len(self.asked).to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
            self.client.send(head + name(f"n{len(self.asked) % 100}.example") + b"\0\1\0\1")

    def read_until(self, when: float, count: int | None = None) -> None:
        """Read for so long, or until so many have a reply."""
        while (wait_s := when - time.monotonic()) > 0 and len(self.said) != count:
            if select.select([self.client], [], [], wait_s)[0]:
                message = self.client.recv(4096)
                number = int.from_bytes(message[:2])
                assert number not in self.said, f"a second reply to {number}"
                is_right = message.endswith(bytes([10, 0, 0, number % 100]))
                code = _CODE_OF[message[3] & 15]
                self.said[number] = "data" if code == "NOERROR" and is_right else code

    def finish(self) -> Counter[str]:
        """Wait for the replies to all; how many said what."""
        self.read_until(time.monotonic() + PATIENCE_S, len(self.asked))
        missing = len(self.asked) - len(self.said)
        assert not missing, f"{missing} of {len(self.asked)} have no reply: {self.heard()}"
        return self.heard()

    def heard(self) -> Counter[str]:
        return Counter(self.said.values())

    def after(self, when: float) -> Counter[str]:
        """Return what was said to those that were asked later than that."""
        return Counter(said for number, said in self.said.items() if self.asked[number - 1] > when)


# -- refusing --------------------------------------------------------------------------------------


@knot
@unbound
@pytest.mark.parametrize("is_alone", [False, True], ids=["beside", "alone"])
@at_once
def test_an_access_list_that_refuses(run: Programs, tmp_path: Path, is_alone: bool) -> None:
    """unbound refuses with a header only, without the question."""
    with ExitStack() as stack:
        good = a_knot(stack, tmp_path)
        refusing = "access-control: 127.0.0.0/8 refuse"
        bad = an_unbound(stack, tmp_path, good.port, refusing)
        _, dns = a_site(run, [bad.port] if is_alone else [bad.port, good.port])
        steady = stack.enter_context(Steady(dns))
        steady.ask(40)
        seen = steady.finish()
        assert seen.keys() <= ({"REFUSED", "SERVFAIL"} if is_alone else {"data"}), seen


# -- restarted and stopped -------------------------------------------------------------------------

Maker = Callable[[ExitStack, Path], Server]
MAKERS = [
    pytest.param(a_knot, marks=knot, id="knot"),
    pytest.param(a_table, marks=dnsmasq, id="dnsmasq"),
]


@knot
@dnsmasq
@pytest.mark.parametrize("maker", MAKERS)
@at_once
def test_one_in_trouble_beside_a_good_one_is_not_noticed(
    run: Programs, tmp_path: Path, maker: Maker
) -> None:
    with ExitStack() as stack:
        folder = tmp_path / "good"
        folder.mkdir()
        other = a_table if maker is a_knot else a_knot
        victim, good = maker(stack, tmp_path), other(stack, folder)
        _, dns = a_site(run, [victim.port, good.port])
        steady = stack.enter_context(Steady(dns))
        steady.ask(20)
        victim.signal(signal.SIGSTOP)
        steady.ask(80)
        victim.signal(signal.SIGCONT)
        steady.ask(30)
        victim.end()
        steady.ask(30)
        victim.start()
        steady.ask(30)
        assert steady.finish().keys() == {"data"}


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "restarted"])
@pytest.mark.parametrize("maker", MAKERS)
@at_once
def test_one_alone_that_is_back_is_used_again_at_once(
    run: Programs, tmp_path: Path, maker: Maker, is_stopped: bool
) -> None:
    """LS tells what is lost while a resolver stands still for longer than LS waits; of a port that
    is closed LS knows at once, and waits for no timeout."""
    with ExitStack() as stack:
        victim = maker(stack, tmp_path)
        port, dns = a_site(run, [victim.port], 0.6 if is_stopped else 2 * PATIENCE_S)
        steady = stack.enter_context(Steady(dns))
        steady.ask(20)
        if is_stopped:
            victim.signal(signal.SIGSTOP)
            steady.ask(100)
            victim.signal(signal.SIGCONT)
        else:
            victim.end()
            steady.ask(40)
            victim.start()
        back = time.monotonic()
        steady.ask(230)
        assert steady.finish().keys() == {"data", "SERVFAIL"}
        assert steady.after(back + _BACK_S).keys() == {"data"}
        assert stats(port)["DNS1.state"] == "UP"


# -- on another host -------------------------------------------------------------------------------

# A host with a resolver, DNS1, beside ours with another one, which may be DNS2. The way to DNS1 is
# closed, questions are asked, it is opened again. `far` runs something on the other host. The words
# of dig about each go to standard output. Everything ends with `unshare`, however that ends.
APART = ["unshare", "--mount", "--mount-proc", "--net", "--pid", "--fork", "--kill-child"]
INSIDE = """
set -e
unshare --net sleep 1000 &
host=$!
far() {{ nsenter --net --target $host "$@"; }}
until [ "$(readlink /proc/$host/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add near type veth peer name far netns $host
ip link set lo up
ip link set near up
ip addr add 10.9.0.1/24 dev near
far ip addr add 10.9.0.2/24 dev far
far ip link set far up
rules='table ip t {{ chain inward {{ type filter hook input priority 0; }};
    chain outward {{ type filter hook output priority 0; }}; }}'
nft "$rules"
far nft "$rules"
{good} 2> {folder}/good.log &
bad() {{
    nsenter --net --target $host {bad} 2>> {folder}/bad.log &
    bad=$!
    until dig @10.9.0.2 -p 53 +tries=1 +time=1 n1.example > /dev/null; do sleep 0.02; done
}}
bad
until dig @127.0.0.1 -p 53 +tries=1 +time=1 n1.example > /dev/null; do sleep 0.02; done
{python} -m nodes ls 5301 --dns 5300 {upstreams} --dns-timeout {timeout} --timeout {timeout} \\
    > {folder}/ls.out 2> {folder}/ls.err &
until grep -q 'ready on' {folder}/ls.out; do kill -0 $!; sleep 0.02; done
ask() {{
    dig @127.0.0.1 -p 5300 +tries=1 +time=20 +noall +comments +answer n$1.example > {folder}/said
    sed -n 's/.*status: \\([A-Z]*\\).*/\\1/p; s/.*\\tIN\\tA\\t//p' {folder}/said | tail -n 1
}}
ask 0
{close}
for n in $(seq {count}); do ask $n; done
{open}
until [ "$(ask 0)" != SERVFAIL ]; do sleep 0.05; done
ask 0
"""


@dataclass(frozen=True)
class Closed:
    """How the way to a resolver is closed and opened again, and what is heard of it alone."""

    close: str
    open: str
    alone: str = "SERVFAIL"
    timeout_s: float = 2 * PATIENCE_S  # more than dig waits: what is told then is told before that
    count: int = 15  # questions; of ICMP errors there are six at once, and then one a second


_RULE = "nft add rule ip t {} ip daddr 10.9.0.2 udp dport 53 {}"
_FLUSH = "nft flush table ip t"
CLOSED = {
    "ended": Closed("kill $bad; wait $bad || true", "bad"),
    "rejected": Closed(f"far {_RULE.format('inward', 'reject')}", f"far {_FLUSH}"),
    "prohibited": Closed(
        f"far {_RULE.format('inward', 'reject with icmp type admin-prohibited')}", f"far {_FLUSH}"
    ),
    "dropped by us": Closed(_RULE.format("outward", "drop"), _FLUSH),  # EPERM
    "without a route": Closed(
        "ip route add unreachable 10.9.0.2", "ip route del unreachable 10.9.0.2"
    ),
    "gone": Closed(  # Linux tells sockets of a closed port, but not of a host that nobody finds
        "far ip addr flush dev far; ip neigh flush dev near",
        "far ip addr add 10.9.0.2/24 dev far",
        timeout_s=0.5,
        count=3,
    ),
    "dropped": Closed(
        f"far {_RULE.format('inward', 'drop')}", f"far {_FLUSH}", timeout_s=0.5, count=3
    ),
    "there, but our address changes": Closed(
        "ip addr del 10.9.0.1/24 dev near; ip addr add 10.9.0.3/24 dev near", "", "data"
    ),
}


def can_be_two_hosts() -> bool:
    """Return whether there are namespaces, wires between them, and a firewall in them."""
    if any(shutil.which(program) is None for program in ("unshare", "nsenter", "ip", "nft")):
        return False
    tries = "ip link add near type veth peer name far && nft add table ip t"
    return subprocess.run([*APART, "sh", "-c", tries], capture_output=True).returncode == 0


two_hosts = pytest.mark.skipif(
    not can_be_two_hosts(),
    reason="no namespaces with nftables (Debian, as root: apt-get install nftables iproute2)",
)


@two_hosts
@dig
@dnsmasq
@pytest.mark.parametrize("is_alone", [False, True], ids=["beside", "alone"])
@pytest.mark.parametrize("how", CLOSED)
@at_once
def test_a_host_out_of_reach_costs_no_wait(tmp_path: Path, how: str, is_alone: bool) -> None:
    """Errors of the network are told at once; silence, after the timeout."""
    closed = CLOSED[how]
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"10.0.0.{n} n{n}.example\n" for n in range(100)))
    places = ["10.9.0.2"] if is_alone else ["10.9.0.2", "127.0.0.1"]
    script = INSIDE.format(
        folder=tmp_path, python=sys.executable, close=closed.close, open=closed.open,
        count=closed.count,
        bad=" ".join(dnsmasq_words(53, f"--addn-hosts={hosts}", "10.9.0.2")),
        good=" ".join(dnsmasq_words(53, f"--addn-hosts={hosts}")),
        upstreams=" ".join(f"--dns-upstream {place}" for place in places),
        timeout=closed.timeout_s if is_alone else 2 * PATIENCE_S,
    )  # fmt: skip
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True,
        timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = [f"10.0.0.{n}" for n in range(1, closed.count + 1)]
    if is_alone and closed.alone == "SERVFAIL":
        said = ["SERVFAIL"] * closed.count
    log = (tmp_path / "ls.err").read_text()
    assert done.stdout.split() == ["10.0.0.0", *said, "10.0.0.0"], log
