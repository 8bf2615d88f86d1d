"""Account, balances, positions and histories in the shapes of the venue's replies."""

from __future__ import annotations

from typing import Any, Final

from hft.units import format_e8
from tools.venue.accounts import (
    MAINTENANCE_RATE_E8,
    MARGIN_ASSET,
    RATE_UNIT,
    Account,
    Fill,
    Income,
    account_margin,
    available_e8,
    liquidation_price_e8,
    symbol_margin,
)
from tools.venue.encode import fixed, signed
from tools.venue.exchange import Exchange
from tools.venue.market import SymbolMarket

BRACKET_CAP: Final = 1_000_000_000


def money(value_e8: int) -> str:
    """Money as replies pad it: eight decimals."""
    return signed(value_e8, 8)


def _amount(market: SymbolMarket, qty_e8: int) -> str:
    return signed(qty_e8, market.rules.qty_places)


def balances(exchange: Exchange, account: Account) -> list[dict[str, Any]]:
    """``balance``, the same in v2 and v3."""
    margin = account_margin(account, exchange.markets.values())
    available = money(available_e8(account, margin))
    return [
        {
            "accountAlias": "SgSim",
            "asset": MARGIN_ASSET,
            "balance": money(account.wallet_e8),
            "crossWalletBalance": money(account.wallet_e8),
            "crossUnPnl": money(margin.unrealised_e8),
            "availableBalance": available,
            "maxWithdrawAmount": available,
            "marginAvailable": True,
            "updateTime": account.updated_ms,
        }
    ]


def account_status(exchange: Exchange, account: Account, *, version: int) -> dict[str, Any]:
    """``account``: version 2 tells every symbol with its settings, version 3 the active ones."""
    margin = account_margin(account, exchange.markets.values())
    available = money(available_e8(account, margin))
    wallet = money(account.wallet_e8)
    margins = {
        "initialMargin": money(margin.initial_e8),
        "maintMargin": money(margin.maintenance_e8),
        "positionInitialMargin": money(margin.position_e8),
        "openOrderInitialMargin": money(margin.orders_e8),
    }
    margin_balance = money(account.wallet_e8 + margin.unrealised_e8)
    body: dict[str, Any] = {
        "totalInitialMargin": margins["initialMargin"],
        "totalMaintMargin": margins["maintMargin"],
        "totalWalletBalance": wallet,
        "totalUnrealizedProfit": money(margin.unrealised_e8),
        "totalMarginBalance": margin_balance,
        "totalPositionInitialMargin": margins["positionInitialMargin"],
        "totalOpenOrderInitialMargin": margins["openOrderInitialMargin"],
        "totalCrossWalletBalance": wallet,
        "totalCrossUnPnl": money(margin.unrealised_e8),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "assets": [
            {
                "asset": MARGIN_ASSET,
                "walletBalance": wallet,
                "unrealizedProfit": money(margin.unrealised_e8),
                "marginBalance": margin_balance,
                **margins,
                "crossWalletBalance": wallet,
                "crossUnPnl": money(margin.unrealised_e8),
                "availableBalance": available,
                "maxWithdrawAmount": available,
                "marginAvailable": True,
                "updateTime": account.updated_ms,
            }
        ],
        "positions": [
            _account_position(account, market, version)
            for market in exchange.markets.values()
            if version == 2 or _is_active(account, market)
        ],
    }
    if version == 2:
        body |= {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "tradeGroupId": -1,
            "updateTime": 0,
            "multiAssetsMargin": account.is_multi_assets,
        }
    return body


def _is_active(account: Account, market: SymbolMarket) -> bool:
    symbol = market.rules.symbol
    position = account.positions.get(symbol)
    return bool(position and position.qty_e8) or bool(account.open_orders.get(symbol))


def _account_position(account: Account, market: SymbolMarket, version: int) -> dict[str, Any]:
    symbol = market.rules.symbol
    position = account.position(symbol)
    margin = symbol_margin(account, market)
    row: dict[str, Any] = {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": _amount(market, position.qty_e8),
        "unrealizedProfit": money(margin.unrealised_e8),
        "isolatedMargin": "0",
        "notional": money(margin.notional_e8),
        "isolatedWallet": "0",
        "initialMargin": money(margin.initial_e8),
        "maintMargin": money(margin.maintenance_e8),
        "updateTime": position.updated_ms,
    }
    if version == 2:
        row |= {
            "positionInitialMargin": money(margin.position_e8),
            "openOrderInitialMargin": money(margin.orders_e8),
            "leverage": str(account.leverage(symbol)),
            "isolated": symbol in account.isolated,
            "entryPrice": format_e8(position.entry_e8(8)),
            "breakEvenPrice": format_e8(position.break_even_e8()),
            "maxNotional": str(BRACKET_CAP),
            "bidNotional": "0",
            "askNotional": "0",
        }
    return row


