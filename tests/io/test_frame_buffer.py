"""FrameBuffer: messages come out whole and in order, however the bytes were cut."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from core.io.frame_buffer import FrameBuffer, frame, split_frames
from tests.support.splitting import cuts

messages = st.lists(st.binary(max_size=300) | st.just(b"") | st.just(b"x" * 65_535), max_size=6)


@given(messages, st.data())
def test_the_same_messages_however_they_are_cut(whole: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(map(frame, whole))
    ends = set(accumulate((len(message) + 2 for message in whole), initial=0))
    buffer, taken = FrameBuffer(), 0
    got: list[bytes] = []
    for piece in data.draw(cuts(sent)):
        handed = buffer.receive(piece)
        got += split_frames(handed)
        taken += len(piece)
        assert len(got) == sum(0 < end <= taken for end in ends)  # each with its last byte
        assert buffer.is_mid_message is (taken not in ends)
    assert got == whole and not buffer.is_mid_message and not buffer.receive_eof()


@given(messages, st.integers(1, 65_536))
def test_the_end_in_the_middle_of_a_message_is_told(whole: list[bytes], less: int) -> None:
    sent = b"".join(map(frame, [*whole, b"y" * 65_535]))[:-less]
    buffer = FrameBuffer()
    assert split_frames(buffer.receive(sent)) == whole
    assert buffer.is_mid_message and buffer.receive_eof()
    assert not buffer.is_mid_message
