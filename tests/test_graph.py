"""The wiring table: what DESIGN promises of who writes, who gates and who may only look."""

from __future__ import annotations

import pytest

from hft import graph
from hft.graph import CELLS, COLD_ROLES, OPTIONAL_ROLES, RINGS, ROLE_IDS, ROLES, RingSpec, WhenFull
from hft.records import INTENT, Mode


def test_the_gating_pairs_are_exactly_the_lossless_ones() -> None:
    pairs = {(ring.name, reader) for ring in RINGS for reader in ring.gating}
    assert pairs == {
        ("intents.strategy", "risk"),
        ("intents.manual", "risk"),
        ("decisions", "execution"),
        ("executions", "account"),
        ("executions", "risk"),
    }


def test_a_ring_pauses_its_writer_exactly_where_somebody_gates() -> None:
    for ring in RINGS:
        assert (ring.when_full is WhenFull.PAUSE_INTAKE) == bool(ring.gating), ring.name


def test_execution_reads_orders_from_nobody_but_risk() -> None:
    """A strategy cannot bypass risk: the ring of its intents is not among execution's."""
    for ring in RINGS:
        if INTENT in ring.records:
            assert "execution" not in (*ring.gating, *ring.observers)
    decisions = graph.ring("decisions")
    assert decisions.writer == "risk"
    assert decisions.gating == ("execution",)


def test_every_segment_has_one_writer_that_is_a_role() -> None:
    names = [spec.name for spec in (*RINGS, *CELLS)]
    assert len(set(names)) == len(names)
    assert {spec.writer for spec in (*RINGS, *CELLS)} <= {*ROLES, *OPTIONAL_ROLES, "control"}
    assert [ring.name for ring in RINGS if ring.writer == "risk"] == ["decisions", "acts"]


def test_a_person_writes_one_small_ring_and_is_no_role_that_is_started() -> None:
    assert [ring.name for ring in RINGS if ring.writer == "control"] == ["intents.manual"]
    assert "control" in ROLE_IDS
    assert "control" not in ROLES
    assert graph.ring("intents.manual").gating == ("risk",)


def test_nobody_reads_what_it_writes_itself() -> None:
    for ring in RINGS:
        readers = (*ring.gating, *ring.observers, *ring.pollers)
        assert ring.writer not in readers, ring.name
        assert len(set(readers)) == len(readers), ring.name


def test_every_reader_is_a_role() -> None:
    readers = {
        reader for ring in RINGS for reader in (*ring.gating, *ring.observers, *ring.pollers)
    }
    readers |= {reader for cells in CELLS for reader in cells.readers}
    assert readers <= {*ROLES, *OPTIONAL_ROLES}


def test_nobody_waits_for_a_role_that_may_not_be_there() -> None:
    for ring in RINGS:
        assert not {*ring.gating, *ring.observers} & set(OPTIONAL_ROLES), ring.name


def test_the_journal_costs_its_writer_no_wake_up() -> None:
    journal = graph.ring("journal")
    assert journal.when_full is WhenFull.LAP_READERS
    assert (journal.gating, journal.observers, journal.pollers) == ((), (), ("recorder",))


def test_a_frame_wakes_nobody_but_who_acts_on_it() -> None:
    """In ``compact`` that is the same process: a tick costs no system call for others."""
    assert graph.ring("market").observers == ("strategy",)
    assert graph.ring("depth").observers == ()


def test_no_order_waits_for_a_cold_role() -> None:
    gating = {reader for ring in RINGS for reader in ring.gating if ring.name != "executions"}
    assert not gating & COLD_ROLES
    assert {*ROLES, *OPTIONAL_ROLES} > COLD_ROLES


def test_ids_are_not_shared() -> None:
    ring_ids = [ring.ring_id for ring in RINGS]
    assert len(set(ring_ids)) == len(ring_ids)
    assert len(set(ROLE_IDS.values())) == len(ROLE_IDS)
    assert {*ROLES, *OPTIONAL_ROLES} <= set(ROLE_IDS)


@pytest.mark.parametrize("ring", RINGS, ids=lambda ring: ring.name)
def test_a_gating_reader_has_a_cursor_of_its_own(ring: RingSpec) -> None:
    assert graph.cursor_index(ring.name) == ring.ring_id
    assert 0 < graph.cursor_index(ring.name) < 32


@pytest.mark.parametrize("ring", RINGS, ids=lambda ring: ring.name)
def test_the_layout_hash_follows_every_record_of_the_ring(ring: RingSpec) -> None:
    changed = ring.records[0]._replace(fields=ring.records[0].fields[1:])
    other = ring._replace(records=(changed, *ring.records[1:]))
    assert 0 < graph.ring_layout_hash(ring) < 2**64
    assert graph.ring_layout_hash(ring) != graph.ring_layout_hash(other)


def test_a_position_has_one_cell_for_each_mode() -> None:
    cells = {
        graph.position_cell(mode, instrument_id)
        for mode in graph.POSITION_MODES
        for instrument_id in range(graph.INSTRUMENTS_MAX)
    }
    assert cells == set(range(graph.cells("positions").capacity))
    assert graph.position_cell(Mode.LIVE, 3) == 3


def test_a_wallet_has_one_cell_for_each_mode() -> None:
    cells = {
        graph.balance_cell(mode, index)
        for mode in graph.POSITION_MODES
        for index in range(graph.ASSETS_MAX)
    }
    assert cells == set(range(graph.cells("balances").capacity))
    assert graph.balance_cell(Mode.LIVE, 3) == 3


def test_asking_for_a_segment_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        graph.ring("nothing")
    with pytest.raises(KeyError):
        graph.cells("nothing")


def test_a_page_is_named_after_its_role() -> None:
    assert graph.page_name("risk") == "page.risk"
