"""A scrape shows what stands in pages, rings and cells, and survives what it looks at."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from hft import counters
from hft.counters import RoleState
from hft.graph import OPTIONAL_ROLES, ROLES, RoleId, position_cell
from hft.records import FeedState, Mode, OrderState, Side
from hft.units import E8
from tools.metrics import names
from tools.metrics.collector import SystemCollector
from tools.metrics.watched import Watched

BTC, ETH = 3, 7


class Scraper:
    """A registry over one system."""

    def __init__(self, run_dir: Path) -> None:
        self.watched = Watched(run_dir.parent, run_dir.name)
        self.registry = CollectorRegistry()
        self.registry.register(SystemCollector(self.watched))

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def scraper(made_system) -> Iterator[Scraper]:
    found = Scraper(made_system.run_dir)
    yield found
    found.watched.close()


@pytest.fixture
def with_paper(make_system):
    return make_system(roles=(*ROLES, *OPTIONAL_ROLES))


@pytest.fixture
def paper_scraper(with_paper) -> Iterator[Scraper]:
    found = Scraper(with_paper.run_dir)
    yield found
    found.watched.close()


def test_every_counter_stands_under_its_name(with_paper, paper_scraper: Scraper) -> None:
    for number, spec in enumerate(counters.COUNTERS, 1):
        role = names.counter_roles(spec)[0]
        with_paper.pages[role].count(spec.id, number)
    for number, spec in enumerate(counters.COUNTERS, 1):
        role = names.counter_roles(spec)[0]
        assert paper_scraper.value(f"hft_{spec.name}_total", role=role) == number


def test_a_counter_of_another_role_shows_once_it_counts(made_system, scraper: Scraper) -> None:
    assert scraper.value("hft_garbage_total", role="account") is None
    made_system.pages["account"].count(counters.GARBAGE.id)
    assert scraper.value("hft_garbage_total", role="account") == 1


def test_every_gauge_stands_under_its_name_in_base_units(
    with_paper, paper_scraper: Scraper
) -> None:
    for spec in counters.GAUGES:
        for role in names.gauge_roles(spec):
            with_paper.pages[role].set_gauge(spec.id, 1)
            assert paper_scraper.value(names.gauge_name(spec), role=role) is not None
    with_paper.pages["execution"].set_gauge(counters.ROUND_TRIP_NS.id, 2_500_000)
    assert paper_scraper.value("hft_round_trip_seconds", role="execution") == 0.0025


def test_a_histogram_has_buckets_count_sum_and_maximum(made_system, scraper: Scraper) -> None:
    page = made_system.pages["execution"]
    for duration_ns in (900, 40_000, 3_000_000):
        page.record_ns(counters.TICK_TO_TRADE_NS.id, duration_ns)
    name = "hft_tick_to_trade_seconds"
    assert scraper.value(f"{name}_bucket", role="execution", le="1e-06") == 1
    assert scraper.value(f"{name}_bucket", role="execution", le="5e-05") == 2
    assert scraper.value(f"{name}_bucket", role="execution", le="+Inf") == 3
    assert scraper.value(f"{name}_count", role="execution") == 3
    assert scraper.value(f"{name}_sum", role="execution") == pytest.approx(0.0030409, rel=0.01)
    assert scraper.value("hft_tick_to_trade_max_seconds", role="execution") == 0.003


def test_a_role_shows_its_state_and_heartbeat(made_system, scraper: Scraper) -> None:
    made_system.pages["feed"].state = int(RoleState.FAILED)
    assert scraper.value("hft_role_state", role="feed", state="failed") == 1
    assert scraper.value("hft_role_state", role="feed", state="ready") == 0
    age_s = scraper.value("hft_beat_age_seconds", role="feed")
    assert age_s is not None
    assert 0 <= age_s < 60


def test_lag_is_what_a_gating_reader_has_not_taken(made_system, scraper: Scraper) -> None:
    for _ in range(3):
        made_system.publish("decisions", source=int(RoleId.RISK))
    made_system.pages["execution"].cursor(4).store(1)
    assert scraper.value("hft_ring_lag", ring="decisions", role="execution") == 2
    assert scraper.value("hft_ring_records_total", ring="decisions", role="risk") == 3
    assert scraper.value("hft_ring_capacity", ring="decisions") == 4_096


def test_journal_entries_count_until_they_are_on_disk(made_system, scraper: Scraper) -> None:
    for _ in range(5):
        made_system.publish("journal")
    made_system.pages["recorder"].set_gauge(counters.COPIED_SEQ.id, 3)
    assert scraper.value("hft_journal_not_on_disk") == 2


def test_positions_name_symbol_strategy_and_mode(made_system, scraper: Scraper) -> None:
    made_system.write_cell(
        "positions", position_cell(Mode.LIVE, BTC), position_e8=-2 * E8, mark_e8=100 * E8,
        average_price_e8=101 * E8, realised_pnl_e8=E8, fee_e8=E8 // 4, fills=7, differs=1,
    )  # fmt: skip
    made_system.write_cell("positions", position_cell(Mode.PAPER, ETH), position_e8=E8)
    btc = {"symbol": "BTCUSDT", "strategy": "maker", "mode": "live"}
    assert scraper.value("hft_position", **btc) == -2
    assert scraper.value("hft_position_notional", **btc) == -200
    assert scraper.value("hft_average_price", **btc) == 101
    assert scraper.value("hft_realised_pnl", **btc) == 1
    assert scraper.value("hft_fees", **btc) == 0.25
    assert scraper.value("hft_position_fills_total", **btc) == 7
    assert scraper.value("hft_position_differs", **btc) == 1
    assert scraper.value("hft_position", symbol="ETHUSDT", strategy="", mode="paper") == 1


def test_a_strategy_on_paper_owns_what_is_held_on_paper(with_paper, paper_scraper) -> None:
    with_paper.write_cell("positions", position_cell(Mode.LIVE, BTC), position_e8=E8)
    with_paper.write_cell("positions", position_cell(Mode.PAPER, BTC), position_e8=-E8)
    for strategy, mode, qty in (("maker", "live", 1), ("twin", "paper", -1)):
        labels = {"symbol": "BTCUSDT", "strategy": strategy, "mode": mode}
        assert paper_scraper.value("hft_position", **labels) == qty


def test_wallets_name_their_asset(made_system, scraper: Scraper) -> None:
    made_system.write_cell("balances", 1, asset_id=1, wallet_e8=5 * E8, available_e8=4 * E8)
    assert scraper.value("hft_wallet", asset="USDT") == 5
    assert scraper.value("hft_available", asset="USDT") == 4


def test_orders_are_counted_by_side_and_the_oldest_unknown_has_its_age(
    made_system, scraper: Scraper
) -> None:
    assert scraper.value("hft_unknown_order_age_seconds") == 0
    row = {"order_id": 1, "instrument_id": BTC, "side": int(Side.BUY)}
    made_system.write_cell("orders", 0, **row, order_state=int(OrderState.WORKING))
    long_ago_ns = time.monotonic_ns() - 30_000_000_000
    unknown = {"order_state": int(OrderState.UNRESOLVED), "request_ns": long_ago_ns}
    made_system.write_cell("orders", 5, **row, **unknown)
    labels = {"symbol": "BTCUSDT", "strategy": "maker"}
    assert scraper.value("hft_working_orders", **labels, side="buy") == 2
    assert scraper.value("hft_working_orders", **labels, side="sell") == 0
    age_s = scraper.value("hft_unknown_order_age_seconds")
    assert age_s is not None
    assert age_s >= 30


def test_books_show_best_prices_and_trust(made_system, scraper: Scraper) -> None:
    made_system.write_cell(
        "books", BTC, feed_state=int(FeedState.LIVE), bid_count=1, ask_count=1,
        bid_e8=[100 * E8], ask_e8=[101 * E8], as_of_ns=time.monotonic_ns(),
    )  # fmt: skip
    assert scraper.value("hft_best_bid", symbol="BTCUSDT") == 100
    assert scraper.value("hft_best_ask", symbol="BTCUSDT") == 101
    assert scraper.value("hft_feed_live", symbol="BTCUSDT") == 1
    assert scraper.value("hft_feed_live", symbol="ETHUSDT") == 0


def test_health_is_the_judgement_of_status(made_system, scraper: Scraper) -> None:
    made_system.beat()
    assert scraper.watched.problems() == ()
    assert scraper.value("hft_healthy") == 1
    made_system.pages["execution"].set_gauge(counters.UNKNOWN_ORDERS.id, 2)
    assert scraper.watched.problems() == ("2 orders are unknown",)
    assert scraper.value("hft_healthy") == 0
    assert scraper.value("hft_halted") == 0
    made_system.halt("a drill")
    assert scraper.value("hft_halted") == 1


def test_a_restart_of_the_system_is_survived(make_system: Callable) -> None:
    first = make_system()
    scraper = Scraper(first.run_dir)
    first.pages["feed"].count(counters.FRAMES.id, 41)
    assert scraper.value("hft_up") == 1
    assert scraper.value("hft_frames_total", role="feed") == 41
    first.remove()
    assert scraper.value("hft_up") == 0
    assert scraper.value("hft_frames_total", role="feed") is None
    assert len(scraper.watched.problems()) == 1
    second = make_system()
    second.pages["feed"].count(counters.FRAMES.id, 2)
    assert scraper.value("hft_up") == 1
    assert scraper.value("hft_frames_total", role="feed") == 2
    scraper.watched.close()


def test_segments_that_go_away_between_two_words_do_no_harm(make_system: Callable) -> None:
    system = make_system()
    scraper = Scraper(system.run_dir)
    with scraper.watched.view() as view:
        assert view is not None
        system.remove()
        assert view.attached.pages["feed"].counter(counters.FRAMES.id) == 0
        assert view.attached.newest_seq("journal") == 0
        assert view.looker.look().name == system.plan.name
    assert scraper.value("hft_up") == 0
    scraper.watched.close()


def test_a_scrape_reads_only(made_system, scraper: Scraper) -> None:
    scraper.text()
    with scraper.watched.view() as view:
        assert view is not None
        assert not [page for page in view.attached.pages.values() if page.segment.writable]


def test_every_family_is_explained_and_named_once(scraper: Scraper) -> None:
    families = list(scraper.registry.collect())
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    assert all(family.name.startswith("hft_") for family in families)
    labels = {label for family in families for one in family.samples for label in one.labels}
    assert labels <= {"role", "ring", "symbol", "strategy", "mode", "asset", "side", "process",
                      "state", "system", "topology", "le"}  # fmt: skip


def test_promtool_finds_nothing_to_mend(scraper: Scraper) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=scraper.text(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_roles_of_the_system_are_shown(scraper: Scraper) -> None:
    assert shown_roles(scraper) == [*ROLES]


def test_the_optional_role_beats_and_counts_where_it_runs(
    with_paper, paper_scraper: Scraper
) -> None:
    with_paper.pages["paper"].record_ns(counters.TURN_NS.id, 900)
    assert shown_roles(paper_scraper) == [*ROLES, "paper"]
    assert paper_scraper.value("hft_beat_age_seconds", role="paper") is not None
    assert paper_scraper.value("hft_turn_seconds_count", role="paper") == 1
    assert paper_scraper.value("hft_open_orders", role="paper") == 0


def shown_roles(scraper: Scraper) -> list[str]:
    everybody = (*ROLES, *OPTIONAL_ROLES)
    return [role for role in everybody if scraper.value("hft_work_total", role=role) is not None]
