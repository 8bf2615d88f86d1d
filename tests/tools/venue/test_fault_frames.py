from __future__ import annotations

import json

from tools.venue.outlet import Channel


def send_user(venue, sink, *names):
    for number, name in enumerate(names):
        payload = json.dumps({"e": name, "number": number}).encode()
        venue.exchange.outlet.send(sink, Channel.USER, name, payload)


def hits(venue, kind):
    return venue.faults.ledger.hits[kind]


def test_skipped_depth_frame_breaks_pu_for_all_who_listen(venue, depth, recorder):
    other = recorder
    venue.exchange.hub.listen(other, "btcusdt@depth@0ms", is_combined=True)
    venue.fault("skip_depth")
    for _ in range(3):
        depth()
    first, second = depth.sink.take()
    assert first["pu"] != second["pu"] == first["u"]
    assert [f["data"]["u"] for f in other.take()] == [first["u"], second["u"]]
    assert hits(venue, "skip_depth") == 1
    venue.later(0.01)
    assert venue.exchange.outlet.frame_hook is None


def test_duplicated_depth_frame_comes_twice_in_a_row(venue, depth):
    venue.fault("duplicate_depth", count="2")
    for _ in range(3):
        depth()
    ids = [frame["u"] for frame in depth.sink.take()]
    assert ids == [ids[0], ids[0], ids[2], ids[2], ids[4]]
    assert hits(venue, "duplicate_depth") == 2


def test_reordered_depth_frames_change_places(venue, depth):
    venue.fault("reorder_depth")
    for _ in range(3):
        depth()
    ids = [frame["u"] for frame in depth.sink.take()]
    assert sorted(ids) == [ids[1], ids[0], ids[2]]


def test_frozen_market_is_silent_and_comes_back_with_a_gap(venue, depth):
    venue.fault("freeze_market", seconds="1")
    depth()
    assert depth.sink.take() == []
    venue.later(1.0)
    depth()
    assert len(depth.sink.take()) == 1


def test_late_frames_keep_their_order_and_hold_back_what_follows(venue, recorder):
    sink = recorder
    venue.fault("delay_user", seconds="0.1", milliseconds="200")
    send_user(venue, sink, "A")
    venue.later(0.15)
    send_user(venue, sink, "B")
    assert sink.take() == []
    venue.later(0.1)
    assert [f["e"] for f in sink.take()] == ["A", "B"]
    send_user(venue, sink, "C")
    assert [f["e"] for f in sink.take()] == ["C"]


def test_user_events_are_lost_or_come_twice_on_each_connection(venue, recorder):
    one, two = recorder, type(recorder)()
    venue.fault("duplicate_user", count="1")
    for sink in (one, two):
        send_user(venue, sink, "A", "B")
        assert [f["e"] for f in sink.take()] == ["A", "A", "B"]
    venue.later(5)
    venue.fault("lose_user", count="1")
    send_user(venue, one, "A", "B")
    assert [f["e"] for f in one.take()] == ["B"]


def test_filled_is_told_again_after_later_events(venue, recorder):
    sink = recorder
    venue.exchange.deliver = lambda _account, name, payload: venue.exchange.outlet.send(
        sink, Channel.USER, name, payload
    )
    venue.fault("repeat_filled", seconds="1", milliseconds="300")
    venue.place(type="MARKET")
    filled = next(f for f in sink.take() if f.get("o", {}).get("X") == "FILLED")
    venue.place()
    sink.take()
    venue.later(0.4)
    assert sink.take() == [filled]


def test_reordering_keeps_each_type_in_order(venue, recorder):
    sink = recorder
    names = ["A", "B", "A", "B", "C", "A", "B", "C"]
    orders = set()
    for _ in range(10):
        venue.fault("reorder_user", seconds="0.1", milliseconds="20")
        send_user(venue, sink, *names)
        assert sink.take() == []
        venue.later(0.05)
        frames = sink.take()
        assert len(frames) == len(names)
        for name in "ABC":
            numbers = [f["number"] for f in frames if f["e"] == name]
            assert numbers == sorted(numbers)
        orders.add(tuple(f["number"] for f in frames))
        venue.later(1.0)
    assert len(orders) > 1
    assert hits(venue, "reorder_user") == 10
