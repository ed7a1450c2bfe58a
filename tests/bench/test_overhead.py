"""The overhead bench's wordings and requests."""

from __future__ import annotations

import ast
import json

import pytest

from bench.overhead.pairs import Pair, Segment, compared
from bench.overhead.peers import PEERS
from bench.overhead.targets import ASKED, Target, typed_with_other_marks, typed_with_other_spaces
from bench.overhead.unmeasured import without_metrics
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


def test_without_metrics_is_all_but_what_tells_them() -> None:
    code = """
def close(self, caller):
    self._metrics.requests_now -= 1
    self._metrics.calls[self.name, "ok"].append(clock() - self.began)
    metrics.shared("ok")
    caller.chat = (1, 2)
    self.chat = answered
    self.health.succeeded()
    return self._metrics.exposition()
"""
    left = ast.unparse(without_metrics(code)).replace("    pass\n", "")
    assert left.split("\n")[1:] == [
        "    self.chat = answered", "    self.health.succeeded()", "    return self._metrics.exposition()"
    ]  # fmt: skip


def test_a_pair_is_compared_round_by_round() -> None:
    one, other = Target("one", "", "m"), Target("two", "", "m")
    found = {
        "one": [Segment(100, 2.0, 1, 1, 0.1), Segment(50, 2.0, 1, 1, 0.1)],
        "two": [Segment(190, 2.2, 1, 2, 0.2), Segment(90, 2.2, 1, 2, 0.2)],
    }
    told = compared(Pair(one, other, 0, "", 8), found)
    assert told["requests_ratio"][1] == pytest.approx(1.85)
    assert told["cpu_per_request_ratio"] == pytest.approx([1.1, 1.1, 1.1])
