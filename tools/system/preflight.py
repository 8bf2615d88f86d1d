"""Checks of the venue and the account before anything starts, and the last resort afterwards.

Everything that is wrong is found in one go; only a key that is refused, or a venue that does not
answer, ends the list early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from hft.config import Config, RateLimits
from hft.errors import HftError, UnreachableError, UsageError, VenueError
from hft.records import InstrumentStatus
from hft.roles.venue_access import SavedLimits
from hft.units import NS_PER_MS, NS_PER_S, format_e8, format_places
from hft.venues.binance_usdm.endpoints import Endpoints, host_port
from hft.venues.binance_usdm.errors import NO_CODE, BannedError
from hft.venues.binance_usdm.exchange_info import SymbolInfo
from hft.venues.binance_usdm.reports import AccountConfig, PositionReport, SymbolConfig
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import load_credentials
from tools.system.places import places_of
from tools.system.reach import check_sockets

KEY_REFUSED: Final = {
    -2014: "The API key in venue.key_file is not one: check that it was copied whole.",
    -2015: "The key is unknown, can read but not trade, or this host's address is not on its list.",
    -2017: "The venue has locked this key.",
    -1022: "The secret does not belong to the API key: check both in venue.key_file.",
    -1002: "The key has no right to trade futures: set it in the venue's API management.",
    -4088: "The key has no right to place orders: set it in the venue's API management.",
}
"""Codes that speak of the key, and what to do."""
ORDER_GONE: Final = (-2011, -2013)
"""Filled or cancelled in the meantime."""
CLOCK_SAMPLES: Final = 3

Answer = TypeVar("Answer")


class PreflightError(UsageError):
    """The account or the host is not as it has to be; ``problems`` has each with its remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), remedy="Nothing was started.")
        self.problems = problems


class VenueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the preflight learned."""

    limits: RateLimits
    symbols: dict[str, SymbolInfo]
    equity_e8: int
    """Wallets of the margin assets, 1e-8."""
    clock_offset_ns: int
    """The venue's wall clock minus ours."""
    notices: tuple[str, ...]
    """What is allowed and still worth a word."""


def check(config: Config) -> VenueFacts:
    """Hold the venue and the account against the settings.

    Raises:
        PreflightError: with everything that is wrong.
        UsageError: a key file or symbol is wrong.
        UnreachableError: the venue does not answer, has banned this host's address, or something
            else answers in its place.
    """
    credentials = load_credentials(config.venue)
    try:
        return _with_client(
            config, lambda client: _check(config, client, list(credentials.warnings))
        )
    except BannedError as error:
        raise _banned(config, error) from None
    except VenueError as error:
        if error.code != NO_CODE:
            raise
        raise UnreachableError(
            f"{config.venue.rest_url} does not answer as the venue does: {error.text}.",
            remedy="Is something between here and the venue, or is venue.rest_url another's?",
        ) from None


def emergency_cancel(config: Config) -> str:
    """Cancel our open orders by REST, whatever else is broken; returns what to tell."""
    try:
        count, failures = _with_client(config, lambda client: _cancel_own(config, client))
    except HftError as error:
        count, failures = 0, [error.message]
    if failures:
        return f"our orders could NOT all be cancelled by REST: {'; '.join(failures)}"
    return f"{count} open orders of ours cancelled by REST"


def _with_client(config: Config, work: Callable[[RestClient], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        client = RestClient(
            Endpoints.from_config(config.venue),
            load_credentials(config.venue),
            recv_window_ms=config.venue.recv_window_ms,
            clock_error_ns=config.preflight.clock_offset_ms_max * NS_PER_MS,
            limits=SavedLimits(places_of(config).state_dir, config.venue),
        )
        try:
            await client.measure_clock_offset(CLOCK_SAMPLES)
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


async def _cancel_own(config: Config, client: RestClient) -> tuple[int, list[str]]:
    """How many were cancelled, and what went wrong: one failure does not spare the others."""
    count, failures = 0, []
    for symbol in config.symbols:
        try:
            own = [order for order in await client.open_orders(symbol) if order.order_id]
        except HftError as error:
            failures.append(f"{symbol}: {error.message}")
            continue
        for order in own:
            try:
                await client.cancel_order(symbol, order.client_order_id)
                count += 1
            except HftError as error:
                if not (isinstance(error, VenueError) and error.code in ORDER_GONE):
                    failures.append(f"{symbol} {order.client_order_id}: {error.message}")
    return count, failures


async def _check(config: Config, client: RestClient, notices: list[str]) -> VenueFacts:
    problems = _clock_problems(config, client.clock_offset_ns)
    info = await client.exchange_info(config.symbols)
    for error in await check_sockets(Endpoints.from_config(config.venue), config.symbols[0]):
        raise error
    try:
        account = await client.account_config()
        settings = {one.symbol: one for one in await client.symbol_config()}
        positions = [one for one in await client.position_risk() if one.position_e8]
        balances = {one.asset: one for one in await client.balances()}
        await _try_to_trade(client, info.symbols[config.symbols[0]])
    except BannedError:
        raise
    except VenueError as error:
        raise _key_refused(error, problems) from None
    problems += _account_problems(account)
    for symbol in config.symbols:
        problems += _symbol_problems(config, info.symbols[symbol], settings.get(symbol))
        problems += await _order_problems(config, client, symbol, notices)
        notices += [
            f"{symbol}: the venue has a rule {name} that is not known here"
            for name in info.symbols[symbol].unknown_filters
        ]
    problems += _position_problems(config, positions, notices)
    assets = {info.symbols[symbol].margin_asset for symbol in config.symbols}
    equity_e8 = sum(balances[asset].wallet_e8 for asset in assets if asset in balances)
    if equity_e8 <= 0:
        problems.append(
            f"the account holds no {' or '.join(sorted(assets))}.\n"
            "Transfer some to the futures wallet: limits are relative to it."
        )
    if problems:
        raise PreflightError(problems)
    return VenueFacts(
        limits=info.limits,
        symbols=info.symbols,
        equity_e8=equity_e8,
        clock_offset_ns=client.clock_offset_ns,
        notices=tuple(notices),
    )


async def _try_to_trade(client: RestClient, symbol: SymbolInfo) -> None:
    """Ask the venue to check an order without placing it: reading rights do not show the others.

    Raises:
        VenueError: the key may not trade. Other refusals of the order are of no interest.
    """
    parameters = (
        ("symbol", symbol.symbol),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "GTC"),
        ("quantity", format_places(symbol.qty_min_e8, symbol.qty_places)),
        ("price", format_places(symbol.tick_e8, symbol.price_places)),
    )
    try:
        await client.request("POST", "/fapi/v1/order/test", parameters, signed=True)
    except VenueError as error:
        if error.code in KEY_REFUSED:
            raise


def _banned(config: Config, error: BannedError) -> UnreachableError:
    """Until when, in the host's time: the request that would tell more is forbidden too."""
    left_s = max(0.0, error.until_ns / NS_PER_S - time.time())
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(error.until_ns / NS_PER_S))
    return UnreachableError(
        f"{host_port(config.venue.rest_url)} has banned this host's address until {until}"
        f" ({left_s:,.0f} s from now).",
        remedy="Nothing was started, and nothing is sent before: asking earlier makes a ban longer."
        " Stop whatever else talks to the venue from this address, and start again after that.",
    )


