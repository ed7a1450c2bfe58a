"""One collection in several places: all are asked, the first that answers wins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search, Source


class MirroredSource:
    """``places`` hold the same passages under the same name. Fails when all of them do, with the last one's error."""

    def __init__(self, places: Sequence[Source]) -> None:
        self.name = places[0].name
        self._places = tuple(places)

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        running = {asyncio.ensure_future(place.search(search, deadline)) for place in self._places}
        try:
            while True:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if answered := [task for task in done if task.exception() is None]:
                    return answered[0].result()
                if not running:
                    return done.pop().result()  # raises
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
