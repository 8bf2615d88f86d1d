"""The wallet is what was paid in plus every row of income, whatever befalls the account."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hft.records import Side
from hft.units import parse_e8
from tools.venue import account_views as views
from tools.venue.errors import ApiError
from tools.venue.truth import TruthHandlers

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MIDDLES = {"BTCUSDT": 64_000, "ETHUSDT": 3_200}
ACCOUNT_KINDS = (
    "partial_fill",
    "liquidation",
    "auto_deleveraging",
    "foreign_order",
    "foreign_algo_order",
    "foreign_trade",
    "funding",
    "transfer",
)
acts = st.one_of(
    st.tuples(st.just("order"), st.sampled_from(SYMBOLS), st.sampled_from(["BUY", "SELL"]),
              st.integers(-20, 20), st.integers(1, 400)),
    st.tuples(st.just("quote"), st.sampled_from(SYMBOLS), st.integers(-30, 30)),
    st.tuples(st.just("fault"), st.sampled_from(ACCOUNT_KINDS), st.sampled_from(SYMBOLS)),
    st.tuples(st.just("later"), st.floats(0.01, 10)),
)  # fmt: skip


def books_of(make_venue):
    venue = make_venue(symbols=SYMBOLS)
    for symbol in SYMBOLS:
        quote(venue, symbol, 0)
    return venue


def quote(venue, symbol, shift):
    """Move the market of a symbol: everything of ours in its way is filled."""
    market = venue.exchange.markets[symbol]
    now_ms = venue.exchange.clock_ms()
    for side in (Side.BUY, Side.SELL):
        for price_e8, _ in market.book.levels(side, 100):
            market.set_level(side, price_e8, 0, now_ms)
            market.commit(now_ms)
    middle = MIDDLES[symbol] + shift
    for distance in range(1, 40):
        for side in (Side.BUY, Side.SELL):
            price_e8 = parse_e8(str(middle - side * distance))
            market.set_level(side, price_e8, parse_e8("0.5"), now_ms)
            market.commit(now_ms)
    market.mark_e8 = parse_e8(str(middle))


def act(venue, what):
    match what:
        case ("order", symbol, side, distance, lots):
            params = {
                "symbol": symbol,
                "side": side,
                "type": "LIMIT",
                "timeInForce": "GTC",
                "price": str(MIDDLES[symbol] + distance),
                "quantity": f"{lots / 1000:.3f}",
            }
            with suppress(ApiError):
                venue.desk.place(venue.account, params, stp_default="EXPIRE_MAKER")
        case ("quote", symbol, shift):
            quote(venue, symbol, shift)
        case ("fault", kind, symbol):
            options = {"symbol": symbol} if kind not in ("funding", "transfer") else {}
            venue.faults.begin(kind, options)
        case ("later", seconds):
            venue.later(seconds)
            venue.algo_desk.turn()


@given(st.lists(acts, max_size=25))
def test_wallet_is_the_deposit_and_every_income(make_venue, sequence):
    venue = books_of(make_venue)
    for what in sequence:
        act(venue, what)
    account, exchange = venue.account, venue.exchange
    assert account.wallet_e8 == account.deposited_e8 + sum(i.amount_e8 for i in account.incomes)
    ids = [income.transaction_id for income in account.incomes]
    assert len(set(ids)) == len(ids)
    assert TruthHandlers(exchange).truth({})["wallet_adds_up"]
    for version in (2, 3):
        status = views.account_status(exchange, account, version=version)
        assert parse_e8(status["totalWalletBalance"]) == account.wallet_e8
        (balance,) = views.balances(exchange, account)
        assert parse_e8(balance["balance"]) == account.wallet_e8
        risks = {r["symbol"]: r for r in views.position_risk(exchange, account, version=version)}
        held = {r["symbol"]: r["positionAmt"] for r in status["positions"]}
        for symbol in SYMBOLS:
            signed_e8 = sum(f.side * f.qty_e8 for f in account.fills if f.symbol == symbol)
            assert account.position(symbol).qty_e8 == signed_e8
            assert parse_e8(held.get(symbol, "0")) == signed_e8
            if symbol in risks:
                assert parse_e8(risks[symbol]["positionAmt"]) == signed_e8
                assert risks[symbol]["positionAmt"] == held[symbol]
    updates = [e["a"] for n, name, e in venue.events if name == "ACCOUNT_UPDATE"]
    if updates:
        assert parse_e8(updates[-1]["B"][0]["wb"]) == account.wallet_e8


@given(st.lists(acts, max_size=25))
def test_every_trade_belongs_to_an_order_that_can_be_asked_for(make_venue, sequence):
    venue = books_of(make_venue)
    for what in sequence:
        act(venue, what)
    filled_e8: dict[int, int] = {}
    for fill in venue.account.fills:
        filled_e8[fill.order_id] = filled_e8.get(fill.order_id, 0) + fill.qty_e8
        row = views.trade_row(venue.exchange, fill)
        params = {"symbol": row["symbol"], "orderId": str(row["orderId"])}
        order = venue.desk.query(venue.account, params)
        assert order["clientOrderId"] == fill.client_order_id
        assert order["side"] == row["side"]
    for order_id, order in venue.account.orders.items():
        assert order.filled_e8 == filled_e8.get(order_id, 0)
