"""LineBuffer: the same bytes give the same lines, however they are cut, within bounded memory."""

import tracemalloc

import pytest
from hypothesis import given

from core.io.line_buffer import LineBuffer
from core.protocol.names import LINE_BYTES_MAX
from tests.support.splitting import cut_streams


def model(data: bytes) -> tuple[list[bytes], bool]:
    """Return, the obvious way, all lines of a whole stream, overlong ones cut, and whether one is
    left."""
    *lines, rest = data.split(b"\n")
    lines = [line.removesuffix(b"\r") for line in lines]
    overlong = len(rest) > LINE_BYTES_MAX + 1 or (
        len(rest) == LINE_BYTES_MAX + 1 and not rest.endswith(b"\r")
    )
    if overlong:
        lines.append(rest)
    return [line[: LINE_BYTES_MAX + 1] for line in lines], bool(rest) and not overlong


def received(chunks: list[bytes]) -> tuple[list[bytes], bool]:
    buffer, whole = LineBuffer(LINE_BYTES_MAX), b""
    for chunk in chunks:
        whole += buffer.receive(chunk)
        assert buffer.is_mid_message is not chunk.endswith(b"\n")
    assert whole == b"" or whole.endswith(b"\n")
    unfinished = buffer.receive_eof()
    assert not buffer.is_mid_message
    return [line[: LINE_BYTES_MAX + 1] for line in whole.split(b"\n")[:-1]], unfinished


@given(cut_streams)
def test_any_bytes_in_any_split_give_the_lines_of_the_whole(
    case: tuple[bytes, list[bytes]],
) -> None:
    data, chunks = case
    assert received(chunks) == model(data)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(("count", "legal"), [(511, True), (512, True), (513, False)])
def test_d2_the_limit_is_exact_with_either_end(count: int, legal: bool, end: bytes) -> None:
    data = b"x" * count + end + b"next\n"
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        lines, _ = received(chunks)
        assert (len(lines[0]) <= LINE_BYTES_MAX) is legal
        assert lines[1:] == [b"next"]


def test_d1_ten_megabytes_without_an_end_are_one_overlong_line() -> None:
    """[P3]: hardly any of it is kept, and the next line is read."""
    buffer = LineBuffer(LINE_BYTES_MAX)
    tracemalloc.start()
    out = [buffer.receive(b"x" * 65536) for _ in range(10_000_000 // 65536)]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    out.append(buffer.receive(b"\nrutgers.edu\n"))
    assert b"".join(out) == b"x" * (LINE_BYTES_MAX + 1) + b"\nrutgers.edu\n"
    assert kept < 100_000


def test_an_overlong_line_is_handed_over_before_its_end_and_once() -> None:
    buffer = LineBuffer(LINE_BYTES_MAX)
    assert buffer.receive(b"x" * 513) == b"x" * 513 + b"\n"
    assert buffer.receive(b"x" * 600) == b""
    assert buffer.is_mid_message
    assert not buffer.receive_eof()


def test_a_cr_that_may_belong_to_the_end_waits_for_what_follows() -> None:
    buffer = LineBuffer(LINE_BYTES_MAX)
    assert buffer.receive(b"x" * 512 + b"\r") == b""
    assert buffer.receive(b"\n") == b"x" * 512 + b"\n"
    assert buffer.receive(b"x" * 512 + b"\r") == b""
    assert len(buffer.receive(b"y").rstrip(b"\n")) == 513


@pytest.mark.parametrize(
    "separator", [b"\r", b"\v", b"\f", b"\x1c", b"\x85", "\u2028".encode(), b"\0"]
)
def test_d7_nothing_else_separates_lines(separator: bytes) -> None:
    """[P1]: in UTF-8 or Latin-1."""
    for code in ("utf-8", "latin-1"):
        line = f"a{separator}b".encode(code, "ignore")
        assert received([line + b"\n"]) == ([line], False)


def test_d8_a_character_may_be_split_between_reads() -> None:
    data = "caf\u00e9.fr\n\u2028\n\u212a\n".encode()
    for at in range(1, len(data)):
        assert received([data[:at], data[at:]]) == received([data])


def test_d6_exactly_one_cr_is_dropped_before_lf() -> None:
    assert received([b"a\r\r\nb\r", b"\nc\rd\n\r\n"])[0] == [b"a\r", b"b", b"c\rd", b""]


def test_the_end_of_input_tells_whether_it_came_in_mid_line() -> None:
    assert received([b"a\nexample.co"]) == ([b"a"], True)
    assert received([b"a\n"]) == ([b"a"], False)
    assert received([]) == ([], False)


class Counting(bytes):
    """Bytes that count how many of them a search may look at."""

    searched = 0

    def rfind(self, *words: object) -> int:  # type: ignore[override]
        Counting.searched += len(self)
        return super().rfind(*words)  # type: ignore[arg-type]


def test_no_byte_is_searched_twice_for_the_end_of_its_line() -> None:
    Counting.searched = 0
    buffer = LineBuffer(LINE_BYTES_MAX)
    for _ in range(500):
        buffer.receive(Counting(b"x"))
    buffer.receive(Counting(b"\n"))
    assert Counting.searched == 501
