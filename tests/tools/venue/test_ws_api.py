from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.venue.config import AccountConfig

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
ACCOUNTS = (
    AccountConfig(api_key="plain", secret="plain-secret", account="desk"),
    AccountConfig(api_key="signer", public_key_pem=PEM, account="desk"),
    AccountConfig(api_key="reader", secret="reader-secret", account="desk", can_trade=False),
)


class Api:
    """A client of the WebSocket API."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._count = 0

    async def send(self, text: str) -> Any:
        await self._connection.send_str(text)
        return json.loads((await asyncio.wait_for(self._connection.receive(), 60)).data)

    async def ask(self, method: str, **params: Any) -> Any:
        self._count += 1
        reply = await self.send(
            json.dumps({"id": f"r{self._count}", "method": method, "params": params})
        )
        assert reply["id"] == f"r{self._count}"
        return reply

    async def signed(
        self, method: str, *, key: str = "plain", secret: str = "", **params: Any
    ) -> Any:
        params |= {"apiKey": key, "timestamp": time.time_ns() // 1_000_000}
        payload = "&".join(f"{k}={params[k]}" for k in sorted(params)).encode()
        if key == "signer":
            params["signature"] = b64encode(PRIVATE.sign(payload)).decode()
        else:
            secret = secret or f"{key}-secret"
            params["signature"] = hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
        return await self.ask(method, **params)


@pytest.fixture
def with_api(start_venue) -> Callable[..., Any]:
    venue = start_venue(accounts=ACCOUNTS)

    def run(act: Callable[[Api], Awaitable[Any]], query: str = "") -> Any:
        async def main() -> Any:
            url = f"http://127.0.0.1:{venue.ports.api}/ws-fapi/v1{query}"
            async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
                return await act(Api(connection))

        return asyncio.run(main())

    return run


def resting(**more: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTX",
        "quantity": "0.010",
        "price": "61500.0",
        **more,
    }


def test_order_life_with_a_signature_on_each_request(with_api):
    async def act(api: Api) -> None:
        placed = await api.signed("order.place", **resting(newClientOrderId="w1"))
        assert placed["status"] == 200, placed
        result = placed["result"]
        assert (result["status"], result["selfTradePreventionMode"]) == ("NEW", "NONE")
        assert not {"avgPrice", "cumQuote"} & set(result)
        assert [row["rateLimitType"] for row in placed["rateLimits"]] == [
            "ORDERS",
            "ORDERS",
            "REQUEST_WEIGHT",
        ]
        named = {"symbol": "BTCUSDT", "origClientOrderId": "w1"}
        changed = await api.signed(
            "order.modify", side="BUY", quantity="0.020", price="61500.0", **named
        )
        assert changed["result"]["origQty"] == "0.020"
        assert not {"pair", "avgPrice", "cumQuote"} & set(changed["result"])
        told = await api.signed("order.status", **named)
        assert told["result"]["avgPrice"] == "0.00000"
        gone = await api.signed("order.cancel", **named)
        assert gone["result"]["status"] == "CANCELED"
        again = await api.signed("order.cancel", **named)
        assert (again["status"], again["error"]) == (
            400,
            {"code": -2011, "msg": "Unknown order sent."},
        )

    with_api(act)


def test_session_of_an_ed25519_key_needs_no_more_signatures(with_api):
    async def act(api: Api) -> None:
        before = await api.ask("order.place", timestamp=1, **resting())
        assert (before["status"], before["error"]["code"]) == (400, -1102)
        logon = await api.signed("session.logon", key="signer")
        assert logon["status"] == 200, logon
        assert set(logon["result"]) == {
            "apiKey",
            "authorizedSince",
            "connectedSince",
            "returnRateLimits",
            "serverTime",
        }
        now_ms = time.time_ns() // 1_000_000
        placed = await api.ask("order.place", timestamp=now_ms, **resting())
        assert placed["result"]["status"] == "NEW"
        stale = await api.ask("order.place", timestamp=now_ms - 60_000, **resting())
        assert stale["error"]["code"] == -1021
        missing = await api.ask("order.place", **resting())
        assert missing["error"]["code"] == -1102
        assert (await api.ask("session.status"))["result"]["apiKey"] == "signer"
        assert (await api.ask("session.logout"))["result"]["apiKey"] is None
        after = await api.ask("account.balance", timestamp=now_ms)
        assert after["error"]["code"] == -1102

    with_api(act, "?returnRateLimits=false")


def test_session_is_for_ed25519_keys_only(with_api):
    async def act(api: Api) -> None:
        assert (await api.signed("session.logon"))["error"]["code"] == -4056

    with_api(act)


def test_refusals_have_status_and_code(with_api):
    async def act(api: Api) -> None:
        wrong = await api.signed("account.balance", secret="wrong")
        assert (wrong["status"], wrong["error"]["code"]) == (400, -1022)
        nobody = await api.signed("account.balance", key="nobody")
        assert (nobody["status"], nobody["error"]["code"]) == (401, -2015)
        reader = await api.signed("order.place", key="reader", **resting())
        assert (reader["status"], reader["error"]["code"]) == (401, -2015)
        garbage = await api.send("{")
        assert (garbage["id"], garbage["status"]) == (None, 400)
        unknown = await api.ask("order.fly")
        assert unknown["status"] == 400
        boolean = await api.signed("order.place", **resting(reduceOnly=True))
        assert boolean["error"]["code"] == -1022

    with_api(act)


@pytest.mark.parametrize(
    "method",
    [
        "account.balance",
        "v2/account.balance",
        "account.status",
        "v2/account.status",
        "account.position",
        "v2/account.position",
    ],
)
def test_account_methods_answer(with_api, method):
    async def act(api: Api) -> None:
        reply = await api.signed(method)
        assert reply["status"] == 200
        assert isinstance(reply["result"], (list, dict))

    with_api(act)


def test_conditional_order_is_placed_and_cancelled(with_api):
    async def act(api: Api) -> None:
        placed = await api.signed(
            "algoOrder.place", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL",
            type="STOP_MARKET", quantity="0.010", triggerPrice="1000.00", clientAlgoId="s",
            workingType="MARK_PRICE",
        )  # fmt: skip
        result = placed["result"]
        assert (placed["status"], result["clientAlgoId"], result["algoStatus"]) == (200, "s", "NEW")
        assert not {"activatePrice", "callbackRate"} & result.keys()
        cancelled = await api.signed("algoOrder.cancel", algoId=result["algoId"])
        assert cancelled["result"] == {
            "algoId": result["algoId"],
            "clientAlgoId": "s",
            "code": "200",
            "msg": "success",
        }
        again = await api.signed("algoOrder.cancel", clientAlgoId="s")
        assert again["error"]["code"] == -2011

    with_api(act)


def test_market_methods_need_no_key_and_limits_can_be_left_out(with_api):
    async def act(api: Api) -> None:
        depth = await api.ask("depth", symbol="BTCUSDT", limit=5)
        assert "rateLimits" not in depth
        assert len(depth["result"]["bids"]) == 5
        book = await api.ask("ticker.book", symbol="BTCUSDT")
        assert book["result"]["lastUpdateId"] >= depth["result"]["lastUpdateId"]
        assert (await api.ask("ticker.price", symbol="BTCUSDT"))["result"]["price"]
        assert (await api.ask("time"))["result"]["serverTime"] > 0
        assert (await api.ask("ping"))["result"] == {}

    with_api(act, "?returnRateLimits=false")


def test_listen_key_can_be_managed_here(with_api):
    async def act(api: Api) -> None:
        started = await api.ask("userDataStream.start", apiKey="plain")
        kept = await api.ask("userDataStream.ping", apiKey="plain")
        assert started["result"] == kept["result"]
        assert (await api.ask("userDataStream.stop", apiKey="plain"))["result"] == {}
        assert (await api.ask("userDataStream.ping", apiKey="plain"))["error"]["code"] == -1125

    with_api(act)
