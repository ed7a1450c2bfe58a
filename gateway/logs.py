"""Log lines: JSON for machines, colours for a person. Prompts and answers are never among them."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from functools import lru_cache
from queue import SimpleQueue
from typing import Any

import orjson
import structlog


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def configure_logs(level: str = "info", style: str = "json") -> None:
    """Once per process, before anything logs."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(_json)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(),  # a line and its end in one write: others write here too
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stdout)  # libraries' own lines, in the same shape
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


FLUSH_S = 0.2  # a line of the access log may be that old before it is written
FLUSH_LINES = 256
_STAMP = "%s.%06dZ"  # written in half the time of an f-string with an int in it
MAX_WAITING = 256  # batches; when nobody takes the output, lines are dropped and counted, not requests held up


class AccessLog:
    """One line per request and one per upstream call, gathered and written by a thread.

    ``level`` and ``style`` as for ``configure_logs``; above info there are no lines.
    """

    def __init__(self, level: str = "info", style: str = "json") -> None:
        self._on = level in {"debug", "info"}
        self._plain = style != "json"
        self._lines: list[str] = []
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second, self._began = "", 0  # of this second: as it is written, and when it began
        self._batches: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._thread.start()

    def request(
        self, id: str, method: str, operation: str, model: str, seconds: float, error: str, at: float,
        cache: str = "", served_by: str = "",
    ) -> None:  # fmt: skip
        """``at``: when it ended. All but ``model`` are words, or of safe characters: none needs an escape. The last two
        are of chats."""
        if not self._on:
            return
        if self._plain:
            structlog.get_logger().info(
                "request", request_id=id, method=method, operation=operation, model=model, seconds=round(seconds, 4),
                error=error, cache=cache, served_by=served_by,
            )  # fmt: skip
            return
        what = _what(method, operation, model, error, cache, served_by)
        self._add(
            f'{{"request_id":"{id}",{what},"seconds":{seconds:.4f},'
            f'"event":"request","level":"info","timestamp":"{self._timestamp(at)}"}}\n'
        )

    def spent(
        self, id: str, tenant: str, model: str, reason: str, prompt_tokens: int, completion_tokens: int, money: float
    ) -> None:
        """One upstream call that was made for request ``id``; a request may have several, or none."""
        if not self._on:
            return
        fields: dict[str, Any] = {
            "request_id": id, "tenant": tenant, "model": model, "reason": reason,
            "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "money": round(money, 8),
        }  # fmt: skip
        if self._plain:
            structlog.get_logger().info("spent", **fields)
            return
        fields |= {"event": "spent", "level": "info", "timestamp": self._timestamp(time.time())}
        self._add(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE).decode())

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= FLUSH_LINES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._batches.put(None)
        self._thread.join(2.0)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batches.qsize() >= MAX_WAITING:
            self._dropped += len(self._lines)
        elif self._lines:
            self._batches.put("".join(self._lines))
        self._lines.clear()

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            sys.stdout.write(batch)
            sys.stdout.flush()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                structlog.get_logger().warning("access log lines dropped: nobody reads the output", lines=dropped)

    def _timestamp(self, now: float) -> str:
        if not 0 <= now - self._began < 1:
            self._began = int(now)
            self._second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._began))
        return _STAMP % (self._second, (now - self._began) * 1e6)


@lru_cache(maxsize=1024)
def _what(method: str, operation: str, model: str, error: str, cache: str, served_by: str) -> str:
    """What lines about such requests have in common."""
    named = orjson.dumps(model).decode()
    chat = f',"cache":"{cache}","served_by":"{served_by}"' if cache else ""
    return f'"method":"{method}","operation":"{operation}","model":{named},"error":"{error}"{chat}'