def position_risk(
    exchange: Exchange, account: Account, *, version: int, symbol: str = ""
) -> list[dict[str, Any]]:
    """``positionRisk``: version 2 tells every symbol, version 3 the active ones."""
    rows = []
    for market in exchange.markets.values():
        if symbol and market.rules.symbol != symbol:
            continue
        if version == 2 or _is_active(account, market):
            rows.append(_position_row(exchange, account, market, version))
    return rows


def _position_row(
    exchange: Exchange, account: Account, market: SymbolMarket, version: int
) -> dict[str, Any]:
    rules = market.rules
    position = account.position(rules.symbol)
    margin = symbol_margin(account, market)
    row: dict[str, Any] = {
        "symbol": rules.symbol,
        "positionSide": "BOTH",
        "positionAmt": _amount(market, position.qty_e8),
        "entryPrice": format_e8(position.entry_e8(min(8, rules.price_places + 3))),
        "breakEvenPrice": format_e8(position.break_even_e8()),
        "markPrice": money(market.mark_e8),
        "unRealizedProfit": money(margin.unrealised_e8),
        "liquidationPrice": format_e8(
            liquidation_price_e8(account, market, exchange.markets.values())
        ),
        "isolatedMargin": "0",
        "notional": money(margin.notional_e8),
        "marginAsset": MARGIN_ASSET,
        "isolatedWallet": "0",
        "initialMargin": money(margin.initial_e8),
        "maintMargin": money(margin.maintenance_e8),
        "positionInitialMargin": money(margin.position_e8),
        "openOrderInitialMargin": money(margin.orders_e8),
        "adl": 1 if position.qty_e8 else 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
    }
    if version == 2:
        is_isolated = rules.symbol in account.isolated
        row |= {
            "leverage": str(account.leverage(rules.symbol)),
            "marginType": "isolated" if is_isolated else "cross",
            "isAutoAddMargin": "false",
            "maxNotionalValue": str(BRACKET_CAP),
        }
    return row


def trade_row(exchange: Exchange, fill: Fill) -> dict[str, Any]:
    """One row of ``userTrades``."""
    rules = exchange.markets[fill.symbol].rules
    return {
        "symbol": fill.symbol,
        "pair": fill.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.name,
        "price": fixed(fill.price_e8, rules.price_places),
        "qty": fixed(fill.qty_e8, rules.qty_places),
        "quoteQty": format_e8(fill.quote_e8),
        "baseQty": "0",
        "realizedPnl": format_e8(fill.realised_e8),
        "marginAsset": MARGIN_ASSET,
        "commission": money(fill.fee_e8),
        "commissionAsset": MARGIN_ASSET,
        "time": fill.time_ms,
        "positionSide": "BOTH",
        "buyer": fill.side > 0,
        "maker": fill.is_maker,
    }


def income_row(income: Income) -> dict[str, Any]:
    """One row of ``income``."""
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": format_e8(income.amount_e8),
        "asset": MARGIN_ASSET,
        "info": income.kind,
        "time": income.time_ms,
        "tranId": income.transaction_id,
        "tradeId": income.trade_id,
    }


def leverage_bracket(market: SymbolMarket) -> dict[str, Any]:
    """One row of ``leverageBracket``: the simulator has a single bracket."""
    return {
        "symbol": market.rules.symbol,
        "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": 1,
                "initialLeverage": market.rules.leverage_max,
                "notionalCap": BRACKET_CAP,
                "notionalFloor": 0,
                "maintMarginRatio": MAINTENANCE_RATE_E8 / RATE_UNIT,
                "cum": 0.0,
            }
        ],
    }


def commission_rate(account: Account, symbol: str) -> dict[str, Any]:
    """``commissionRate``."""
    return {
        "symbol": symbol,
        "makerCommissionRate": format_e8(account.rates.maker),
        "takerCommissionRate": format_e8(account.rates.taker),
        "rpiCommissionRate": format_e8(account.rates.maker),
    }


def symbol_config(account: Account, market: SymbolMarket) -> dict[str, Any]:
    """One row of ``symbolConfig``."""
    symbol = market.rules.symbol
    return {
        "symbol": symbol,
        "marginType": "ISOLATED" if symbol in account.isolated else "CROSSED",
        "isAutoAddMargin": False,
        "leverage": account.leverage(symbol),
        "maxNotionalValue": str(BRACKET_CAP),
    }


def account_config(account: Account) -> dict[str, Any]:
    """``accountConfig``."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": account.is_hedged,
        "updateTime": account.updated_ms,
        "multiAssetsMargin": account.is_multi_assets,
        "tradeGroupId": -1,
    }
