import contextlib
import ssl

import pytest

from hft.venues.binance_usdm import tls
from tools.bench.t2t.sealing import Sealed, sealed_of, sealing_context


class Wire:
    """A client, and the venue's end of the connection, without a socket between them."""

    def __init__(self) -> None:
        own = tls.own_certificate()
        self.to_client, self.to_venue = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.venue = sealing_context(own).wrap_bio(incoming, self.outgoing, server_side=True)
        self.client = tls.trusting_only(own.certificate).wrap_bio(
            self.to_client, self.to_venue, server_hostname="localhost"
        )
        for _ in range(3):
            for end in (self.client, self.venue):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                incoming.write(self.to_venue.read())
                self.to_client.write(self.outgoing.read())

    def sent(self, data: bytes) -> bytes:
        self.client.write(data)
        return self.to_venue.read()


def test_a_sealed_frame_is_read_by_the_client_in_the_order_of_sealing():
    wire = Wire()
    first, second = wire.venue.seal(b"first"), wire.venue.seal(b"second")
    assert b"first" not in first
    wire.to_client.write(first + second)
    assert (wire.client.read(), wire.client.read()) == (b"first", b"second")


@pytest.mark.parametrize("step", [1, 7, 30, 1_000])
def test_what_a_client_sends_comes_out_whole_however_it_is_cut(step: int):
    wire = Wire()
    data = wire.sent(b"one") + wire.sent(b"two" * 10) + wire.sent(b"x" * 20_000)
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert b"".join(map(wire.venue.unseal, pieces)) == b"one" + b"two" * 10 + b"x" * 20_000
    assert wire.venue.unseal(b"") == b""


def test_a_clients_goodbye_says_nothing():
    wire = Wire()
    last = wire.sent(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        wire.client.unwrap()
    assert wire.venue.unseal(last + wire.to_venue.read()) == b"last"
    assert wire.venue.unseal(b"") == b""


def test_a_transport_that_goes_around_the_context_is_noticed():
    class Transport:
        def __init__(self, found: object) -> None:
            self.found = found

        def get_extra_info(self, name: str) -> object:
            return self.found

    sealed = Wire().venue
    assert isinstance(sealed, Sealed)
    assert sealed_of(Transport(sealed)) is sealed
    with pytest.raises(AssertionError, match="does not use its context"):
        sealed_of(Transport(None))