def _key_refused(error: VenueError, problems: list[str]) -> HftError:
    remedy = KEY_REFUSED.get(error.code)
    if remedy is None:
        return error
    text = f'the venue refused the key: {error.code} "{error.text}".\n{remedy}'
    return PreflightError([*problems, text])


def _clock_problems(config: Config, offset_ns: int) -> list[str]:
    offset_ms = offset_ns / NS_PER_MS
    if abs(offset_ms) <= config.preflight.clock_offset_ms_max:
        return []
    side = "behind" if offset_ms > 0 else "ahead of"
    return [
        f"this host's clock is {abs(offset_ms):,.0f} ms {side} the venue's.\n"
        f"Synchronise it (chronyc makestep); allowed are {config.preflight.clock_offset_ms_max} ms"
        " (preflight.clock_offset_ms_max)."
    ]


def _account_problems(account: AccountConfig) -> list[str]:
    problems = []
    if not account.can_trade:
        problems.append(
            "the venue does not let this account trade.\nLog in at the venue: it says why."
        )
    if account.is_hedge_mode:
        problems.append(
            "the account is in hedge mode: long and short positions stand side by side.\n"
            "Switch it to one-way mode (POST /fapi/v1/positionSide/dual dualSidePosition=false)."
        )
    if account.is_multi_assets:
        problems.append(
            "the account is in multi-assets mode: its margin is not in one asset.\n"
            "Switch it to single-asset mode (POST /fapi/v1/multiAssetsMargin"
            " multiAssetsMargin=false)."
        )
    return problems


def _symbol_problems(config: Config, info: SymbolInfo, settings: SymbolConfig | None) -> list[str]:
    symbol, wanted = info.symbol, config.preflight
    problems = []
    if info.status is not InstrumentStatus.TRADING:
        problems.append(
            f"{symbol} does not trade: its status is {info.status_text}.\nTake it out of symbols."
        )
    if settings is None:
        return problems
    if settings.leverage > wanted.leverage_max:
        problems.append(
            f"{symbol}: the leverage is {settings.leverage}, allowed are {wanted.leverage_max}.\n"
            f"Lower it at the venue, or raise preflight.leverage_max."
        )
    margin = "isolated" if settings.is_isolated else "cross"
    if wanted.margin not in (margin, "any"):
        problems.append(
            f"{symbol}: the margin mode is {margin}, wanted is {wanted.margin}.\n"
            "Change it at the venue, or set preflight.margin."
        )
    return problems


async def _order_problems(
    config: Config, client: RestClient, symbol: str, notices: list[str]
) -> list[str]:
    orders = await client.open_orders(symbol)
    foreign = [order for order in orders if not order.order_id]
    own_count = len(orders) - len(foreign)
    problems = []
    if foreign and config.preflight.foreign_orders == "refuse":
        problems.append(
            f"{symbol}: {len(foreign)} open orders are not ours, the first is"
            f' "{foreign[0].client_order_id}".\n'
            'Cancel them at the venue, or set preflight.foreign_orders = "ignore".'
        )
    elif foreign:
        notices.append(f"{symbol}: {len(foreign)} open orders are not ours and stay")
    if own_count:
        fate = "cancelled" if config.execution.start_orders == "cancel" else "taken over"
        notices.append(f"{symbol}: {own_count} open orders of an earlier run are {fate}")
    return problems


def _position_problems(
    config: Config, positions: list[PositionReport], notices: list[str]
) -> list[str]:
    problems = []
    for position in positions:
        held = f"{position.symbol}: the account holds {format_e8(position.position_e8)}"
        if config.preflight.foreign_positions == "refuse":
            problems.append(
                f"{held}, which this system did not buy.\n"
                'Close it, or set preflight.foreign_positions = "adopt".'
            )
        else:
            notices.append(f"{held}, and goes on from there")
    return problems


__all__ = ["PreflightError", "VenueFacts", "check", "emergency_cancel"]
