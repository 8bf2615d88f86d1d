"""The byte layout of every record, written down: a change here is a change of the wire.

Whoever changes ``hft/records.py`` on purpose writes the new numbers here and notes the change under
*Changed* in the changelog: a running system has to be stopped for it, and old journals keep theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hft.core.generated import views
from hft.records import HEADER, HEADER_BYTES, RECORDS, RecordSpec


class Layout(NamedTuple):
    """Size in bytes, kind, hash, and the offset of every field after the header."""

    size: int
    kind: int
    layout_hash: int
    offsets: dict[str, int]


HEADER_OFFSETS = {
    "seq": 0, "publish_ns": 8, "origin_ns": 16, "cause_seq": 24, "instrument_id": 32,
    "kind": 36, "cause_ring": 38, "source": 40, "instrument_version": 42, "flags": 44,
    "mode": 46,
}  # fmt: skip
LAYOUTS = {
    "top_of_book": Layout(128, 1, 0x4F28826B6CFACD2E, {
        "bid_e8": 48, "ask_e8": 56, "bid_qty_e8": 64, "ask_qty_e8": 72, "as_of_ns": 80,
        "venue_ns": 88, "venue_seq": 96, "feed_state": 104, "is_book": 105,
        "reserved_1": 106, "reserved_2": 108, "reserved": 112,
    }),
    "trade": Layout(128, 2, 0x52F4C3963F2BC609, {
        "price_e8": 48, "qty_e8": 56, "trade_id": 64, "as_of_ns": 72, "venue_ns": 80,
        "aggressor_side": 88, "is_aggregate": 89, "reserved_1": 90, "reserved_2": 92,
        "reserved": 96,
    }),
    "mark_price": Layout(128, 3, 0x489DFD1ECAF52BEA, {
        "mark_e8": 48, "index_e8": 56, "funding_rate_e8": 64, "next_funding_ns": 72,
        "as_of_ns": 80, "venue_ns": 88, "reserved": 96,
    }),
    "feed_status": Layout(128, 4, 0x18204B59ED02E639, {
        "recv_ns": 48, "expected_seq": 56, "received_seq": 64, "gaps": 72,
        "feed_state": 80, "reserved_1": 81, "reserved_2": 82, "reserved_3": 84,
        "reserved": 88,
    }),
    "depth": Layout(128, 5, 0xA60F1A5472B5CDE0, {
        "price_e8": 48, "qty_e8": 80, "venue_seq": 112, "level_count": 120,
        "ask_mask": 122, "reserved_1": 124,
    }),
    "intent": Layout(128, 10, 0xCDD7ED95A4AE3DCE, {
        "order_id": 48, "price_e8": 56, "qty_e8": 64, "decide_ns": 72, "strategy_id": 80,
        "action": 82, "side": 83, "order_type": 84, "tif": 85, "is_post_only": 86,
        "is_reduce_only": 87, "good_till_s": 88, "reserved_1": 92, "reserved": 96,
    }),
    "decision": Layout(128, 11, 0x2711BEC19ED6EC7B, {
        "order_id": 48, "price_e8": 56, "qty_e8": 64, "decide_ns": 72, "strategy_id": 80,
        "action": 82, "side": 83, "order_type": 84, "tif": 85, "is_post_only": 86,
        "is_reduce_only": 87, "judge_ns": 88, "risk_epoch": 96, "position_e8": 104,
        "reason": 112, "policy_version": 114, "good_till_s": 116, "granted_state": 120,
        "reserved_1": 121, "reserved_2": 122, "reserved_3": 124,
    }),
    "execution": Layout(128, 12, 0x7C2A1F8F0466DB30, {
        "order_id": 48, "venue_order_id": 56, "trade_id": 64, "price_e8": 72, "qty_e8": 80,
        "cum_qty_e8": 88, "leaves_qty_e8": 96, "fee_e8": 104, "venue_ns": 112,
        "exec_kind": 120, "side": 121, "order_state": 122, "is_maker": 123,
        "fee_asset_id": 124, "reason": 126,
    }),
    "alert": Layout(128, 13, 0xC4EA04D4B799A969, {
        "value_e8": 48, "limit_e8": 56, "severity": 64, "reserved_1": 65, "code": 66,
        "reserved_2": 68, "text": 72,
    }),
    "journal": Layout(128, 14, 0xF857E3552ED32294, {
        "order_id": 48, "venue_order_id": 56, "trade_id": 64, "price_e8": 72, "qty_e8": 80,
        "cum_qty_e8": 88, "fee_e8": 96, "strategy_id": 104, "action": 106, "side": 107,
        "order_type": 108, "tif": 109, "is_post_only": 110, "is_reduce_only": 111,
        "journal_kind": 112, "order_state": 113, "reason": 114, "crc": 116,
        "fee_asset_id": 120, "is_maker": 122, "exec_kind": 123, "good_till_s": 124,
    }),
    "book": Layout(720, 20, 0xB7FDA9D4701A03B9, {
        "as_of_ns": 48, "venue_ns": 56, "venue_seq": 64, "bid_count": 72, "ask_count": 74,
        "feed_state": 76, "reserved_1": 77, "reserved_2": 78, "bid_e8": 80,
        "bid_qty_e8": 240, "ask_e8": 400, "ask_qty_e8": 560,
    }),
    "position": Layout(192, 21, 0xCA55904AD05BEDA, {
        "position_e8": 48, "average_price_e8": 56, "realised_pnl_e8": 64,
        "unrealised_pnl_e8": 72, "fee_e8": 80, "funding_e8": 88, "mark_e8": 96,
        "bought_qty_e8": 104, "sold_qty_e8": 112, "cost_whole_e8": 120,
        "cost_rest_e16": 128, "fills": 136, "executions_seq": 144, "venue_position_e8": 152,
        "reconciled_ns": 160, "adjusted_e8": 168, "liquidation_e8": 176, "differs": 184,
        "reserved_1": 185, "reserved_2": 186, "reserved_3": 188,
    }),
    "balance": Layout(96, 22, 0xE8A12DE2DD90652D, {
        "wallet_e8": 48, "venue_wallet_e8": 56, "available_e8": 64, "executions_seq": 72,
        "reconciled_ns": 80, "asset_id": 88, "differs": 90, "reserved_1": 91,
        "margin_ratio_bps": 92,
    }),
    "order": Layout(192, 23, 0xAEFEDA0BC4FFCDF2, {
        "order_id": 48, "venue_order_id": 56, "price_e8": 64, "qty_e8": 72,
        "cum_qty_e8": 80, "decision_seq": 88, "executions_seq": 96, "journal_seq": 104,
        "send_ns": 112, "ack_ns": 120, "request_ns": 128, "strategy_id": 136,
        "action": 138, "side": 139, "order_type": 140, "tif": 141, "is_post_only": 142,
        "is_reduce_only": 143, "order_state": 144, "pending": 145, "reason": 146,
        "cancel_reason": 148, "reserved_1": 150, "pending_price_e8": 152,
        "pending_qty_e8": 160, "traded_qty_e8": 168, "reserved": 176,
    }),
    "instrument": Layout(248, 24, 0x263066D77A59B1E3, {
        "symbol": 48, "base_asset": 88, "quote_asset": 104, "tick_e8": 120, "step_e8": 128,
        "price_min_e8": 136, "price_max_e8": 144, "qty_min_e8": 152, "qty_max_e8": 160,
        "market_qty_max_e8": 168, "notional_min_e8": 176, "multiplier_up_e8": 184,
        "multiplier_down_e8": 192, "orders_max": 200, "quote_asset_id": 204, "status": 206,
        "price_places": 207, "qty_places": 208, "reserved_1": 209, "reserved_2": 210,
        "reserved_3": 212, "reserved": 216,
    }),
}  # fmt: skip


def offsets(spec: RecordSpec) -> dict[str, int]:
    fields = spec.dtype.fields
    assert fields is not None
    return {name: offset for name, (_, offset, *_) in fields.items()}


def test_the_table_names_every_record() -> None:
    assert list(LAYOUTS) == [spec.name for spec in RECORDS]


@pytest.mark.parametrize("spec", RECORDS, ids=lambda spec: spec.name)
def test_a_record_lies_where_it_lay(spec: RecordSpec) -> None:
    layout = LAYOUTS[spec.name]
    assert offsets(spec) == HEADER_OFFSETS | layout.offsets
    assert spec.dtype.itemsize == layout.size
    assert int(spec.kind) == layout.kind
    assert f"0x{spec.layout_hash:016X}" == f"0x{layout.layout_hash:016X}"


@pytest.mark.parametrize("spec", RECORDS, ids=lambda spec: spec.name)
def test_the_generated_view_has_the_same_size(spec: RecordSpec) -> None:
    assert LAYOUTS[spec.name].size == getattr(views, spec.class_name).BYTES


def test_the_header_is_the_same_everywhere() -> None:
    assert [field.name for field in HEADER] == list(HEADER_OFFSETS)
    assert HEADER_BYTES == 48
    for spec in RECORDS:
        assert list(offsets(spec))[: len(HEADER)] == list(HEADER_OFFSETS)
