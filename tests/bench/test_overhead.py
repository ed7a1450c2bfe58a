"""The overhead bench's wordings and requests."""

from __future__ import annotations

import json

from bench.overhead.peers import PEERS
from bench.overhead.targets import ASKED, Target, typed_with_other_marks, typed_with_other_spaces
from gateway.cache.decision import plain
from gateway.embedding.cached import normalised


def test_other_spaces_are_other_texts_with_one_vector() -> None:
    found = {typed_with_other_spaces(number) for number in range(5000)}
    assert len(found) == 5000
    assert {normalised(text) for text in found} == {ASKED}


def test_other_marks_are_other_vectors_of_one_question() -> None:
    found = [typed_with_other_marks(number) for number in range(5000)]
    assert len({normalised(text) for text in found}) == 5000
    assert {plain(text) for text in found} == {plain(ASKED)}


def test_a_request_is_whole_http_with_the_headers_of_its_target() -> None:
    target = Target("x", "http://127.0.0.1:1/v1", "mock", headers={"x-more": "1"})
    head, body = target.requests(stream=True)().split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nx-more: 1\r\n" in head + b"\r\n"
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["stream"] is True


def test_peers_are_pinned() -> None:
    assert "1.107.0" not in {peer.version for peer in PEERS.values()}
    for peer in PEERS.values():
        assert any(package.endswith(peer.version) for package in peer.packages)
