import json

import numpy as np

from hft.units import NS_PER_MS
from tools.bench.load.result import document, table, targets


def verdicts(outcome):
    return {one.text: one.is_reached for one in targets(outcome)}


def test_steady_run_reaches_everything(outcome_of):
    outcome = outcome_of()
    assert all(verdicts(outcome).values())
    assert outcome.age is not None
    assert outcome.age.p50 == outcome.age.max == NS_PER_MS
    assert [one.frames for one in outcome.seconds] == [500] * 6
    assert all(one.waiting_max <= 1 for one in outcome.seconds)


def test_frame_that_the_feed_never_counted_is_lost(outcome_of):
    outcome = outcome_of(lost=3)
    assert outcome.lost == 3
    assert verdicts(outcome)["frames lost"] is False


def test_ticker_without_a_record_is_told_unless_nobody_looked(outcome_of):
    hidden = np.array([7, 8, 2_999])
    assert outcome_of(hidden=hidden).unpublished == 3
    assert verdicts(outcome_of(hidden=hidden))["tickers without a record"] is False
    assert outcome_of(hidden=hidden, unseen=3).unpublished == 0
    assert outcome_of(hidden=np.arange(1_000, 2_000)).waiting_last <= 1


def test_growing_backlog_is_told_although_nothing_is_lost(outcome_of):
    # Each frame is published 0.5 ms later than the one before it: after 6 s, 1.5 s late.
    outcome = outcome_of(age_ns=NS_PER_MS + np.arange(3_000) * NS_PER_MS // 2)
    assert outcome.lost == outcome.unpublished == 0
    assert outcome.waiting_last > 4 * outcome.waiting_first
    assert verdicts(outcome)["under way in the last sixth"] is False
    assert verdicts(outcome)["feed age p99"] is False


def test_rate_that_was_not_kept_is_told(outcome_of):
    assert verdicts(outcome_of(spacing_ns=3 * NS_PER_MS))["rate that was reached"] is False


def test_figures_are_told_as_text_and_as_json(outcome_of):
    outcome = outcome_of()
    text = "\n".join(table(outcome))
    assert "venue's write to record published" in text
    assert "under way, mean of the first sixth" in text
    found = json.loads(json.dumps(document(outcome)))
    assert found["age_ns"]["n"] == 3_000
    assert found["orders"]["missed"] == 0


def test_run_of_which_nothing_arrived_is_still_told(outcome_of):
    outcome = outcome_of(hidden=np.arange(3_000))
    assert outcome.age is None
    assert verdicts(outcome)["feed age p99"] is None
    assert "none" in "\n".join(table(outcome))
    json.dumps(document(outcome))
