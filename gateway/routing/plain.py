"""Which requests ask for text and nothing but text. Pure."""

from __future__ import annotations

from gateway.chat import ChatRequest
from gateway.defaults import is_default

PLAIN_FIELDS = frozenset(
    """model messages stream stream_options user metadata store temperature top_p seed max_tokens max_completion_tokens
    service_tier safety_identifier prompt_cache_key prompt_cache_retention reasoning_effort""".split()  # noqa: SIM905
)  # any other field asks for more than a text, or for a text of a form: tools, formats, several choices, log-probs


def is_plain(request: ChatRequest, *, weighs: bool = False) -> bool:
    """Text in, text out, one choice: what a short answer or a quotation can stand in for, and a second part be joined
    to. ``weighs``: its log-probabilities are for the gateway."""
    return (
        bool(request.question)
        and all(message.plain for message in request.messages)
        and all(
            name in PLAIN_FIELDS or is_default(name, value) or (weighs and name == "logprobs")
            for name, value in request.body.items()
        )
    )
