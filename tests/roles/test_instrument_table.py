"""The instrument table follows the venue, row by row, and never believes nonsense."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hft.core.generated.views import Instrument
from hft.errors import VenueError
from hft.records import InstrumentStatus
from hft.roles.context import InstrumentWatch
from hft.roles.instrument_table import TOLD_NS, VERSIONS, InstrumentTable
from hft.units import E8, NS_PER_S
from hft.venues.binance_usdm.exchange_info import ContractChange, parse_contract_change

BTC, ETH = 1, 2
NOW_NS = 1_000 * NS_PER_S


def listed(symbol: str, *, tick: str = "0.1", status: str = "TRADING") -> dict[str, Any]:
    return {
        "symbol": symbol, "status": status, "baseAsset": symbol[:3], "quoteAsset": "USDT",
        "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": "0", "maxPrice": "0"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
    }  # fmt: skip


def info(*symbols: dict[str, Any]) -> bytes:
    return orjson.dumps({"rateLimits": [], "symbols": [*symbols, listed("OTHER", tick="x")]})


@pytest.fixture
def table(house) -> InstrumentTable:
    table = InstrumentTable(house.context("feed"))
    table.on_exchange_info(info(listed("BTCUSDT"), listed("ETHUSDT")), NOW_NS)
    return table


@pytest.fixture
def watch(house, table) -> InstrumentWatch:
    watch = InstrumentWatch(house.context("risk"))
    watch.poll()
    return watch


def rows(watch: InstrumentWatch) -> dict[int, Instrument]:
    return {view.instrument_id: view for view in watch.poll()}


def test_same_rules_change_nothing(table, watch):
    assert table.on_exchange_info(info(listed("ETHUSDT"), listed("BTCUSDT")), NOW_NS) == []
    assert watch.poll() == []


def test_changed_filter_is_a_new_version_of_that_row_only(table, watch):
    body = info(listed("BTCUSDT", tick="0.5"), listed("ETHUSDT"))
    assert table.on_exchange_info(body, NOW_NS) == [BTC]
    changed = rows(watch)
    assert list(changed) == [BTC]
    assert changed[BTC].tick_e8 == E8 // 2
    assert changed[BTC].quote_asset_id == 1


@pytest.mark.parametrize("status", ["TRADING_HALT", "SETTLING", "A_WORD_NOBODY_KNOWS"])
def test_status_that_is_not_trading_is_doubtful_until_it_is_again(table, watch, status):
    table.on_exchange_info(info(listed("BTCUSDT", status=status), listed("ETHUSDT")), NOW_NS)
    assert not table.is_trading(BTC)
    assert table.is_trading(ETH)
    assert table.is_doubtful
    table.on_exchange_info(info(listed("BTCUSDT"), listed("ETHUSDT")), NOW_NS)
    assert not table.is_doubtful


def test_symbol_that_has_gone_is_delisted_and_keeps_its_filters(table, watch):
    assert table.on_exchange_info(info(listed("ETHUSDT")), NOW_NS) == [BTC]
    row = rows(watch)[BTC]
    assert (row.status, row.tick_e8) == (InstrumentStatus.DELISTED, E8 // 10)


@pytest.mark.parametrize("tick", ["0", "0.000000001", "nonsense"])
def test_filters_that_make_no_sense_stop_the_symbol_and_are_not_taken(table, watch, tick):
    body = info(listed("BTCUSDT", tick=tick), listed("ETHUSDT"))
    assert table.on_exchange_info(body, NOW_NS) == [BTC]
    row = rows(watch)[BTC]
    assert (row.status, row.tick_e8) == (InstrumentStatus.UNKNOWN, E8 // 10)


def test_body_that_is_none_changes_nothing(table, watch):
    with pytest.raises(VenueError):
        table.on_exchange_info(b'{"code":-1000,"msg":"busy"}', NOW_NS)
    assert watch.poll() == []


def test_status_that_the_stream_told_holds_against_an_older_answer(table, watch):
    halted = ContractChange(symbol="BTCUSDT", status=InstrumentStatus.HALTED)
    assert table.on_contract_change(halted, NOW_NS) == [BTC]
    assert table.on_contract_change(halted, NOW_NS) == []
    body = info(listed("BTCUSDT", tick="0.5"), listed("ETHUSDT"))
    assert table.on_exchange_info(body, NOW_NS + 1) == [BTC]
    row = rows(watch)[BTC]
    assert (row.status, row.tick_e8) == (InstrumentStatus.HALTED, E8 // 2)
    assert table.on_exchange_info(body, NOW_NS + TOLD_NS) == [BTC]
    assert table.is_trading(BTC)


def test_answer_decides_once_the_stream_was_interrupted(table):
    table.on_contract_change(
        ContractChange(symbol="BTCUSDT", status=InstrumentStatus.HALTED), NOW_NS
    )
    table.forget_told()
    table.on_exchange_info(info(listed("BTCUSDT"), listed("ETHUSDT")), NOW_NS + 1)
    assert table.is_trading(BTC)


def test_change_of_a_symbol_that_is_not_ours_is_nobodys_business(table):
    other = ContractChange(symbol="XRPUSDT", status=InstrumentStatus.HALTED)
    assert table.on_contract_change(other, NOW_NS) == []


def test_versions_go_round_without_zero(table, watch):
    assert table._cells.read(ETH)
    table._view.instrument_version = VERSIONS
    table._cells.write(ETH)
    watch.poll()
    halted = ContractChange(symbol="ETHUSDT", status=InstrumentStatus.HALTED)
    assert table.on_contract_change(halted, NOW_NS) == [ETH]
    assert rows(watch)[ETH].instrument_version == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ('"s":"BTCUSDT","cs":"TRADING","st":1', InstrumentStatus.TRADING),
        ('"bks":[{"bs":1}],"cs":"SETTLING","s":"BTCUSDT"', InstrumentStatus.DELISTED),
        ('"s":"BTCUSDT","cs":"NEW_WORD","st":1', InstrumentStatus.UNKNOWN),
    ],
)
def test_contract_event_is_read(data, status):
    frame = f'{{"stream":"!contractInfo","data":{{"e":"contractInfo",{data}}}}}'.encode()
    assert parse_contract_change(memoryview(frame)) == ContractChange(
        symbol="BTCUSDT", status=status
    )


@pytest.mark.parametrize("data", ['"s":"BTCUSD_PERP","st":2', '"st":1', '"s":7'])
def test_contract_event_of_something_else_is_none(data):
    frame = f'{{"stream":"!contractInfo","data":{{"e":"contractInfo",{data}}}}}'.encode()
    assert parse_contract_change(memoryview(frame)) is None
