"""What must be true of LS at every step, whatever happens: I1 to I14 of the fault matrix.

`LoadBalancerWatch` is LS's wire log, so it sees each line that LS read and each that it sent, at
the moment of the step, and each move of a machine. From the lines alone it keeps its own account
of who is owed what, and raises `Violated` when LS's doings differ:

    I1  one reply per question, no more         I2  every reply was owed to that client
    I3  an answer is a row of some table        I4  timeouts at their time, answers not after it
    I5  no timeout while a TS that holds the name was linked and nothing was wrong
    I6  QUIT or the end: all replies, BYE after QUIT, and nothing after
    I7  bounds                                  I8  nothing is left when everybody has gone
    I9  what can be read is read                I10 no turn without effect, again and again
    I11 the conservation law                    I12 no exception (it would leave the world)
    I13 the same seed, the same trace (tests/test_sim.py)   I14 a drain ends in its time
"""

from collections import defaultdict, deque
from enum import Enum

from core.bounds import Bounds
from core.conn import Stream
from core.session import Talk
from core.wire import (
    LINE_BYTES_MAX,
    Command,
    ProtocolError,
    Question,
    fold,
    parse_request,
    split_lines,
)
from nodes.balancer.link import Tie
from nodes.ls import LoadBalancer
from tests.sim import Host, Observer, World

_LIMITS = {"mid_line_s", "write_stall_s", "linger_s", "idle_s"}  # whoever passes one is cut
_SLACK_S = 0.25  # turns, in virtual time, between what is due and its being done


_REPORTED = {  # probes by what LS reports
    "second signal": "a second signal",
    "it answers what nobody asked": "a TS answers what nobody asked",
    "it does not speak this protocol": "a TS does not speak the protocol",
    "it sent a line that is too long": "a TS sends a line that is too long",
}


class Violated(AssertionError):
    """An invariant does not hold."""


def hold(condition: object, invariant: str, text: str) -> None:
    if not condition:
        raise Violated(f"{invariant}: {text}")


