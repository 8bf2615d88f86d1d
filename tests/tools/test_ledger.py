"""The demo's books by strategy: what its own end causes is on nobody's account."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hft.core.order_ids import OrderIdMaker
from hft.records import Kind, Reason
from tools.demo.ledger import Ledger

BTC, ETH = 3, 7
MAKER = 1


@pytest.fixture
def ledger(made_system: Any) -> Iterator[Ledger]:
    ledger = Ledger(made_system.plan)
    yield ledger
    ledger.close()


def refuse(system: Any, reason: Reason) -> None:
    system.publish(
        "decisions",
        kind=int(Kind.DECISION),
        instrument_id=BTC,
        strategy_id=MAKER,
        order_id=OrderIdMaker(MAKER, 1).next(),
        reason=int(reason),
        judge_ns=time.monotonic_ns(),
    )


def test_refusals_count_until_the_demo_halts_itself(made_system: Any, ledger: Ledger) -> None:
    refuse(made_system, Reason.NONE)
    refuse(made_system, Reason.PRICE_COLLAR)
    refuse(made_system, Reason.TRADING_HALTED)  # by an operator: it is told
    ledger.end_trading()
    refuse(made_system, Reason.TRADING_HALTED)
    refuse(made_system, Reason.STALE_DATA)
    ledger.poll()
    (maker,) = ledger.results({BTC: 0, ETH: 0})
    assert maker.refused == 2
    assert maker.refusals == {"PRICE_COLLAR": 1, "TRADING_HALTED": 1}
