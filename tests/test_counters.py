"""Counters, gauges, histograms: one table each, which fits the page and can be read by a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hft.counters import COUNTERS, GAUGES, HISTOGRAMS, HOPS, RoleState
from hft.graph import ROLES

TABLES = [(COUNTERS, 256), (GAUGES, 64), (HISTOGRAMS, 24)]


@pytest.mark.parametrize(("table", "room"), TABLES, ids=["counters", "gauges", "histograms"])
def test_the_table_fits_the_role_page(table: Sequence[Any], room: int) -> None:
    assert table
    assert all(0 <= row.id < room for row in table)


@pytest.mark.parametrize(("table", "room"), TABLES, ids=["counters", "gauges", "histograms"])
def test_rows_are_named_once_and_explained(table: Sequence[Any], room: int) -> None:
    assert len({row.id for row in table}) == len(table)
    assert len({row.name for row in table}) == len(table)
    assert all(row.meaning and row.name.replace("_", "").isalnum() for row in table)


def test_a_histogram_belongs_to_a_role_or_to_all() -> None:
    assert {histogram.role for histogram in HISTOGRAMS} <= {"", *ROLES}
    assert set(HOPS) <= set(HISTOGRAMS)


def test_a_role_that_never_started_reads_as_zero() -> None:
    assert RoleState.NEVER_STARTED == 0
