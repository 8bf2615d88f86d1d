"""WebSocket frames as bytes (RFC 6455): the venue's side of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

FINAL_TEXT: Final = 0x81
MASKED: Final = 0x80
LENGTH_16: Final = 126
LENGTH_64: Final = 127
KEY_BYTES: Final = 4
CLIENT_HEAD_MIN: Final = 2 + KEY_BYTES
"""Also the least that has both length bytes of a longer frame."""


def frame_of(payload: bytes) -> bytes:
    """One text frame as a server sends it."""
    size = len(payload)
    if size < LENGTH_16:
        return bytes((FINAL_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((FINAL_TEXT, LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((FINAL_TEXT, LENGTH_64)) + size.to_bytes(8, "big") + payload


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload under a client's key; applied twice it is the payload again."""
    size = len(payload)
    stream = (key * (size // KEY_BYTES + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def client_frame(payload: bytes, key: bytes) -> tuple[bytes, int]:
    """One text frame as a client sends it, and where its payload begins."""
    size = len(payload)
    if size < LENGTH_16:
        head = bytes((FINAL_TEXT, MASKED | size)) + key
    else:
        head = bytes((FINAL_TEXT, MASKED | LENGTH_16)) + size.to_bytes(2, "big") + key
    return head + masked(payload, key), len(head)


def messages(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete frames of a client off the front: opcode and payload."""
    while len(data) >= CLIENT_HEAD_MIN:
        size, head = data[1] & 0x7F, 2
        if size == LENGTH_16:
            size, head = int.from_bytes(data[2:4], "big"), 4
        elif size == LENGTH_64:
            size, head = int.from_bytes(data[2:10], "big"), 10
        end = head + KEY_BYTES + size
        if len(data) < end:
            return
        opcode = data[0] & 0x0F
        payload = masked(bytes(data[head + KEY_BYTES : end]), bytes(data[head : head + KEY_BYTES]))
        del data[:end]
        yield opcode, payload
