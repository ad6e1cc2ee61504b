"""Stories of TLS hold, happen again from their seeds with the real layer as well, and see bugs.

Not here: the other faces (`tests/sim/test_story.py`).
"""

import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from core.effects import Dial, Effect
from core.io import tls_layer
from core.io.acceptor import Acceptor
from core.io.certificates import Certificates
from core.io.stream import Stream
from core.io.stream_security import StreamSecurity
from core.io.stream_state import StreamState
from core.tls import ServerIdentity
from nodes.dns.question import resolver_query
from nodes.ls.resolvers import in_flight, resolver_link, secure_streams
from nodes.ls.resolvers.datagram_resolver import DatagramResolver
from nodes.ls.resolvers.reply_matcher import ResolverReplies
from nodes.ls.resolvers.secure_resolver import SecureResolver
from nodes.ls.resolvers.secure_streams import SecureStreams
from tests.sim import secure
from tests.sim.tls_story import KINDS, TlsStory
from tests.support.certificates import openssl
from tests.support.volume import scaled

NUMBERS = range(12, 12 + scaled(2 * len(KINDS)))
REAL = range(96, 96 + 97 * scaled(len(KINDS)), 97)  # those that run the real layer, of each kind


@cache
def told(number: int) -> tuple[int, Counter[str]]:
    """Tell this story, once for all tests; return its trace and what has been seen in it."""
    world = TlsStory(number).tell()
    return world.trace, Counter(world.probes)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_story_of_tls_holds(number: int) -> None:
    told(number)


@openssl
@pytest.mark.parametrize("number", REAL)
def test_a_story_of_the_real_layer_holds(number: int) -> None:
    assert told(number)[1]["a story of the real layer"]


@openssl
def test_i13_the_real_layer_gives_one_trace() -> None:
    assert [TlsStory(number).tell().trace for number in REAL[:3]] == [
        told(number)[0] for number in REAL[:3]
    ]


def test_bad_things_happen_to_tls() -> None:
    seen = sum((told(number)[1] for number in NUMBERS), Counter[str]())
    for what in (
        "LS says why it does not trust a server",
        "questions outlive their stream",
        "a TLS server forgets its streams",
        "a TLS server idles out",
        "a TLS server closes after its replies",
        "a record is broken",
        "a padded reply",
        "a certificate is renewed",
        "a client that breaks a record hears an alert",
        "a TLS client that hangs",
        "a bad handshake is ended",
    ):
        assert seen[what], what


# -- planted bugs ----------------------------------------------------------------------------------


def always(result: object) -> Callable[..., object]:
    """Build a method that does nothing, and returns this."""
    return lambda *_, **__: result


def in_the_clear(conn: str, addresses: Any, framing: Any, identity: ServerIdentity) -> Dial:  # noqa: ANN401
    return Dial(conn, addresses, framing)


def without_the_first(self: StreamSecurity, stream: Stream, data: bytes) -> bytes:
    """Drop what comes with the end of the handshake."""
    was_securing = stream.life.state is StreamState.SECURING
    plain = RECEIVE(self, stream, data)
    return b"" if was_securing else plain


def unless_said(self: StreamSecurity, stream: Stream, now: float) -> bool:
    """Take no end that the peer says."""
    return not self._layer.is_ended and HAS_ENDED(self, stream, now)


def without_a_word(self: SecureResolver, replies: ResolverReplies, why: str) -> None:
    DOWN(self, replies, "it is down")


def unheard_of(self: SecureResolver, questions: list[bytes], now: float) -> list[Effect]:
    effects = QUERY(self, questions, now)
    self._asked_at = float("-inf")
    return effects


def restricted_to_nobody(context: ssl.SSLContext) -> None:
    RESTRICT(context)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


RECEIVE, HAS_ENDED = StreamSecurity.receive, StreamSecurity.has_ended
QUERY = SecureResolver.query
DOWN, RESTRICT = vars(SecureResolver)["_down"], vars(tls_layer)["_restrict"]
NOTHING: dict[bytes, int] = {}
FIRST = "first good answer"
# Each with the number of a story that shows it soon, with the invariant that sees it, and with what
# is put in the place of what.
BUGS: list[tuple[str, int, str, Any, str, Any]] = [
    ("a server by TLS is dialled in the clear", 0, "records", secure_streams, "Dial", in_the_clear),
    (
        "one that is asked by TLS gets datagrams",
        0,
        "strict",
        resolver_link,
        "SecureResolver",
        DatagramResolver,
    ),
    ("no query is padded", 0, "padding", in_flight, "padded_query", resolver_query),
    (
        "what a dead stream was asked is forgotten",
        27,
        FIRST,
        SecureStreams,
        "_unanswered",
        always(NOTHING),
    ),
    ("no stream is silent", 35, FIRST, SecureStreams, "retire_if_silent", always([])),
    ("there is no stream before it is needed", 0, "dialled", SecureResolver, "query", unheard_of),
    ("the log does not say why", 2, "strict", SecureResolver, "_down", without_a_word),
    ("the end of TLS is no end", 5, "close_notify", StreamSecurity, "has_ended", unless_said),
    (
        "what comes with a handshake is dropped",
        27,
        "P29",
        StreamSecurity,
        "receive",
        without_the_first,
    ),
    ("nobody says that a stream ends", 5, "close_notify", StreamSecurity, "end", always(None)),
    ("no alert is sent", 5, "close_notify", StreamSecurity, "_say", always(None)),
    ("a certificate is read once", 5, "renewed", Certificates, "_read", always(None)),
    ("handshakes have no bound", 5, "handshakes", Acceptor, "_may_secure", always(True)),
]
PLANTED = [pytest.param(*bug[1:], id=bug[0]) for bug in BUGS]


@pytest.mark.parametrize(("number", "tag", "of", "attribute", "bad"), PLANTED)
def test_a_planted_bug_is_seen(
    number: int,
    tag: str,
    of: Any,  # noqa: ANN401
    attribute: str,
    bad: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of, attribute, bad)
    with pytest.raises(AssertionError, match=f"^{tag}: "):
        TlsStory(number).tell()


@pytest.fixture
def anew() -> Iterator[None]:
    """Have the contexts of real layers made anew, before and after."""
    secure.forget_contexts()
    yield
    secure.forget_contexts()


@openssl
def test_a_real_layer_that_trusts_everybody_is_seen(
    anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_layer, "_restrict", restricted_to_nobody)
    with pytest.raises(AssertionError, match=r"^strict: LS takes what is "):
        TlsStory(290).tell()
