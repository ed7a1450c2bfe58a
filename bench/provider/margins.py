"""A Yes or No token with the probabilities of both, from their margin (pure)."""

from __future__ import annotations

import math

from bench.provider.logprobs import TokenLogprob


def as_token(margin: float) -> TokenLogprob:
    """``margin``: log p(Yes) - log p(No), in nats."""
    yes, no = -math.log1p(math.exp(-margin)), -math.log1p(math.exp(margin))
    pairs = tuple(sorted((("Yes", yes - 0.01), ("No", no - 0.01)), key=lambda pair: -pair[1]))  # 1 % for other tokens
    return TokenLogprob(*pairs[0], alternatives=pairs)