class LoadBalancerWatch(Observer):
    """Sees all that one LS does. `rows`: what any TS may answer, by folded name."""

    def __init__(self, world: World, bounds: Bounds, rows: dict[bytes, set[bytes]]) -> None:
        super().__init__(world, "LS")
        self.bounds = bounds
        self.rows = rows
        self.anything: set[bytes] = set()  # addresses that a rogue TS may give for any name
        self.brain: LoadBalancer
        self.holders: dict[str, set[bytes]] = {}  # link: names that its honest TS holds
        self.owed: dict[str, dict[bytes, deque[tuple[bytes, float]]]] = {}
        self.errors: defaultdict[str, int] = defaultdict(int)  # refusals that are owed
        self.in_a_row: defaultdict[str, int] = defaultdict(int)
        self.sent_to: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.host_of: dict[str, str] = {}  # a client's host, by what LS calls it
        self.clean: set[str] = set()  # clients that got all they were owed and their end
        self.talking: set[str] = set()  # sessions that may ask
        self.up_since: dict[str, float] = {}
        self.counts = {"asked": 0, "answered": 0, "timed_out": 0, "dropped": 0}
        self.drain_since: float | None = None
        self.is_cutting = False  # its drain took too long, and it ended all the same
        self.undisturbed_since = 0.0  # nothing has been done to LS or the network since
        self.asked_of: dict[str, set[bytes]] = {}  # link: names, since it came up
        self.slices: defaultdict[str, int] = defaultdict(int)  # link: while it catches up

    # -- what LS reads -----------------------------------------------------------------------------

    def received(self, conn: str, data: bytes) -> None:
        super().received(conn, data)
        if not conn.startswith("client-") or conn not in self.talking:
            return
        now = self.host.clock()
        for line in split_lines(data):
            if not line:
                continue
            try:
                request = parse_request(line)
            except ProtocolError:
                request = None
            if isinstance(request, Question):
                spelling = request.spelling
                self.owed[conn].setdefault(fold(spelling), deque()).append((spelling, now))
                self.counts["asked"] += 1
                self.in_a_row[conn] = 0
            elif request is Command.QUIT:
                return
            else:
                self.errors[conn] += 1
                self.in_a_row[conn] += 1
                if self.in_a_row[conn] == self.bounds.errors_in_a_row_max:
                    self.world.saw("errors end a session")
                    return

    # -- what LS says ------------------------------------------------------------------------------

    def sent(self, conn: str, data: bytes) -> None:
        super().sent(conn, data)
        if not conn.startswith("client-"):
            self._asked(conn, data)
            return
        self.sent_to[conn] += data
        now = self.host.clock()
        hold(conn in self.owed, "I6", f"{conn} is sent to after its end")
        for line in split_lines(data):
            if line == b"BYE":
                hold(not self.owed_to(conn), "I6", f"BYE to {conn}, which is owed something")
                hold(conn not in self.talking, "I6", f"BYE to {conn} before it has ended")
            elif line.startswith(b"- ERROR "):
                if line == b"- ERROR UNFINISHED":
                    self.world.saw("unfinished line")
                    continue
                self.errors[conn] -= 1
                hold(self.errors[conn] >= 0, "I1", f"a refusal for nothing to {conn}")
            elif line.endswith(b" - TIMED OUT"):
                self._timed_out(conn, line.removesuffix(b" - TIMED OUT"), now)
            else:
                self._answered(conn, line, now)

    def _asked(self, link: str, data: bytes) -> None:
        """LS asks a TS. Only probes look at it: what must be true shows in the replies."""
        asked = self.asked_of.setdefault(link, set())
        names = split_lines(data)
        if not asked.isdisjoint(names):
            self.world.saw("a name is asked anew")
        asked.update(names)
        self.slices[link] += 1
        if self.slices[link] == 2:
            self.world.saw("catching up takes slices")

    def owed_to(self, conn: str) -> int:
        return sum(map(len, self.owed[conn].values()))

    def _pop(self, conn: str, name: bytes, spelling: bytes | None) -> float:
        """One question of this client is replied to; return when it was asked."""
        waiting = self.owed[conn].get(name)
        hold(waiting, "I2", f"{conn} is not owed a reply for {name!r}")
        assert waiting is not None
        for at, (asked, when) in enumerate(waiting):
            if spelling is None or asked == spelling:
                del waiting[at]
                if not waiting:
                    del self.owed[conn][name]
                return when
        raise Violated(f"I2: {conn} did not spell it {spelling!r}")

    def _answered(self, conn: str, line: bytes, now: float) -> None:
        spelling, address, *rest = line.split(b" ")
        hold(rest == [b"A", b"IN"], "I3", f"no answer: {line!r}")
        known = self.rows.get(fold(spelling), set()) | self.anything
        hold(address in known, "I3", f"in no table: {line!r}")
        age = now - self._pop(conn, fold(spelling), None)
        if self.undisturbed_since <= now - age:
            hold(age <= self.bounds.timeout_s + _SLACK_S, "I4", f"answer after {age:.3f} s")
        if age > self.bounds.timeout_s - 0.1:
            self.world.saw("an answer just in time")
        self.counts["answered"] += 1

    def _timed_out(self, conn: str, spelling: bytes, now: float) -> None:
        asked_at = self._pop(conn, fold(spelling), spelling)
        age = now - asked_at
        hold(age >= self.bounds.timeout_s - 1e-9, "I4", f"timeout after {age:.3f} s")
        if self.undisturbed_since <= asked_at:
            hold(age <= self.bounds.timeout_s + _SLACK_S, "I4", f"timeout after {age:.3f} s")
            for link, names in self.holders.items():
                well = self.up_since.get(link, now) <= asked_at and self.is_roomy
                hold(
                    not (well and fold(spelling) in names),
                    "I5",
                    f"{spelling!r} timed out though {link} holds it",
                )
        self.counts["timed_out"] += 1
        self.world.saw("a question times out")

    @property
    def is_roomy(self) -> bool:
        """Whether the network carries enough for every answer to be in time."""
        network = self.world.network
        return network.room / network.latency_s > 100_000

    # -- how LS moves ------------------------------------------------------------------------------

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        super().changed(machine, old, new)
        kind, _, name = machine.rpartition(" ")
        if kind == "session":
            self.talking.discard(name)
            if new is Talk.DONE and name in self.owed:  # else its connection went first
                self.clean.add(name)
        elif kind == "link":
            if new is Tie.CATCHING_UP:
                self.asked_of[name] = set()
            self.slices[name] = 0 if new is Tie.CATCHING_UP else 3
            if new is Tie.UP:
                self.up_since[name] = self.host.clock()
            elif old is Tie.UP:
                self.up_since.pop(name, None)
        elif new is Stream.CLOSED and name in self.owed:
            self.counts["dropped"] += self.owed_to(name)
            if self.owed_to(name):
                self.world.saw("a client leaves with questions open")
            del self.owed[name]
        elif new is Stream.CLOSED and old in (Stream.FLUSHING, Stream.PARTING):
            self.clean.discard(name)  # cut before it had everything, perhaps

    def report(self, text: str) -> None:
        super().report(text)
        if "the drain took too long" in text:
            self.is_cutting = True
        for words, probe in _REPORTED.items():
            if words in text:
                self.world.saw(probe)
        conn, is_, host = text.partition(" is ")
        if is_ and conn.startswith("client-"):
            self.host_of[conn] = host
            self.owed[conn] = {}
            self.talking.add(conn)

    # -- after every step --------------------------------------------------------------------------

    def check(self) -> None:
        """All that can be said of LS as it stands."""
        host = self.host
        if host.reactor is None:
            return
        self._check_account()
        self._check_bounds()
        calm = not (self.world.network.refused or self.world.network.spurious)
        if calm:
            hold(host.idle_turns <= 3, "I10", f"{host.idle_turns} turns without effect")
        if self.drain_since is not None and self.undisturbed_since <= self.drain_since:
            longest = self.bounds.timeout_s + self.bounds.drain_grace_s + _SLACK_S
            hold(host.clock() - self.drain_since <= longest, "I14", "the drain does not end")
        self._probe()

    def _probe(self) -> None:
        """What LS does sometimes, and lines alone do not show."""
        reactor, brain = self.host.reactor, self.brain
        assert reactor is not None
        for happened, probe in (
            (brain._race.joined, "a question joins"),
            (brain._race.late, "an answer is late"),
            (brain.nothing_said, "a TS says what is no answer"),
            (brain._paused, "a client is paused"),
            (reactor._late_turns, "a due timeout waits"),
            (reactor.hits["clients_max"], "too many clients"),
            (reactor.hits.keys() & _LIMITS, "a limit ends a connection"),
        ):
            if happened:
                self.world.probes[probe] = 1

    def _check_account(self) -> None:
        race = self.brain._race
        hold(
            race.asked == race.answered + race.timed_out + race.dropped + race.pending,
            "I11",
            "the account does not add up",
        )
        pending = sum(map(self.owed_to, self.owed))
        seen = {**self.counts, "pending": pending}
        kept = {name: getattr(race, name) for name in seen}
        hold(seen == kept, "I11", f"seen {seen}, kept {kept}")

    def _check_bounds(self) -> None:
        bounds, reactor = self.bounds, self.host.reactor
        assert reactor is not None
        clients = len(reactor._accepted)
        hold(clients <= bounds.clients_max, "I7", f"{clients} clients")
        asked_over = bounds.pending_per_client_max + bounds.read_bytes
        for connection in (*reactor._accepted.values(), *reactor._dialled.values()):
            held = len(connection.lines._held)
            hold(held <= LINE_BYTES_MAX + 2, "I7", f"{held} bytes of a line")
            if connection.accepted:
                most = bounds.owed_bytes_high + asked_over * 50
            else:
                most = 2 * bounds.waiting_bytes_high + (clients + 1) * bounds.read_bytes + 600
            hold(connection.waiting <= most, "I7", f"{connection.waiting} bytes wait, over {most}")

    def check_end(self) -> None:
        """I8, when every client has gone."""
        reactor, race = self.host.reactor, self.brain._race
        assert reactor is not None
        hold(not reactor._accepted, "I8", f"still there: {list(reactor._accepted)}")
        hold(race.pending == 0 and not race._open, "I8", "questions are left")
        hold(not any(batch.names for batch in race._batches), "I8", "names are left")
        hold(not self.brain._paused, "I8", "somebody is paused")
        dialled = sum(1 for c in reactor._dialled.values() if not c.is_closed)
        own = 1 + (self.host.listener is not None and not self.host.listener.is_closed)
        hold(len(self.host.open) == dialled + own, "I8", f"descriptors: {self.host.open}")


def check_wire(watch: LoadBalancerWatch, host: Host, heard: bytes, was_reset: bool) -> None:
    """I6 on the wire: one who got its last words got all that LS said, and no reset."""
    for conn, name in watch.host_of.items():
        if name == host.name and conn in watch.clean:
            hold(not was_reset, "I6", f"{conn} was reset")
            said = bytes(watch.sent_to[conn])
            hold(heard == said, "I6", f"{conn} heard {len(heard)} of {len(said)} bytes")
