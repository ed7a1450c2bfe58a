from __future__ import annotations

from structlog.testing import capture_logs

from gateway.cache.breaker import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    clock = Clock()
    breaker = Breaker("redis", failures=3, cooldown_s=1.0, clock=clock)
    with capture_logs() as logs:
        for _ in range(2):
            breaker.failed("slow")
        breaker.succeeded()
        for _ in range(3):
            assert breaker.allows()
            breaker.failed("slow")
        assert not breaker.allows()
        clock.now = 1.5
        assert [breaker.allows() for _ in range(5)] == [True, False, False, False, False]
        breaker.failed("slow")
        clock.now = 3.0  # the failed probe doubled the wait
        assert not breaker.allows()
        clock.now = 4.0
        assert breaker.allows()
        breaker.succeeded()
        assert all(breaker.allows() for _ in range(5))
    assert [line["event"] for line in logs] == ["store away, going on without it", "store back"]
