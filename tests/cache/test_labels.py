from __future__ import annotations

from gateway.cache.labels import LABEL_TTL_S, Labels
from gateway.cache.memory import MemoryStore
from gateway.errors import StoreUnavailable
from tests.cache.makers import Wall, key


async def test_a_pair_that_was_refused_stays_refused_in_any_spacing_and_no_other_pair_is() -> None:
    store = MemoryStore()
    labels = Labels(store)
    await labels.refuse("반차는 며칠 전에 내나요?", key("a"))
    assert await Labels(store).refused("반차는  며칠 전에 내나요", key("a"))
    assert not await labels.refused("연차는 며칠 전에 내나요?", key("a"))
    assert not await labels.refused("반차는 며칠 전에 내나요?", key("b"))
    assert not await labels.refused("반차는 며칠 전에 내나요?", key("a", scope="6d"))
    assert not await labels.refused("반차는 며칠 전에 내나요?", key("a", tenant="globex"))


async def test_a_label_outlives_the_answers_and_then_goes() -> None:
    wall = Wall()
    labels = Labels(MemoryStore(wall_clock=wall), wall_clock=wall)
    await labels.refuse("반차는?", key())
    wall.now += LABEL_TTL_S - 1
    assert await labels.refused("반차는?", key())
    wall.now += 1
    assert not await labels.refused("반차는?", key())


class Away:
    async def get(self, key: object) -> None:
        raise StoreUnavailable("away")

    put = delete = get


async def test_where_nobody_can_tell_the_pair_is_refused() -> None:
    assert await Labels(Away()).refused("반차는?", key())  # type: ignore[arg-type]
