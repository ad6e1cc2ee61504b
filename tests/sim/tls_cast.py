"""The cast of the stories of TLS: resolvers that are asked by it alone, and clients that ask by it.

Both speak by hand, through a layer of security (`tests/sim/secure.py`), on sockets of hosts without
a program. They check what LS says on each stream as it comes: a handshake and nothing else until it
is done; then whole messages, padded, each with an ID of its own.

Not here: who is troubled by what, and when (`tests/sim/tls_story.py`).
"""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from core.io.frame_buffer import frame, split_frames
from core.io.secure_layer import SecureLayer, SecurityError
from tests.sim.invariants import hold
from tests.sim.resolver_shapes import truth
from tests.sim.scenes import Speaker
from tests.sim.secure import SimCertificate
from tests.sim.sockets import TLS_PORT, SimSocket
from tests.sim.world import Host
from tests.support.dns_clients import Reply
from tests.support.dns_messages import has_opt, opt, option, question_of, said

if TYPE_CHECKING:
    from tests.sim.tls_story import TlsStory

QUERY_BLOCK, REPLY_BLOCK = 128, 468  # RFC 8467
PADDING = 12  # RFC 7830
ENDS = ("both", "both", "end", "notify", "reset")  # ways to end a stream
# Reasons for which LS must not take a certificate.
ANOTHER = "another authority"  # vouches for it, which LS hears of by a reload
BAD_CERTIFICATES = ("wrong name", "expired", "untrusted", "early", ANOTHER)
NO_HANDSHAKES = ("hangs", "half", "garbage", "refuses", "hangs up", "closed")
TROUBLES = (*BAD_CERTIFICATES, *NO_HANDSHAKES, "ends", "silent", "breaks")
_HALF = 40  # bytes of a flight


class SecureSpeaker(Speaker):
    """An end of a stream that speaks through a layer. `plain` is what it was told."""

    def __init__(self, host: Host, layer: SecureLayer, chance: Random | None = None) -> None:
        super().__init__(host, chance)
        self.layer = layer
        self.plain = bytearray()
        self.failure: SecurityError | None = None
        self.has_finished = False  # it has said its end

    def poll(self) -> None:
        super().poll()
        raw = self.take()
        if raw and self.failure is None:
            try:
                self.plain += self.layer.receive(raw)
            except SecurityError as error:
                self.failure = error
            self.push()

    def push(self) -> None:
        """Send what the layer has to say."""
        if out := self.layer.seal(b""):
            self.say(out)

    def tell(self, data: bytes) -> None:
        """Send plain bytes, unless there is no way any more."""
        if self.can_tell:
            self.say(self.layer.seal(data))

    @property
    def can_tell(self) -> bool:
        stream = self.stream
        is_there = stream is not None and not (stream.is_closed or self.was_reset)
        is_open = self.failure is None and self.layer.is_secured
        return is_there and is_open and not (self._ends or self.has_finished)

    def messages(self) -> list[bytes]:
        """Take the whole messages that it was told."""
        whole = []
        while (size := 2 + int.from_bytes(self.plain[:2])) <= len(self.plain):
            whole += split_frames(bytes(self.plain[:size]))
            del self.plain[:size]
        return whole

    def finish(self, how: str) -> None:
        """End the stream: with a close_notify, with an end, with both, or with a reset."""
        if self.stream is None or self.has_left or self.was_reset:
            return
        self.has_finished = True
        if how == "reset":
            self.reset()
            return
        if how != "end" and self.failure is None:
            self.layer.end()
            self.push()
        if how != "notify":
            self.end()


# -- resolvers -------------------------------------------------------------------------------------


