"""Names: the patterns of addresses, how a question is folded, taken apart and put together."""

import ipaddress
import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from core.environment import Environment
from core.protocol.batches import read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import Answer, Question, format_message, parse_reply
from core.protocol.names import (
    IPV4,
    IPV6,
    Type,
    fold,
    fold_lines,
    name_of,
    other_type,
    question_of,
    questions_of,
    type_of,
)
from tests.support.splitting import any_names, ipv6_texts


@given(any_names, st.sampled_from(Type))
def test_a_question_is_put_together_as_it_is_taken_apart(name: bytes, type: Type) -> None:
    question = question_of(name, type)
    assert question == format_message(Question(name, type))
    assert (name_of(question), type_of(question)) == (name, type)
    assert fold(name + b".", type) == fold_lines(question + b"\n")[:-1]
    other = other_type(question)
    assert name_of(other) == name and type_of(other) is not type and other_type(other) == question
    for text in (type.value, type.value.lower()):
        assert questions_of([name, b"x"], [text, b"a"]) == [question, b"x"]


def test_d11_the_kelvin_sign_is_no_k() -> None:
    assert fold("\u212a".encode()) != b"k"
    assert fold(b"K.eXample.") == b"k.example"


octets = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(["", "00", "010", "0x1", "1_0", "+1", " 1", "256", "255", "\u0661", "1e1"]),
)


@given(st.lists(octets, min_size=3, max_size=5).map(".".join))
def test_the_pattern_of_ipv4_judges_as_ipaddress_does(text: str) -> None:
    try:
        ipaddress.IPv4Address(text)
        legal = True
    except ValueError:
        legal = False
    assert (re.fullmatch(IPV4, text.encode()) is not None) is legal


near_v6 = st.builds(
    lambda text, at, put, cut: text[:at] + put + text[at + cut :],
    st.one_of(
        st.ip_addresses(v=6).map(str),
        st.ip_addresses(v=6).map(lambda address: address.exploded),
        st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
        ipv6_texts,
        st.lists(st.sampled_from(["", "1", "ab", "ffff", "00000"]), max_size=9).map(":".join),
    ),
    st.integers(0, 40),
    st.sampled_from(["", "", ":", "::", "g", "0", "1.2.3.4", ":1.2.3.256", "%eth0"]),
    st.integers(0, 3),
)


def is_ipv6(text: str) -> bool:
    """Return what `ipaddress` says; but for scopes, which mean something on one machine only."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


@given(near_v6)
def test_the_pattern_of_ipv6_judges_as_ipaddress_does(text: str) -> None:
    assert (re.fullmatch(IPV6, text.encode()) is not None) is is_ipv6(text)


# Up to nine groups, each written, left out, or an IPv4 address: with `::` and with a dotted part
# in every place and any number of times.
SHAPES = [
    ":".join(groups)
    for count in range(1, 10)
    for groups in product(("", "a", "1.2.3.4"), repeat=count)
]


def test_every_shape_of_ipv6_is_judged_as_by_ipaddress() -> None:
    pattern = re.compile(IPV6)
    taken = [text for text in SHAPES if pattern.fullmatch(text.encode())]
    assert taken == list(filter(is_ipv6, SHAPES))


def test_every_shape_of_ipv6_may_stand_anywhere_in_a_set() -> None:
    """A set is matched without going back: no shape may be taken for a shorter one in it."""
    for text in map(str.encode, filter(is_ipv6, SHAPES)):
        for in_set in (text, b"::1," + text, text + b",::1", text + b",::," + text):
            line = b"x %b AAAA IN" % in_set
            assert parse_reply(line) == Answer(b"x", in_set, Type.AAAA)
            assert read_replies(line + b"\n", ErrorStreak(Environment())).questions == [b"x AAAA"]
            batch = read_replies(line + b"\nx - NO DATA\n", ErrorStreak(Environment()))
            assert batch.questions == [b"x AAAA"] and batch.no_data == [b"x"]
