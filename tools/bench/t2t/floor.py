"""The floor: what loopback and kernel cost a compiled client that polls two sockets."""

from __future__ import annotations

import os

from tools.bench.t2t.frames import client_frame
from tools.bench.t2t.places import (
    ORDER_HEAD,
    ORDER_MIDDLE,
    ORDER_TAIL,
    PRICE_BYTES,
    TIME_DIGITS,
    Place,
    logged_on,
    upgraded,
)
from tools.bench.t2t.wire import FloorClient


def open_floor(place: Place) -> FloorClient:
    """Connect, log on, and build the one frame that every order is made from."""
    key = os.urandom(4)
    orders = logged_on(place)
    stream = upgraded(place.stream_address, place.ticker_path, place.ssl_context())
    payload = ORDER_HEAD + bytes(PRICE_BYTES) + ORDER_MIDDLE + bytes(TIME_DIGITS) + ORDER_TAIL
    frame, payload_at = client_frame(payload, key)
    price_at = payload_at + len(ORDER_HEAD)
    return FloorClient(
        stream.detach(),
        orders.detach(),
        frame,
        price_at=price_at,
        time_at=price_at + PRICE_BYTES + len(ORDER_MIDDLE),
        payload_at=payload_at,
        key=key,
    )
