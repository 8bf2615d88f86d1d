"""How roles reach the venue by REST: each with its share of the address's request weight."""

from __future__ import annotations

from hft.roles.context import Context
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials


def make_rest(
    context: Context, weight_share: float, credentials: Credentials | None = None
) -> RestClient:
    """A REST client that stays within ``weight_share`` of what the venue allows this address."""
    return RestClient(
        Endpoints.from_config(context.config.venue),
        credentials,
        recv_window_ms=context.config.venue.recv_window_ms,
        weight_limit=int(context.plan.limits.weight_1m * context.config.execution.limit_use),
        weight_budget=int(context.plan.limits.weight_1m * weight_share),
    )
