"""What is remembered of heads never changes what one says."""

from __future__ import annotations

import random

import pytest

from gateway.ingress.auth import presented
from gateway.ingress.heads import MAX_HEADS, Heads

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
AZURE = b"POST /openai/deployments/m/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n"
FIELDS = [
    b"Authorization: Bearer one\r\n", b"Authorization: Bearer two\r\n", b"api-key: one\r\n", b"X-Ocho-Cache: off\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\n", b"X-Request-Id: r-1\r\n", b"traceparent: 00-1-2-01\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"bad field\r\n", b"X-Length: 7\r\n",
]  # fmt: skip
LENGTHS = [
    b"Content-Length: 1\r\n", b"Content-Length: 12\r\n", b"content-length:12 \r\n", b"CONTENT-LENGTH: 2\r\n",
    b"Content-Length: 99999\r\n", b"Content-Length: -1\r\n", b"Content-Length:\r\n", b"",
    b"Content-Length: 1\r\nContent-Length: 1\r\n", b"Content-Length: 1, 1\r\n",
]  # fmt: skip


def head(*fields: bytes, line: bytes = LINE) -> bytes:
    return line + b"".join(fields) + b"\r\n"


def some(rng: random.Random) -> bytes:
    fields = [*rng.sample(FIELDS, rng.randrange(4)), rng.choice(LENGTHS)]
    rng.shuffle(fields)
    return head(*fields, line=rng.choice([LINE, AZURE, b"POST /v1/embeddings HTTP/1.1\r\n"]))


def test_a_head_says_the_same_whatever_was_read_before() -> None:
    rng, heads = random.Random(5), Heads(10_000)
    read = 0
    for _ in range(5_000):
        raw = some(rng)
        found = heads.read(raw)
        assert found == Heads(10_000).read(raw), raw
        read += found is not None
    assert read > 500


def test_the_same_head_with_another_length_is_not_read_again() -> None:
    heads = Heads(10_000)
    one, two = (heads.read(head(FIELDS[0], b"Content-Length: %d\r\n" % length)) for length in (3, 4_000))
    assert one is not None
    assert two is not None
    assert one[0] is two[0]
    assert (one[1], two[1]) == (3, 4_000)


def test_each_caller_is_told_by_the_key_that_was_sent() -> None:
    heads = Heads(10_000)
    for _ in range(2):
        for key in ("one", "two"):
            found = heads.read(head(b"Authorization: Bearer %s\r\nContent-Length: 3\r\n" % key.encode()))
            assert found is not None
            assert found[0].key == presented({"api-key": key})


@pytest.mark.parametrize("padding", [0, 4_000], ids=["short", "long"])
def test_what_is_remembered_is_bounded(padding: int) -> None:
    heads = Heads(10_000)
    for number in range(3 * MAX_HEADS):
        assert heads.read(head(b"X-Number: %d%s\r\nContent-Length: 3\r\n" % (number, b"x" * padding))) is not None
        assert len(heads) <= (0 if padding else MAX_HEADS)
