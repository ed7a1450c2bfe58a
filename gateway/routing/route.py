"""Where requests for a model may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import UnknownModel
from gateway.ports import Timeouts
from gateway.routing.hedge import HedgeBudget

ANY_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Hedge:
    """When a second deployment is asked beside a silent first one."""

    quantile: float  # of recent first-token times
    min_s: float
    budget: HedgeBudget  # of tokens that may go in vain


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests for one model may go."""

    deployments: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()  # other models, in order, when every deployment of this one failed
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 2  # further attempts after the first
    model: str = ""  # whose deployments these are, where it is another one
    hedge: Hedge | None = None
    max_wait_s: float = 5.0  # for room, where every deployment is busy


def route_of(routes: Mapping[str, Route], model: str) -> Route:
    """Raises UnknownModel."""
    route = routes.get(model) or routes.get(ANY_MODEL)
    if route is None:
        known = ", ".join(sorted(routes)) or "none"
        raise UnknownModel(f"no model named {model!r} is configured; configured models: {known}", param="model")
    return route
