"""Server-sent events from bytes, without I/O (WHATWG HTML §9.2.6, as far as chat APIs use it).

Feed it what the socket gave, in any pieces; it returns the data payloads that became whole. Bytes are never decoded
here, so a character cut in two by TCP is put together again before anyone reads it.
"""

from __future__ import annotations

DONE = b"[DONE]"


class SSEOverflow(ValueError):
    """One event grew beyond the limit."""


class SSEReader:
    """Incremental reader. LF, CRLF and CR line ends, comments, multi-line data, other fields ignored."""

    def __init__(self, max_event_bytes: int = 4_194_304) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._max = max_event_bytes

    def feed(self, received: bytes) -> list[bytes]:
        """Data payloads completed by ``received``, in order. Raises SSEOverflow."""
        buffer = self._rest + received if self._rest else received
        if b"\r" in buffer:
            # A lone CR at the very end may be half of a CRLF: keep it for the next feed.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = (buffer[:-1] if held else buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        *lines, rest = buffer.split(b"\n")
        self._rest = rest + held
        payloads: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                payloads.append(b"\n".join(self._data) if len(self._data) > 1 else self._data[0])
                self._data.clear()
        if len(self._rest) + sum(map(len, self._data)) > self._max:
            raise SSEOverflow(f"an event of more than {self._max} bytes")
        return payloads

    def finish(self) -> list[bytes]:
        """Payload of a last event that lacked its blank line, which some servers send."""
        payloads = self.feed(b"\n\n") if self._rest or self._data else []
        self._rest = b""
        return payloads
