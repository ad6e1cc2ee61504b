"""LineBuffer: the same bytes give the same lines, however they are cut, within bounded memory."""

import tracemalloc

import pytest
from hypothesis import example, given

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
@example((b"a\r\r\nb\r\nc\rd\n\r\n", [b"a\r\r\nb\r", b"\nc\rd\n\r\n"]))
@example((b"a\vb\fc\x1cd\x85e\xe2\x80\xa8f\0g\n", [b"a\vb\fc\x1cd\x85e\xe2", b"\x80\xa8f\0g\n"]))
def test_d6_d7_d8_any_split_gives_the_lines_of_the_whole(case: tuple[bytes, list[bytes]]) -> None:
    """[P1]: LF alone ends a line, and a CR before it is dropped."""
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


def test_a_cr_that_may_belong_to_the_end_waits_for_what_follows() -> None:
    buffer = LineBuffer(LINE_BYTES_MAX)
    assert buffer.receive(b"x" * 512 + b"\r") == b""
    assert buffer.receive(b"\n") == b"x" * 512 + b"\n"
    assert buffer.receive(b"x" * 512 + b"\r") == b""
    assert len(buffer.receive(b"y").rstrip(b"\n")) == 513


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
