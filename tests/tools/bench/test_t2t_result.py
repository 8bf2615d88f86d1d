import pytest

from tools.bench.t2t.contenders import CONTENDERS, Contender
from tools.bench.t2t.load import USUAL
from tools.bench.t2t.pairing import Paired
from tools.bench.t2t.result import Result as Row
from tools.bench.t2t.result import (
    Results,
    compare,
    figures,
    hop_of,
    table,
    target_lines,
    targets,
)
from tools.bench.t2t.runs import Run


def contender(name: str) -> Contender:
    return next(one for one in CONTENDERS if one.name == name)


def row(name: str, *rounds: tuple[int, ...], profile: str = "steady", missed: int = 0) -> Row:
    result = Row(contender(name), profile)
    for latency_ns in rounds:
        result.add(Run(Paired(latency_ns, missed, 0, 0), USUAL, 100, 1_000, 0, 0))
    return result


def results(*rows: Row) -> Results:
    return {(one.profile, one.contender.name): one for one in rows}


def test_figures_are_samples_not_interpolations():
    found = figures(range(1_000, 101_000, 1_000))
    assert found is not None
    assert found[:] == (50_000, 90_000, 99_000, 100_000, 100)
    assert figures(()) is None


def test_ratio_is_taken_within_each_round():
    rows = results(row("compact", (10, 10), (90, 90), (20, 20)), row("floor", (10,), (30,), (20,)))
    found = compare(rows, ("steady", "compact"), ("steady", "floor"), "p50", lambda a, b: a / b)
    assert found == (1.0, 1.0, 3.0)


def test_round_without_an_answer_is_left_out():
    rows = results(row("compact", (), (90,)), row("floor", (10,), (30,)))
    found = compare(rows, ("steady", "compact"), ("steady", "floor"), "p50", lambda a, b: a / b)
    assert found == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("compact_us", "verdict"), [(20, "reached"), (23, "reached"), (24, "NOT reached")]
)
def test_compact_may_be_three_microseconds_behind_the_script(compact_us: int, verdict: str):
    rows = results(row("compact", (compact_us * 1_000,)), row("script", (20_000,)))
    line = target_lines(targets(rows))[0]
    assert line.startswith("compact p50 - script p50")
    assert line.endswith(f" {verdict}")


def test_target_of_rows_that_did_not_run_is_not_measured():
    reached = {one.target.text: one.target for one in targets(results(row("floor", (1,))))}
    assert reached["compact p50 / C floor p50"].is_reached is None
    assert not any(text.startswith("rows of hft") for text in reached)


@pytest.mark.parametrize(("late_ns", "is_reached"), [(1_000_000, True), (1_000_001, False)])
def test_figures_of_a_venue_that_was_late_fail(late_ns: int, is_reached: bool):
    result = row("floor", (1,))
    result.late_ns = [10, late_ns]
    paced = [one.target for one in targets(results(result)) if "late" in one.target.text]
    assert [target.is_reached for target in paced] == [is_reached]


def test_nothing_is_reached_beside_a_venue_that_was_late():
    rows = results(row("compact", (20_000,)), row("script", (20_000,)))
    rows["steady", "compact"].late_ns = [2_000_000]
    lines = target_lines(targets(rows))
    assert lines[0].endswith("not judged: the venue was late")
    assert lines[1].endswith("not measured")
    late = next(line for line in lines if line.startswith("venue's frames late"))
    assert late.endswith("<= 1000 us NOT reached")


def test_system_that_missed_a_trigger_fails():
    rows = results(row("compact", (1,), missed=1))
    assert targets(rows)[-1].target.is_reached is False


def test_table_names_who_answered_nothing():
    rows = results(row("floor", (1_000, 2_000)), row("script", ()))
    lines = table(rows, "steady")
    assert len(lines) == 4
    assert "answered nothing" in lines[3]
    assert table(rows, "burst")[2:] == []


def test_histogram_for_the_drawing_has_every_sample():
    hop = hop_of(row("floor", (100, 1_000, 1_000_000), (5,)))
    assert hop.total == 4
    assert hop.max_ns == 1_000_000
    assert hop.percentile_ns(0.5) == pytest.approx(100, rel=0.02)