class Link(SecureSpeaker):
    """A stream of LS to a resolver."""

    def __init__(self, server: "TlsServer", stream: SimSocket) -> None:
        story = server.story
        chance = Random(f"{story.seed}:{server.host.name}:{server.accepted}")
        layer = story.world.security.accepted(server.certificate)
        super().__init__(server.host, layer, chance if story.shape.is_cut else None)
        self.server = server
        self.stream = stream
        self.leaves = True
        self.trouble = server.trouble
        self.open: dict[bytes, bytes] = {}  # questions without a reply, by ID
        self.heard_of: set[bytes] = set()  # all questions that it was asked
        self.replies = 0
        self.secured_at: float | None = None
        self.moved_at = story.world.t
        self.is_over = False  # it has been ended
        if self.trouble in NO_HANDSHAKES:
            story.world.at(story.world.t + story.handshake_s, self._is_given_up)

    def push(self) -> None:
        """Send what the layer has to say, if its server lets it."""
        out = self.layer.seal(b"")
        if self.trouble == "half":
            out, self.trouble = out[:_HALF], "hangs"
        elif self.trouble == "hangs":
            out = b""
        if out:
            self.say(out)

    def poll(self) -> None:
        world = self.server.story.world
        if self.trouble in ("garbage", "refuses", "hangs up"):
            Speaker.poll(self)
            if self.take():
                self._turn_away()
            return
        was_secured = self.layer.is_secured
        super().poll()
        if self.failure is not None:
            # A failure of ours is of LS's making: it says that it does not take our certificate.
            hold(self.failure.kind == "refused", "records", f"LS: {self.failure}")
            if not self.is_over:
                self.is_over = True
                if self.secured_at is None:
                    self.server.story.failed(self.server, self)
                self.end()
            return
        if self.layer.is_secured and not was_secured:
            self.secured_at = world.t
            self.server.secured(self)
        for message in self.messages():
            self.server.take(self, message)
        if self.layer.is_ended and not self.is_over:
            self.over("both")

    def _is_given_up(self) -> None:
        story = self.server.story
        if not story.was_disturbed and self.server.is_reached_since(self.moved_at):
            is_gone = self.is_over or self.has_left or self.has_ended or self.was_reset
            hold(is_gone, "dialled", f"LS waits for a handshake of {self.server.host.name}")

    def _turn_away(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self.trouble == "garbage":
            self.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.trouble == "refuses":
            self.say(b"\x15\x03\x03\0\2\2\x28")  # handshake_failure
        self.end()

    def over(self, how: str) -> None:
        """End it in this way."""
        if not self.is_over and not self.has_left:
            self.is_over = True
            self.server.story.world.saw(f"a TLS server ends: {how}")
            self.finish(how)


@dataclass(frozen=True)
class Habits:
    """How a resolver treats streams: it closes one that has been idle for so long, or has had so
    many replies, in this way."""

    takes_s: float = 0.001
    idle_s: float = 1e9
    replies_most: int = 1 << 30
    end: str = "both"
    knows_edns: bool = True


class TlsServer:
    """A resolver that is asked by TLS alone. `trouble` is what new streams of LS meet."""

    def __init__(self, story: "TlsStory", number: int, habits: Habits) -> None:
        self.story = story
        self.number = number
        self.habits = habits
        self.chance = Random(f"{story.seed}:tls{number}")
        self.host = story.world.host(f"DNS{number + 1}")
        self.host.is_secret = True
        self.host.on_touch = self.poll
        self.name = f"dns{number + 1}.test"
        self.links: list[Link] = []
        self.accepted = 0
        self.trouble = ""
        self.authority = "public"
        self.is_deaf_on: set[Link] = set()  # streams on which it says nothing any more
        self.troubled: list[tuple[float, float]] = [(-1.0, 0.0)]  # when it was not well
        self.cuts: list[tuple[float, float]] = []  # when it could not be reached
        self.served = 0
        self.unanswered: dict[bytes, float] = {}  # questions of streams that died, and when
        self.listens()

    def listens(self) -> None:
        listener = SimSocket(self.host, is_listening=True)
        listener.port = TLS_PORT
        self.host.tls_listener = listener

    @property
    def certificate(self) -> SimCertificate:
        """The certificate that it shows at present."""
        wall = self.story.wall()
        match self.trouble:
            case "wrong name":
                return SimCertificate(("elsewhere.test",))
            case "expired":
                return SimCertificate((self.name,), ends_at=wall - 86_400.0)
            case "untrusted":
                return SimCertificate((self.name,), authority="nobody")
            case "early":
                return SimCertificate((self.name,), begins_at=wall + 86_400.0)
        return SimCertificate((self.name, "10.9.9.9"), authority=self.authority)

    # -- trouble -----------------------------------------------------------------------------------

    def be_troubled(self, trouble: str, until: float) -> None:
        """Meet new streams with this until then; those that there are end, or are not heard."""
        world = self.story.world
        world.saw(f"a TLS server is troubled: {trouble}")
        self.trouble = trouble
        self.troubled.append((world.t, until))
        if trouble == ANOTHER:
            self.authority = "other"
        if trouble == "silent":
            self.is_deaf_on.update(self.links)
        elif trouble == "closed":
            self.kill()
            self.host.tls_listener = None
            self.cuts.append((world.t, until))
        elif trouble != "breaks":
            how = self.chance.choice(ENDS)
            for link in self.links:
                self.die(link, how)
        world.at(until, self.mend)

    def be_whole(self) -> None:
        """End all trouble."""
        now = self.story.world.t
        self.troubled = [(since, min(until, now)) for since, until in self.troubled]
        self.cuts = [(since, min(until, now)) for since, until in self.cuts]
        self.mend()

    def mend(self) -> None:
        if self.story.world.t < max(until for _, until in self.troubled):
            return
        self.trouble = ""
        if self.authority != "public":
            self.story.trust(self.authority)
        if self.host.tls_listener is None:
            self.listens()

    def kill(self) -> None:
        """Have its program die."""
        self.story.world.saw("a TLS server is killed")
        for link in self.links:
            self.die(link, "reset")

    def freeze_streams(self) -> None:
        """Forget all streams without a word, as a way that is long unused does."""
        self.story.world.saw("a TLS server forgets its streams")
        self.is_deaf_on.update(self.links)

    def die(self, link: Link, how: str) -> None:
        if not link.is_over:
            link.over(how)

    def is_reached_since(self, since: float) -> bool:
        """Return whether all that was sent to it, and by it, has come since then."""
        return all(until < since for _, until in self.cuts)

    def is_well_since(self, since: float) -> bool:
        """Return whether nothing has troubled it since then."""
        return all(until < since for _, until in self.troubled)

    # -- its streams -------------------------------------------------------------------------------

    def poll(self) -> None:
        for stream in self.host.take_waiting(self.host.tls_listener):
            self.accepted += 1
            self.links.append(Link(self, stream))
        for link in self.links:
            link.poll()
            if link.has_left or link.was_reset or link.has_ended:
                self._part(link)
        self.links = [link for link in self.links if not (link.has_left or link.was_reset)]

    def _part(self, link: Link) -> None:
        """Take note of what was asked on a stream that is gone."""
        for question in link.open.values():
            self.unanswered.setdefault(question, self.story.world.t)
        link.open.clear()
        self.is_deaf_on.discard(link)

    def secured(self, link: Link) -> None:
        """Take note that a handshake is done."""
        story = self.story
        is_good = link.trouble not in BAD_CERTIFICATES
        if link.trouble == ANOTHER:  # by which another resolver has come before
            is_good = self.authority in story.ls.trusted[""]
        hold(is_good, "strict", f"LS takes what is {link.trouble}")
        story.world.saw("a TLS stream is secured")
        if link.trouble == "ends":
            link.over(self.chance.choice(ENDS))
        elif link.trouble == "silent":
            self.is_deaf_on.add(link)
        self.watch_idle(link)
        story.secured(self, link)

    def watch_idle(self, link: Link) -> None:
        """End a stream on which nothing moves for long."""
        world = self.story.world
        link.moved_at = world.t

        def look() -> None:
            is_idle = link.moved_at + self.habits.idle_s <= world.t and not link.open
            if is_idle and not link.is_over and link not in self.is_deaf_on:
                world.saw("a TLS server idles out")
                link.over(self.habits.end)
                if link.replies:
                    self.story.ended(self, link)

        if self.habits.idle_s < 1e6:
            world.at(world.t + self.habits.idle_s, look)

    def take(self, link: Link, message: bytes) -> None:
        """Take a query."""
        world, chance = self.story.world, self.chance
        link.moved_at = world.t
        if has_opt(message):
            hold(len(message) % QUERY_BLOCK == 0, "padding", f"a query of {len(message)} bytes")
        hold(message[:2] not in link.open, "IDs", f"{message[:2]!r} is open, and asked again")
        question = question_of(message)
        link.open[message[:2]] = question.encode()
        link.heard_of.add(question.encode())
        if link in self.is_deaf_on:
            world.saw("a TLS server is asked where it hears nothing")
        if link in self.is_deaf_on or link.is_over:
            return
        text = "FORMERR" if has_opt(message) and not self.habits.knows_edns else truth(question)
        data = frame(said(message, text))
        wait_s = self.habits.takes_s * chance.uniform(0.5, 1.5)
        if self.trouble == "breaks" and chance.random() < 0.5:
            world.at(world.t + wait_s, lambda: self._break(link, data))
        else:
            world.at(world.t + wait_s, lambda: self.reply(link, message[:2], data))

    def reply(self, link: Link, number: bytes, data: bytes) -> None:
        if self.host.paused_until > self.story.world.t:
            again_at = self.host.paused_until
            self.story.world.at(again_at, lambda: self.reply(link, number, data))
            return
        if link in self.is_deaf_on or not link.can_tell:
            return
        link.open.pop(number, None)
        link.tell(data)
        link.replies += 1
        self.served += 1
        self.watch_idle(link)
        if link.replies >= self.habits.replies_most:
            self.story.world.saw("a TLS server closes after its replies")
            link.over(self.habits.end)

    def _break(self, link: Link, data: bytes) -> None:
        """Break a stream within a record, or send one that is broken."""
        world = self.story.world
        if not link.can_tell or link.is_over:
            return
        sealed = link.layer.seal(data)
        if self.chance.random() < 0.5:
            world.saw("a record is broken")
            at = self.chance.randrange(5, len(sealed))
            link.say(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        else:
            world.saw("a stream ends within a record")
            link.say(sealed[: self.chance.randrange(1, len(sealed))])
            link.is_over = True
            how = self.chance.choice(["end", "reset"])
            world.at(world.t + 0.05, lambda: link.finish(how))

    @property
    def open_streams(self) -> int:
        """How many streams LS has to it, as LS sees it."""
        return sum(
            isinstance(one, SimSocket) and one.to is self.host
            for one in self.story.ls.open.values()
        )


# -- clients ---------------------------------------------------------------------------------------


class Visit(SecureSpeaker):
    """A stream of a client to LS. `asked`: when each query was sent that has no reply yet."""

    def __init__(self, client: "TlsClient", manner: str) -> None:
        story = client.story
        chance = client.chance if story.shape.is_cut else None
        super().__init__(client.host, story.layer_to_ls(), chance)
        self.client = client
        self.manner = manner
        self.began_at = self.moved_at = story.world.t
        self.leaves = True
        self.asked: dict[int, tuple[float, bytes]] = {}
        self.to_ask: list[tuple[int, bytes]] = []
        self.is_over = False
        self.is_broken = False  # it has sent a record that is, and is owed nothing
        self.stream = SimSocket(client.host)
        story.world.dial(self.stream, story.ls, TLS_PORT)
        self._begin()

    def _begin(self) -> None:
        if self.manner == "says nothing":
            return
        if self.manner == "speaks in the clear":
            self.say(frame(self.client.story.draw_query(self.client.chance, 1)))
            return
        if self.manner == "sends garbage":
            self.say(self.client.chance.randbytes(60))
            return
        self.layer.receive(b"")
        hello = self.layer.seal(b"")
        self.say(hello[: len(hello) // 2] if self.manner == "hangs" else hello)
        if self.manner == "vanishes":
            self.world.at(self.world.t + self.client.chance.uniform(0.0, 0.3), self.vanish)

    @property
    def is_good(self) -> bool:
        return self.manner in ("well", "breaks a record", "vanishes")

    @property
    def is_idle(self) -> bool:
        """Whether nothing has moved for so long that LS ends it; it says so once, and not again if
        the network does not take that."""
        story = self.client.story
        return not story.is_whole and self.world.t - self.moved_at >= story.bounds.dns_idle_s - 0.1

    def ends_within(self, seconds: float) -> None:
        """Check that LS ends this in time, since we have."""
        story = self.client.story
        seconds += 6 * story.world.network.latency_s

        def look() -> None:
            is_gone = self.has_ended or self.was_reset or story.was_disturbed
            hold(is_gone or self.is_over, "close_notify", f"{self.client.host.name}'s is nothing")

        self.world.at(self.world.t + seconds, look)

    def vanish(self) -> None:
        if self.stream is not None and not self.stream.is_closed:
            self.is_over = True
            self.reset()

    def poll(self) -> None:
        if not self.is_good:
            Speaker.poll(self)
            return
        super().poll()
        if self.failure is not None:
            hold(self.is_over, "records", f"LS to {self.client.host.name}: {self.failure}")
        while self.to_ask and self.can_tell:
            number, message = self.to_ask.pop(0)
            self.asked[number] = self.world.t, message
            self.moved_at = self.world.t
            self.tell(frame(message))
        for message in self.messages():
            self.moved_at = self.world.t
            self.client.take(self, message)
        is_ended = self.has_ended and self.layer.is_secured and not self.was_reset
        is_sure = not (self.is_over or self.is_idle or self.client.story.was_disturbed)
        if is_ended and is_sure:
            hold(self.layer.is_ended, "close_notify", f"none for {self.client.host.name}")


class TlsClient:
    """A host that asks LS by TLS, well or badly."""

    def __init__(self, story: "TlsStory", name: str, manners: list[str], visits: int) -> None:
        self.story = story
        self.host = story.world.host(name)
        self.host.on_touch = self.poll
        self.chance = Random(f"{story.seed}:{name}")
        self.manners = manners
        self.visits = visits
        self.here: list[Visit] = []
        self.asked = 0
        self.told = 0

    def live(self) -> None:
        for _ in range(self.visits):
            self.story.world.at(self.chance.uniform(0.3, self.story.lasts_s), self.come)

    def come(self) -> None:
        manner = self.chance.choice(self.manners)
        if not self.story.ls.is_up:
            return
        self.story.world.saw(f"a TLS client that {manner}" if manner != "well" else "a TLS client")
        visit = Visit(self, manner)
        self.here.append(visit)
        if visit.is_good:
            for _ in range(self.chance.choice([0, 1, 5])):
                self.story.world.at(
                    self.story.world.t + self.chance.uniform(0.0, 2.0), lambda: self.ask(visit)
                )
        if manner == "breaks a record":
            self.story.world.at(self.story.world.t + 1.0, lambda: self.break_record(visit))

    def ask(self, visit: Visit) -> None:
        is_over = visit.is_over or visit.has_finished or visit.has_left
        if is_over or visit.was_reset or visit.has_ended:
            return
        for _ in range(self.chance.choice([1, 1, 10])):
            self.asked += 1
            message = self.story.draw_query(self.chance, self.asked)
            if not message[11] and self.chance.random() < 0.5:
                message = padded(message, self.chance.choice([0, 7, 100]))
            visit.to_ask.append((self.asked, message))
        visit.poll()
        if self.chance.random() < 0.2:
            self.leave(visit, self.chance.choice(ENDS))

    def leave(self, visit: Visit, how: str) -> None:
        """Leave in this way; what was asked has its reply, unless it is a reset."""
        if not visit.can_tell or visit.to_ask:
            return
        visit.is_over = visit.is_over or how == "reset"
        if not visit.is_over:
            visit.ends_within(self.story.bounds.dns_timeout_s + 1.0)
        self.story.world.saw(f"a TLS client leaves: {how}")
        visit.finish(how)

    def break_record(self, visit: Visit) -> None:
        if visit.can_tell:
            visit.is_over, visit.is_broken = True, not visit.asked
            sealed = visit.layer.seal(frame(self.story.draw_query(self.chance, 1)))
            visit.say(sealed[:-1] + bytes([sealed[-1] ^ 1]))

    def poll(self) -> None:
        for visit in self.here:
            visit.poll()

    def take(self, visit: Visit, message: bytes) -> None:
        """Check a reply."""
        reply = Reply(message)
        hold(reply.number in visit.asked, "P29", f"{self.host.name} is told {message!r}")
        asked_at, query = visit.asked.pop(reply.number)
        self.told += 1
        self.story.take_reply_by_tls(self, asked_at, query, message)


def padded(message: bytes, count: int) -> bytes:
    """Return a query with so many bytes of padding (RFC 7830)."""
    return message[:11] + b"\1" + message[12:] + opt(option(PADDING, bytes(count)))
