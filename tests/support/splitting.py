"""Strategies for bytes and for the ways in which a network may cut them; questions, folded."""

from itertools import pairwise

from hypothesis import strategies as st

# Bytes that a parser of lines could stumble over, more often than chance would have them.
AWKWARD = [b"\n", b"\r\n", b"\r", b"\0", b" ", b".", b"-", b"\v", b"\f", b"\x1c", b"\x85", b"\xff"]
PIECES = [*AWKWARD, b"QUIT", b"PING", b"a", b"Www", b"rutgers.edu", "\u2028".encode()]

streams = st.lists(
    st.one_of(
        st.sampled_from(PIECES),
        st.binary(max_size=8),
        st.integers(500, 520).map(lambda count: b"x" * count),
    ),
    max_size=25,
).map(b"".join)


def folded(spelling: bytes) -> bytes:
    """Fold a question as a line has it: no trailing dot, lower case, the type in upper case."""
    name, space, type = spelling.partition(b" ")
    return name.removesuffix(b".").lower() + space + type.upper()


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Draw the same bytes in pieces, none of them empty."""
    places = st.lists(st.integers(1, max(1, len(data) - 1)), max_size=12, unique=True)
    return places.map(lambda at: pieces(data, sorted(at)))


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    """Cut at these places, in order."""
    bounds = [0, *places, len(data)]
    return [data[a:b] for a, b in pairwise(bounds) if data[a:b]]


cut_streams = streams.flatmap(lambda data: st.tuples(st.just(data), cuts(data)))

labels = st.text("abcXYZ019-_", min_size=1, max_size=8)
names = (
    st.lists(labels, min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda name: name.strip("-") != "" and name not in ("QUIT", "PING", "STATS"))
    .map(str.encode)
)
addresses = st.ip_addresses(v=4).map(lambda address: str(address).encode())


def name_of(length: int) -> bytes:
    """Write a name of so many bytes, legal up to 253."""
    text = (b"a" * 49 + b".") * (length // 50 + 1)
    return text[: length - 1] + b"b"


long_names = st.integers(244, 253).map(name_of)
any_names = st.one_of(names, names, long_names, st.sampled_from([b"QUIT", b"PING", b"STATS"]))


def _written(groups: list[int], group: str, dotted: bool, zeros: int) -> str:
    """Write an IPv6 address: its groups in this format, the last two perhaps as IPv4.

    The zeros from one place on, if there are any, are left out, for `::`.
    """
    texts = [group.format(number) for number in groups]
    if dotted:
        texts[6:] = [".".join(str(byte) for number in groups[6:] for byte in divmod(number, 256))]
    end = zeros
    while end < len(texts) and not groups[end] and "." not in texts[end]:
        end += 1
    if end == zeros:
        return ":".join(texts)
    return ":".join(texts[:zeros]) + "::" + ":".join(texts[end:])


# Every way to write one, of few addresses, so that one address comes in several.
ipv6_texts = st.builds(
    _written,
    st.lists(st.sampled_from([0, 0, 0, 1, 0xABC, 0xFFFF]), min_size=8, max_size=8),
    st.sampled_from(["{:x}", "{:04x}", "{:X}"]),
    st.booleans(),
    st.integers(0, 8),
)
addresses_v6 = st.one_of(st.ip_addresses(v=6).map(str), ipv6_texts).map(str.encode)
