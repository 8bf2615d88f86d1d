"""What a role gets from the house, and what it does not get."""

from __future__ import annotations

import msgspec
import pytest

import ipc
from hft import counters
from hft.config import InstrumentPlan
from hft.core.generated.views import Instrument
from hft.counters import RoleState
from hft.errors import UsageError
from hft.roles.context import InstrumentWatch


def test_successor_goes_on_counting_and_forgets_what_was_true_then(house):
    context = house.context("account")
    context.page.count(counters.FILLS_APPLIED.id, 3)
    context.page.set_gauge(counters.AGREES.id, 1)
    first_epoch = context.epoch
    house.end(context)
    successor = house.context("account")
    assert successor.page.counter(counters.FILLS_APPLIED.id) == 3
    assert successor.page.gauge(counters.AGREES.id) == 0
    assert successor.page.state == RoleState.STARTING
    assert successor.epoch > first_epoch


def test_role_maps_the_rings_of_others_read_only(house):
    context = house.context("strategy")
    with pytest.raises(AssertionError, match="does not write decisions"):
        context.ring_writer("decisions")
    reader, _ = context.ring_reader("decisions")
    segment = context._segments["decisions"]
    with pytest.raises(ipc.IpcError):
        segment.require_writable()
    assert not reader.next()


def test_only_risk_may_write_the_permit(house):
    with pytest.raises(ipc.IpcError):
        house.context("execution").permit().store(1)
    house.context("risk").permit().store(1)


def test_own_process_is_never_rung(house):
    context = house.context("feed")
    assert len(context.bells_of(("feed",))) == 0
    assert len(context.bells_of(("risk", "risk", "account"))) == 2


def test_successor_is_banned_like_its_predecessor(house):
    context = house.context("execution")
    context.page.set_gauge(counters.BANNED_UNTIL_MS.id, 1_800_000_000_000)
    context.page.set_gauge(counters.PAUSED_UNTIL_MS.id, 1_700_000_000_000)
    context.page.set_gauge(counters.OPEN_ORDERS.id, 3)
    house.end(context)
    page = house.context("execution").page
    assert page.gauge(counters.BANNED_UNTIL_MS.id) == 1_800_000_000_000
    assert page.gauge(counters.PAUSED_UNTIL_MS.id) == 1_700_000_000_000
    assert page.gauge(counters.OPEN_ORDERS.id) == 0


def test_watch_returns_every_row_once_and_then_what_has_changed(house):
    cells, row = house.context("feed").cell_writer("instruments")
    watch = InstrumentWatch(house.context("risk"))
    first = watch.poll()
    assert [view.symbol for view in first] == [b"BTCUSDT", b"ETHUSDT"]
    assert watch.poll() == []
    assert cells.read(2)
    view = Instrument(row)
    view.tick_e8, view.instrument_version = 7, view.instrument_version + 1
    cells.write(2)
    (changed,) = watch.poll()
    assert (changed.instrument_id, changed.tick_e8, changed.instrument_version) == (2, 7, 2)
    assert first[1].tick_e8 != 7, "a view owns its bytes"
    assert watch.poll() == []


def test_instrument_without_a_row_is_told_in_words(house):
    instrument = InstrumentPlan(instrument_id=9, symbol="XRPUSDT")
    house.plan = msgspec.structs.replace(house.plan, instruments=(instrument,))
    with pytest.raises(UsageError, match="XRPUSDT has no row"):
        InstrumentWatch(house.context("risk")).poll()
