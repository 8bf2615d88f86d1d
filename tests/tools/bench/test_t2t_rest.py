"""Orders that come by REST count as well: the way of a client that has no order socket."""

import asyncio
import hashlib
import hmac
import http.client
import os
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import uvloop

from tools.bench.t2t.command import Options, run
from tools.bench.t2t.course import Course
from tools.bench.t2t.pairing import pair
from tools.bench.t2t.places import HMAC_API_KEY, HMAC_SECRET, QTY, SYMBOL, make_key, upgraded
from tools.bench.t2t.spun import Ports
from tools.bench.t2t.venue import BenchVenue

TRIGGERS = 4


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


class RestEcho(threading.Thread):
    """Answers each change of the best bid with a signed request."""

    def __init__(self, ports: Ports) -> None:
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self.is_watching = threading.Event()
        self._ports = ports

    def run(self) -> None:
        path = f"/public/ws/{SYMBOL.lower()}@bookTicker"
        stream = upgraded(("127.0.0.1", self._ports.streams), path, None)
        orders = http.client.HTTPConnection("127.0.0.1", self._ports.rest)
        orders.connect()
        last = b""
        while len(self.statuses) < TRIGGERS:
            bid = stream.recv(65_536).rpartition(b'"b":"')[2].partition(b'"')[0]
            if last and bid != last:
                orders.request("POST", f"/fapi/v1/order?{signed(bid.decode())}",
                               headers={"X-MBX-APIKEY": HMAC_API_KEY})  # fmt: skip
                answer = orders.getresponse()
                answer.read()
                self.statuses.append(answer.status)
            last = bid
            self.is_watching.set()
        orders.close()
        stream.close()


def signed(price: str) -> str:
    query = urlencode(
        {
            "symbol": SYMBOL,
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "IOC",
            "quantity": QTY,
            "price": price,
            "timestamp": time.time_ns() // 1_000_000,
        }
    )
    digest = hmac.new(HMAC_SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
    return f"{query}&signature={digest}"


def test_order_by_rest_answers_its_trigger(loop: asyncio.AbstractEventLoop):
    venue = BenchVenue(make_key().public_pem, 20.0, loop)
    echo = RestEcho(loop.run_until_complete(venue.start()))
    echo.start()
    while echo.is_alive() and not echo.is_watching.is_set():
        venue.calm()
    course = Course("steady", rate_per_s=400, pace_per_s=10.0, warm=0, triggers=TRIGGERS)
    stamps = venue.run(course._replace(by_rest=True))
    while echo.is_alive():
        venue.calm()
    loop.run_until_complete(venue.end())
    found = pair(stamps.triggers, stamps.arrivals, warm=0)
    assert echo.statuses == [200] * TRIGGERS
    assert (len(found.latency_ns), found.missed, found.doubled, found.strays) == (TRIGGERS, 0, 0, 0)
    assert stamps.violations == 0


@pytest.mark.clients
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two pinned processes")
@pytest.mark.usefixtures("nothing_left")
def test_nautilus_answers_every_trigger_once(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("nautilus_trader")
    assert run(Options(peers=("nautilus",), rounds=1, pace=20.0, triggers=6)) == 0
    assert "nautilus_trader (REST orders)" in capsys.readouterr().out
