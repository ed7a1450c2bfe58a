import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.sse_reader import SSEOverflow, SSEReader


def read(*pieces: bytes) -> list[bytes]:
    reader = SSEReader()
    payloads = [payload for piece in pieces for payload in reader.feed(piece)]
    return payloads + reader.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(end: bytes) -> None:
    assert read(b"data: one" + end + end + b"data: two" + end + end) == [b"one", b"two"]


def test_comments_and_other_fields_are_skipped() -> None:
    assert read(b": keep-alive\n\nevent: message\nid: 7\ndata: x\n\n: bye\n\n") == [b"x"]


def test_data_without_the_space_and_over_several_lines() -> None:
    assert read(b"data:a\ndata: b\n\n") == [b"a\nb"]


def test_only_one_space_is_taken_away() -> None:
    assert read(b"data:  a\n\n") == [b" a"]


def test_a_syllable_cut_in_two_is_whole_again() -> None:
    whole = "data: 오초\n\n".encode()
    assert read(whole[:8], whole[8:]) == ["오초".encode()]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert read(b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n") == [b"a", b"b"]


def test_a_last_event_without_its_blank_line_still_counts() -> None:
    assert read(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]
    assert read(b"data: a\n") == [b"a"]


def test_an_endless_event_is_refused() -> None:
    reader = SSEReader(max_event_bytes=100)
    with pytest.raises(SSEOverflow):
        reader.feed(b"data: 0123456789\n" * 20)


@given(
    events=st.lists(
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=6
    ),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_the_pieces_do_not_matter(events: list[str], end: bytes, cuts: list[int]) -> None:
    wire = b"".join(b"data: " + event.encode() + end + end for event in events)
    pieces = []
    at = turn = 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        pieces.append(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert read(*pieces) == [event.encode() for event in events]
