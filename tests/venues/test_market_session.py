"""Market sessions against a server that misbehaves in one way at a time."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

import pytest
from picows import WSMsgType

from hft.errors import UsageError
from hft.venues.binance_usdm.frames import CallbackSink
from hft.venues.binance_usdm.market_session import MarketSession, SessionState

STREAMS = ("btcusdt@depth@100ms", "btcusdt@bookTicker")


def no_jitter() -> float:
    return 0.0


def make(venue: Any, states: Any, frames: list[bytes], **settings: Any) -> MarketSession:
    arguments: dict[str, Any] = {
        "first_data_s": 5.0,
        "silence_s": 5.0,
        "rotate_s": 1_000.0,
        "random_share": no_jitter,
        **settings,
    }
    streams = arguments.pop("streams", STREAMS)
    return MarketSession(
        arguments.pop("route", "public"),
        streams,
        endpoints=venue.endpoints,
        sink=CallbackSink(
            lambda payload, recv_ns: frames.append(bytes(payload)),
            arguments.pop("on_batch_end", None),
        ),
        on_state=states,
        **arguments,
    )


async def stop(session: MarketSession) -> None:
    session.stop()
    await session.wait_stopped()


def test_it_is_up_when_every_stream_has_delivered(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames)
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(STREAMS[0], STREAMS[0])
            await wait(lambda: len(frames) == 2)
            assert states.names == ["OPEN"]
            assert session.missing == {STREAMS[1]}
            venue.peers[0].data(STREAMS[1])
            await wait(lambda: states.names == ["OPEN", "UP"])
            assert session.missing == frozenset()
            assert venue.peers[0].path == f"/public/stream?streams={'/'.join(STREAMS)}"
            await stop(session)

    run(main())
    assert len(frames) == 3
    assert json.loads(frames[0])["stream"] == STREAMS[0]


def test_who_reads_has_what_came_before_the_loop_has_looked(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames)
            session.read()  # there is no connection
            session.start(asyncio.get_running_loop())
            session.read()
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: states.names == ["OPEN", "UP"])
            session.read()  # nothing has come
            assert len(frames) == 2
            venue.peers[0].data(STREAMS[0], STREAMS[1], STREAMS[0])
            session.read()
            assert len(frames) == 5
            venue.peers[0].data(STREAMS[1])
            await wait(lambda: len(frames) == 6)  # the loop still finds what nobody read
            venue.peers[0].data(STREAMS[0])
            session.stop()
            session.read()
            assert len(frames) == 6, "a stopped session delivers nothing"
            await session.wait_stopped()
            session.read()

    run(main())
    assert len(frames) == 6


def unacknowledged(peer: Any) -> int:
    """Segments that were sent and of whose arrival the sender knows nothing (tcp(7), TCP_INFO)."""
    stream = peer.transport.underlying_transport.get_extra_info("socket")
    information = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("I", information, 24)[0])


@pytest.mark.parametrize("reads", [True, False], ids=["read", "found by the loop"])
def test_what_came_is_acknowledged_after_the_work_and_not_before(run, venue, states, wait, reads):
    seen: list[int] = []
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(
                venue,
                states,
                frames,
                on_batch_end=lambda: seen.append(unacknowledged(venue.peers[0])),
            )
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: "UP" in states.names)
            for number in range(3, 63):
                venue.peers[0].data(STREAMS[number % 2])
                if reads:
                    session.read()
                else:
                    await wait(lambda number=number: len(frames) == number)
                assert len(frames) == number
                assert unacknowledged(venue.peers[0]) == 0
            await stop(session)

    run(main())
    assert all(seen[-60:])


def test_reading_a_connection_that_the_venue_cut_finds_its_end(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames)
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: "UP" in states.names)
            venue.peers[0].cut()
            for _ in range(20):
                session.read()
                await asyncio.sleep(0)
            await wait(lambda: "DOWN" in states.names)
            await wait(lambda: len(venue.peers) == 2)
            venue.peers[1].data(*STREAMS)
            await wait(lambda: states.names[-1] == "UP")
            venue.peers[1].data(STREAMS[0])
            session.read()
            assert len(frames) == 5, "the connection in use is read"
            await stop(session)

    run(main())


def test_quiet_stream_is_asked_for_and_not_waited_for(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames, quiet=("rpi@depth5",))
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: states.names == ["OPEN", "UP"])
            assert venue.peers[0].path.endswith("/rpi@depth5")
            await stop(session)

    run(main())


def test_frames_of_one_read_share_a_receive_time_and_end_in_one_batch(run, venue, states, wait):
    seen: list[int] = []
    batches: list[int] = []

    async def main() -> None:
        async with venue.serving():
            session = MarketSession(
                "public",
                STREAMS,
                endpoints=venue.endpoints,
                sink=CallbackSink(
                    lambda payload, recv_ns: seen.append(recv_ns),
                    lambda: batches.append(len(seen)),
                ),
                on_state=states,
                first_data_s=5.0,
                silence_s=5.0,
                rotate_s=1_000.0,
            )
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: len(seen) == 2)
            await wait(lambda: sum(batches) > 0 and batches[-1] == 2)
            await stop(session)

    run(main())
    assert seen == sorted(seen)


def test_a_read_that_ends_with_a_ping_still_ends_its_batch(run, venue, states, wait):
    frames: list[bytes] = []
    batches: list[int] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames, on_batch_end=lambda: batches.append(len(frames)))
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(STREAMS[0])
            venue.peers[0].transport.send_ping(b"hello")
            await wait(lambda: batches != [] and batches[-1] == 1)
            await stop(session)

    run(main())


def test_a_lost_connection_is_reported_and_opened_again(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            venue.on_peer = lambda peer: peer.data(*STREAMS)
            session = make(venue, states, frames)
            session.start(asyncio.get_running_loop())
            await wait(lambda: states.names == ["OPEN", "UP"])
            venue.peers[0].cut()
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            assert session.reconnects == 1
            await stop(session)

    run(main())


def test_a_close_frame_is_answered_and_its_reason_reported(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, [])
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].transport.send_close(1001, b"maintenance")
            await wait(lambda: "DOWN" in states.names)
            await stop(session)

    run(main())
    assert "maintenance" in states.detail_of("DOWN")


def test_nobody_listening_is_reported_with_the_address_and_tried_again(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            pass
        session = make(venue, states, [])
        session.start(asyncio.get_running_loop())
        await wait(lambda: states.names.count("DOWN") >= 3)
        async with venue.serving(venue.port):
            venue.on_peer = lambda peer: peer.data(*STREAMS)
            await wait(lambda: states.names[-1] == "UP")
            await stop(session)

    run(main())
    assert f"127.0.0.1:{venue.port} cannot be reached" in states.detail_of("DOWN")


def test_a_refused_handshake_names_the_http_status(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.refuse_with = 429
            session = make(venue, states, [])
            session.start(asyncio.get_running_loop())
            await wait(lambda: "DOWN" in states.names)
            await stop(session)

    run(main())
    assert "HTTP 429" in states.detail_of("DOWN")
    assert venue.attempts == 1


def test_a_connection_whose_streams_all_stay_silent_is_opened_again(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, [], first_data_s=0.1)
            session.start(asyncio.get_running_loop())
            await wait(lambda: len(venue.peers) >= 2)
            await stop(session)

    run(main())
    assert "no data on /public" in states.detail_of("DOWN")
    assert STREAMS[0] in states.detail_of("DOWN")


def test_one_silent_stream_is_named_and_asked_for_again_while_the_others_go_on(
    run, venue, states, wait
):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            venue.on_peer = lambda peer: peer.data(STREAMS[0])

            def on_text(peer: Any, text: str) -> None:
                request = json.loads(text)
                peer.send({"result": None, "id": request["id"]})
                peer.data(*request["params"])

            session = make(venue, states, frames, first_data_s=1.0)
            session.start(asyncio.get_running_loop())
            await wait(lambda: "SILENT" in states.names)
            venue.on_text = on_text
            await wait(lambda: states.names[-1] == "UP")
            assert len(venue.peers) == 1
            await stop(session)

    run(main())
    assert states.detail_of("SILENT").endswith(STREAMS[1])
    assert len(frames) >= 2
    assert all(b"result" not in frame for frame in frames)


def test_many_streams_are_subscribed_in_batches(run, venue, states, wait):
    streams = [f"s{number}usdt@bookTicker" for number in range(450)]
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():

            def on_text(peer: Any, text: str) -> None:
                request = json.loads(text)
                peer.send({"result": None, "id": request["id"]})
                peer.data(*request["params"])

            venue.on_text = on_text
            session = make(venue, states, frames, streams=streams)
            session.start(asyncio.get_running_loop())
            await wait(lambda: states.names == ["OPEN", "UP"])
            requests = [json.loads(text) for text in venue.peers[0].received]
            assert [len(request["params"]) for request in requests] == [200, 200, 50]
            assert venue.peers[0].path == "/public/stream"
            await stop(session)

    run(main())
    assert len(frames) == 450


def test_a_refused_subscription_is_quoted_when_the_deadline_comes(run, venue, states, wait):
    streams = [f"s{number}usdt@bookTicker" for number in range(101)]

    async def main() -> None:
        async with venue.serving():
            venue.on_text = lambda peer, text: peer.send({"code": 2, "msg": "Invalid request: x"})
            session = make(venue, states, [], streams=streams, first_data_s=0.2)
            session.start(asyncio.get_running_loop())
            await wait(lambda: "DOWN" in states.names)
            await stop(session)

    run(main())
    assert "subscription refused: 2 Invalid request: x" in states.detail_of("DOWN")


def test_a_connection_without_any_frame_is_closed_and_opened_again(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_peer = lambda peer: peer.data(*STREAMS)
            session = make(venue, states, [], silence_s=1.0)
            session.start(asyncio.get_running_loop())
            await wait(lambda: states.names[:5] == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            await stop(session)

    run(main())
    assert states.detail_of("DOWN") == "no frame for 1 s"


def test_rotation_changes_over_when_the_fresh_connection_has_proved_itself(
    run, venue, states, wait
):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames, rotate_s=0.2)
            session.start(asyncio.get_running_loop())
            await wait(lambda: len(venue.peers) == 1)
            old = venue.peers[0]
            old.data(*STREAMS)
            await wait(lambda: len(venue.peers) == 2)
            fresh = venue.peers[1]
            # Beside the old one the fresh connection delivers nothing yet.
            fresh.data(STREAMS[0])
            old.send({"stream": STREAMS[0], "data": {"from": "old"}})
            await wait(lambda: any(b"old" in frame for frame in frames))
            assert len(frames) == 3
            fresh.data(STREAMS[1])
            await wait(lambda: "ROTATED" in states.names)
            await wait(lambda: old.is_closed)
            fresh.send({"stream": STREAMS[0], "data": {"from": "fresh"}})
            await wait(lambda: any(b"fresh" in frame for frame in frames))
            await stop(session)

    run(main())
    assert states.names[:4] == ["OPEN", "UP", "ROTATED", "UP"]
    assert "DOWN" not in states.names


def test_a_candidate_without_data_does_not_replace_a_working_connection(run, venue, states, wait):
    frames: list[bytes] = []

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames, rotate_s=0.1, first_data_s=1.0)
            session.start(asyncio.get_running_loop())
            await wait(lambda: len(venue.peers) == 1)
            venue.peers[0].data(*STREAMS)
            await wait(lambda: len(venue.peers) >= 2 and venue.peers[1].is_closed)
            assert not venue.peers[0].is_closed
            venue.peers[0].data(STREAMS[0])
            await wait(lambda: len(frames) == 3)
            await stop(session)

    run(main())
    assert states.names == ["OPEN", "UP"]


def test_a_candidate_takes_over_at_once_when_the_old_connection_dies(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, [], rotate_s=0.1)
            session.start(asyncio.get_running_loop())
            await wait(lambda: len(venue.peers) == 1)
            venue.peers[0].data(*STREAMS)
            await wait(lambda: len(venue.peers) == 2)
            venue.peers[0].cut()
            await wait(lambda: "ROTATED" in states.names)
            await stop(session)

    run(main())
    assert "DOWN" not in states.names


def test_a_fragmented_message_arrives_whole(run, venue, states, wait):
    frames: list[bytes] = []
    text = json.dumps({"stream": STREAMS[0], "data": {"b": ["x"] * 50}}).encode()

    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, frames)
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            transport = venue.peers[0].transport
            transport.send(WSMsgType.TEXT, text[:40], fin=False)
            transport.send(WSMsgType.CONTINUATION, text[40:80], fin=False)
            transport.send(WSMsgType.CONTINUATION, text[80:], fin=True)
            await wait(lambda: frames != [])
            await stop(session)

    run(main())
    assert frames == [text]


def test_an_error_in_a_callback_reaches_the_loop(venue, states, wait, run):
    reported: list[dict[str, Any]] = []

    def fail(payload: memoryview, recv_ns: int) -> None:
        raise ZeroDivisionError("torn")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        async with venue.serving():
            venue.on_peer = lambda peer: peer.data(*STREAMS)
            session = MarketSession(
                "public",
                STREAMS,
                endpoints=venue.endpoints,
                sink=CallbackSink(fail),
                on_state=states,
                first_data_s=5.0,
                silence_s=5.0,
                rotate_s=1_000.0,
            )
            session.start(asyncio.get_running_loop())
            await wait(lambda: reported != [])
            await stop(session)

    run(main())
    assert isinstance(reported[0]["exception"], ZeroDivisionError)


def test_an_error_is_told_and_nothing_more_is_taken(venue, states, wait, run):
    taken: list[bytes] = []
    told: list[Exception] = []

    def fail(payload: memoryview, recv_ns: int) -> None:
        taken.append(bytes(payload))
        raise ZeroDivisionError("torn")

    async def main() -> None:
        async with venue.serving():
            session = MarketSession(
                "public",
                STREAMS,
                endpoints=venue.endpoints,
                sink=(sink := CallbackSink(fail)),
                on_error=told.append,
                on_state=states,
                first_data_s=5.0,
                silence_s=5.0,
                rotate_s=1_000.0,
            )
            session.start(asyncio.get_running_loop())
            await wait(lambda: venue.peers != [])
            venue.peers[0].data(*STREAMS)
            await wait(lambda: told != [])
            venue.peers[0].data(*STREAMS)
            assert sink.is_broken
            sink.on_frame(b"{}", 1)
            sink.on_batch_end()
            await stop(session)

    run(main())
    assert len(taken) == len(told) == 1


def test_stopping_while_connecting_leaves_nothing_open(run, venue, states):
    async def main() -> None:
        async with venue.serving():
            session = make(venue, states, [])
            session.start(asyncio.get_running_loop())
            await stop(session)
            assert session.state == SessionState.STOPPED

    run(main())


@pytest.mark.parametrize(
    ("route", "streams", "words"),
    [
        ("public", ["btcusdt@markPrice@1s"], "subscribe on /market"),
        ("market", ["btcusdt@depth5@100ms"], "subscribe on /public"),
        ("public", [], "give 1 to 1024 streams"),
    ],
)
def test_a_stream_on_the_wrong_route_is_refused(venue, states, route, streams, words):
    with pytest.raises(UsageError) as caught:
        make(venue, states, [], route=route, streams=streams)
    assert words in caught.value.remedy
