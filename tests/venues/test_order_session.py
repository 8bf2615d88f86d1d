"""The order session: proof, replies by id, loss, rotation, and what it never does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from hft.units import parse_e8
from hft.venues.binance_usdm.errors import SessionDownError
from hft.venues.binance_usdm.order_session import (
    NO_REQUEST,
    NOT_TOLD,
    OrderSession,
    Reply,
    SessionState,
    decode_reply,
)
from hft.venues.binance_usdm.signing import Credentials, Ed25519Signer, HmacSigner
from hft.venues.binance_usdm.wire import OrderStatus

HMAC = Credentials("key", "hmac", HmacSigner(b"secret"))
ED25519 = Credentials("key", "ed25519", Ed25519Signer(Ed25519PrivateKey.generate()))
RESULT = {
    "orderId": 9123300451,
    "symbol": "ETHUSDT",
    "status": "NEW",
    "clientOrderId": "h0000000000000022",
    "price": "3120.55",
    "origQty": "0.250",
    "executedQty": "0.000",
    "timeInForce": "GTX",
    "type": "LIMIT",
    "reduceOnly": False,
    "side": "SELL",
    "updateTime": 1795350000139,
}
LIMITS = [
    {
        "rateLimitType": "ORDERS",
        "interval": "SECOND",
        "intervalNum": 10,
        "limit": 300,
        "count": 7,
    },
    {
        "rateLimitType": "ORDERS",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 1200,
        "count": 9,
    },
    {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
        "count": 6,
    },
]


class Harness:
    """A session and what came out of it."""

    def __init__(
        self, venue: Any, states: Any, credentials: Credentials = HMAC, **settings: Any
    ) -> None:
        self.replies: list[Reply] = []
        self.session = OrderSession(
            venue.endpoints,
            credentials,
            on_reply=lambda reply, recv_ns: self.replies.append(reply),
            on_state=states,
            **{"random_share": lambda: 0.0, **settings},
        )

    def start(self) -> OrderSession:
        self.session.start(asyncio.get_running_loop())
        return self.session

    async def stop(self) -> None:
        self.session.stop()
        await self.session.wait_stopped()


def answer_proof(peer: Any, text: str) -> None:
    """A venue that accepts every logon and ping and answers nothing else."""
    request = json.loads(text)
    if request["method"] in ("ping", "session.logon"):
        peer.send({"id": request["id"], "status": 200, "result": {}})


def test_a_reply_is_parsed_with_its_limits():
    message = {"id": 12, "status": 200, "result": RESULT, "rateLimits": LIMITS}
    decoded = decode_reply(json.dumps(message).encode(), 0)
    assert decoded is not None
    reply, text_id = decoded
    assert (reply.request_id, text_id, reply.is_ok) == (12, "", True)
    assert (reply.orders_10s, reply.orders_1m, reply.weight_1m) == (7, 9, 6)
    assert reply.result is not None
    assert reply.result.order_id == 0x22
    assert reply.result.status is OrderStatus.NEW
    assert reply.result.price_e8 == parse_e8("3120.55")


def test_an_error_reply_has_code_text_and_no_invented_counts():
    message = {"id": 3, "status": 400, "error": {"code": -4014, "msg": "Price not increased"}}
    decoded = decode_reply(json.dumps(message).encode(), 0)
    assert decoded is not None
    reply = decoded[0]
    assert (reply.status, reply.code, reply.message) == (400, -4014, "Price not increased")
    assert reply.weight_1m == reply.orders_10s == reply.orders_1m == NOT_TOLD
    assert reply.result is None


@pytest.mark.parametrize(
    ("error", "milliseconds"),
    [
        ({"code": -1003, "msg": "banned until 1795350600000."}, 600_000),
        ({"code": -1003, "msg": "x", "data": {"retryAfter": 1795350010000}}, 10_000),
        (
            {
                "code": -1003,
                "msg": "x",
                "data": {"serverTime": 1795350009000, "retryAfter": 1795350010000},
            },
            1_000,
        ),
        ({"code": -1003, "msg": "x", "data": {"retryAfter": 1500}}, 1_500),
        ({"code": -1003, "msg": "banned until 1795349000000"}, 0),
        ({"code": -1003, "msg": "Too many requests"}, 0),
    ],
)
def test_a_limit_says_for_how_long(error, milliseconds):
    message = json.dumps({"id": 1, "status": 429, "error": error}).encode()
    decoded = decode_reply(message, 1_795_350_000_000)
    assert decoded is not None
    assert decoded[0].retry_after_ms == milliseconds


def test_a_result_of_another_shape_still_has_its_id_and_status():
    decoded = decode_reply(b'{"id":5,"status":200,"result":[1,2]}', 0)
    assert decoded is not None
    assert (decoded[0].request_id, decoded[0].status, decoded[0].result) == (5, 200, None)
    decoded = decode_reply(b'{"id":null,"status":401,"error":{"code":-2015,"msg":"no"}}', 0)
    assert decoded is not None
    assert (decoded[0].request_id, decoded[0].code) == (NO_REQUEST, -2015)


@given(st.binary(max_size=80))
def test_garbage_is_no_reply_and_no_exception(content):
    decoded = decode_reply(content, 0)
    assert decoded is None or decoded[0].status


def test_an_hmac_session_proves_itself_with_a_ping(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            session = harness.start()
            assert not session.is_ready
            await wait(lambda: states.names == ["OPEN", "UP"])
            assert session.is_ready
            assert json.loads(venue.peers[0].received[0])["method"] == "ping"
            assert venue.peers[0].path == "/ws-fapi/v1"
            await harness.stop()
            assert not session.is_ready

    run(main())


def test_an_ed25519_session_logs_on_after_every_reconnect(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states, ED25519, venue_ms=lambda: 1_795_350_000_123)
            harness.start()
            await wait(lambda: states.names == ["OPEN", "UP"])
            venue.peers[0].cut()
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            for peer in venue.peers:
                request = json.loads(peer.received[0])
                params = request["params"]
                assert request["method"] == "session.logon"
                assert params["signature"] == ED25519.signer.sign(
                    b"apiKey=key&timestamp=1795350000123"
                )
            await harness.stop()

    run(main())


def test_nothing_is_sent_before_the_proof_or_after_the_loss(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            harness = Harness(venue, states)
            session = harness.start()
            with pytest.raises(SessionDownError):
                session.send(b"x")
            await wait(lambda: states.names == ["OPEN"])
            with pytest.raises(SessionDownError):
                session.send(b"x")
            venue.peers[0].send({"id": "proof", "status": 200, "result": {}})
            await wait(lambda: session.is_ready)
            session.send(b'{"id":1,"method":"order.place"}')
            await wait(lambda: len(venue.peers[0].received) == 2)
            assert session.in_flight == 1
            venue.peers[0].cut()
            await wait(lambda: "DOWN" in states.names)
            with pytest.raises(SessionDownError):
                session.send(b"x")
            await harness.stop()

    run(main())


def test_a_closing_venue_stops_sends_at_once(run, venue, states, wait):
    sent_after: list[bool] = []

    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            session = harness.start()
            await wait(lambda: session.is_ready)
            venue.peers[0].transport.send_close(1001, b"going away")
            await wait(lambda: not session.is_ready)
            sent_after.append(session.is_ready)
            await wait(lambda: "DOWN" in states.names)
            await harness.stop()

    run(main())
    assert sent_after == [False]
    assert "going away" in states.detail_of("DOWN")


def test_replies_are_matched_by_id_in_any_order(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            session = harness.start()
            await wait(lambda: session.is_ready)
            for number in (1, 2, 3):
                session.send(json.dumps({"id": number, "method": "order.place"}).encode())
            for number in (3, 1, 2):
                venue.peers[0].send({"id": number, "status": 200, "result": RESULT})
            venue.peers[0].send("not json", {"no": "reply"})
            await wait(lambda: len(harness.replies) == 3 and session.garbage == 2)
            assert [reply.request_id for reply in harness.replies] == [3, 1, 2]
            assert session.in_flight == 0
            await harness.stop()

    run(main())


def test_a_revoked_key_ends_the_connection(run, venue, states, wait):
    error = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}

    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            session = harness.start()
            await wait(lambda: session.is_ready)
            venue.peers[0].send({"id": None, "status": 401, "error": error})
            await wait(lambda: "DOWN" in states.names)
            assert harness.replies[0].request_id == NO_REQUEST
            await harness.stop()

    run(main())
    assert "-2015" in states.detail_of("DOWN")


def test_a_refused_logon_is_reported(run, venue, states, wait):
    def refuse(peer: Any, text: str) -> None:
        error = {"code": -1022, "msg": "Signature for this request is not valid."}
        peer.send({"id": json.loads(text)["id"], "status": 400, "error": error})

    async def main() -> None:
        async with venue.serving():
            venue.on_text = refuse
            harness = Harness(venue, states, ED25519)
            harness.start()
            await wait(lambda: "DOWN" in states.names)
            await harness.stop()

    run(main())
    assert "logon refused: -1022" in states.detail_of("DOWN")
    assert "UP" not in states.names


def test_rotation_keeps_the_old_connection_until_its_answers_are_in(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states, rotate_s=0.3)
            session = harness.start()
            await wait(lambda: session.is_ready)
            session.send(b'{"id":1,"method":"order.place"}')
            await wait(lambda: "ROTATED" in states.names)
            old, fresh = venue.peers[0], venue.peers[1]
            session.send(b'{"id":2,"method":"order.place"}')
            await wait(lambda: any('"id":2' in text for text in fresh.received))
            assert not old.is_closed
            old.send({"id": 1, "status": 200, "result": RESULT})
            await wait(lambda: [reply.request_id for reply in harness.replies] == [1])
            await wait(lambda: old.is_closed)
            await harness.stop()

    run(main())
    assert "DOWN" not in states.names


def test_an_idle_connection_that_answers_no_ping_is_opened_again(
    run, venue, states, wait, monkeypatch
):
    monkeypatch.setattr("hft.venues.binance_usdm.order_session.PING_IDLE_S", 0.1)
    monkeypatch.setattr("hft.venues.binance_usdm.link.PING_REPLY_S", 0.1)

    async def main() -> None:
        async with venue.serving(answers_pings=False):
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: states.names[:5] == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            await harness.stop()

    run(main())


def test_a_pong_keeps_an_idle_connection(run, venue, states, wait, monkeypatch):
    monkeypatch.setattr("hft.venues.binance_usdm.order_session.PING_IDLE_S", 0.4)
    monkeypatch.setattr("hft.venues.binance_usdm.link.PING_REPLY_S", 0.4)
    pings: list[bytes] = []

    async def main() -> None:
        async with venue.serving(answers_pings=False):
            venue.on_text = answer_proof

            def on_ping(peer: Any, payload: bytes) -> None:
                pings.append(payload)
                peer.transport.send_pong(payload)

            venue.on_ping = on_ping
            harness = Harness(venue, states)
            harness.start()
            await wait(lambda: len(pings) >= 2)
            await harness.stop()

    run(main())
    assert "DOWN" not in states.names


def test_a_stopped_session_reports_nothing_more(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            harness = Harness(venue, states)
            session = harness.start()
            await wait(lambda: session.is_ready)
            await harness.stop()
            assert session.state is SessionState.STOPPED

    run(main())
    assert states.names == ["OPEN", "UP"]


# -- half-open connections ------------------------------------------------------------------------

MS = 1_000_000


class Watched:
    """A session on a clock of the test's, with a venue that answers what it is told to."""

    def __init__(self, venue: Any, states: Any, **settings: Any) -> None:
        self.now_ns = 1
        self.harness = Harness(venue, states, clock_ns=lambda: self.now_ns, **settings)
        self.session = self.harness.start()

    def watch(self, milliseconds: int, *, may_probe: bool = True) -> None:
        """Look every ten milliseconds, as a role does."""
        for _ in range(milliseconds // 10):
            self.now_ns += 10 * MS
            self.session.watch(self.now_ns, may_probe=may_probe)

    def send(self, number: int) -> None:
        self.session.send(json.dumps({"id": number, "method": "order.place"}).encode())


def methods(peer: Any) -> list[str]:
    return [json.loads(text)["method"] for text in peer.received]


def answer_first_ping(peer: Any, text: str) -> None:
    """A venue that answers a connection's proof and is silent from then on."""
    request = json.loads(text)
    if request["id"] == "proof":
        peer.send({"id": "proof", "status": 200, "result": {}})


def test_a_silent_connection_is_suspect_then_asked_then_replaced(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_first_ping
            watched = Watched(venue, states)
            session = watched.session
            await wait(lambda: session.is_ready)
            watched.watch(5_000)
            assert session.is_ready, "nothing is due"
            watched.send(1)
            watched.watch(500)
            assert session.is_ready
            watched.watch(10)
            assert session.is_suspect
            with pytest.raises(SessionDownError):
                watched.send(2)
            await wait(lambda: methods(venue.peers[0]) == ["ping", "order.place", "ping"])
            watched.watch(480)
            assert "DOWN" not in states.names
            watched.watch(40)
            await wait(lambda: states.names == ["OPEN", "UP", "DOWN", "OPEN", "UP"])
            assert session.is_ready
            await watched.harness.stop()

    run(main())
    assert "whether it lives" in states.detail_of("DOWN")


def test_a_venue_that_speaks_keeps_its_connection(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            watched = Watched(venue, states)
            session = watched.session
            await wait(lambda: session.is_ready)
            watched.send(1)  # its answer is lost
            watched.watch(510)
            assert session.is_suspect
            await wait(lambda: session.is_ready)
            watched.watch(5_000)
            assert session.is_ready, "what came before an answered question is not waited for"
            for number in range(2, 12):  # each answer takes almost too long
                watched.send(number)
                watched.watch(490)
                venue.peers[0].send({"id": number, "status": 200, "result": RESULT})
                await wait(lambda number=number: len(watched.harness.replies) == number - 1)
                assert session.is_ready
            assert states.names == ["OPEN", "UP"]
            await watched.harness.stop()

    run(main())


def test_a_slow_venue_is_given_more_time(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            watched = Watched(venue, states)
            await wait(lambda: bool(venue.peers) and bool(venue.peers[0].received))
            watched.now_ns += 1_500 * MS
            venue.peers[0].send({"id": "proof", "status": 200, "result": {}})
            await wait(lambda: watched.session.is_ready)
            watched.watch(10)
            watched.send(1)
            watched.watch(2_900)
            assert watched.session.is_ready
            watched.watch(200)
            assert watched.session.is_suspect
            await watched.harness.stop()

    run(main())


def test_our_own_sleep_is_not_held_against_the_venue(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_first_ping
            watched = Watched(venue, states)
            await wait(lambda: watched.session.is_ready)
            watched.watch(10)
            watched.send(1)
            watched.now_ns += 3_000 * MS
            watched.watch(200)
            assert watched.session.is_ready
            watched.watch(400)
            assert watched.session.is_suspect
            await watched.harness.stop()

    run(main())


def test_a_banned_address_asks_nothing(run, venue, states, wait):
    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_first_ping
            watched = Watched(venue, states)
            await wait(lambda: watched.session.is_ready)
            watched.send(1)
            watched.watch(5_000, may_probe=False)
            assert not watched.session.is_suspect
            await wait(lambda: len(venue.peers[0].received) == 2)
            assert methods(venue.peers[0]) == ["ping", "order.place"]
            watched.watch(490)  # the ban is over: asked now, and given its time to answer
            assert watched.session.is_suspect
            assert "DOWN" not in states.names
            await watched.harness.stop()

    run(main())


def test_nobody_knocks_before_the_hook_lets_him(run, venue, states, wait):
    waits = [0.01, 0.01, 0.0]
    refused: list[tuple[int, float]] = []

    async def main() -> None:
        async with venue.serving():
            venue.on_text = answer_proof
            venue.refuse_with = 418
            harness = Harness(
                venue,
                states,
                may_connect=lambda: waits.pop(0) if waits else 1_000.0,
                on_refused=lambda status, wait_s: refused.append((status, wait_s)),
            )
            session = harness.start()
            await wait(lambda: bool(refused))
            assert (waits, venue.attempts) == ([], 1)
            assert refused == [(418, 60.0)]
            venue.refuse_with = 0
            session.reconnect("the test goes on")
            await asyncio.sleep(0.05)  # for what must not come
            assert venue.attempts == 1, "the hook says no"
            waits.append(0.0)
            session.reconnect("the test goes on")
            await wait(lambda: session.is_ready)
            await harness.stop()

    run(main())
