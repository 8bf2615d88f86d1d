"""The demo's venue from the demo's side: start it, ask it for the truth, end it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import psutil

from hft.config import Config
from hft.errors import CheckFailedError, HftError, UsageError
from hft.units import parse_e8
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import load_credentials
from tools.demo.report import VenueTruth
from tools.system.child import python_command, python_environment
from tools.venue.config import Ports, VenueConfig
from tools.venue_child import Answer

END_S_MAX: Final = 5.0
HTTP_S_MAX: Final = 5.0
PORT_OPTIONS: Final = {
    "rest_port": "--rest-port",
    "stream_port": "--stream-port",
    "api_port": "--api-port",
}


class DemoVenue:
    """A simulator that runs."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Ports) -> None:
        self._process = process
        self.ports: Final = ports

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def rest_url(self) -> str:
        """Base URL of its REST interface."""
        return f"http://127.0.0.1:{self.ports.rest}"

    @property
    def streams_url(self) -> str:
        """Base URL of its streams."""
        return f"ws://127.0.0.1:{self.ports.streams}"

    @property
    def api_url(self) -> str:
        """URL of its WebSocket API."""
        return f"ws://127.0.0.1:{self.ports.api}/ws-fapi/v1"

    def symbols(self) -> tuple[str, ...]:
        """What it trades."""
        info = _get(f"{self.rest_url}/fapi/v1/exchangeInfo")
        return tuple(row["symbol"] for row in info["symbols"])

    def truth(self, config: Config) -> VenueTruth:
        """Positions and wallet by the interface that anybody may use, held against its own books.

        Raises:
            CheckFailedError: the two differ.
        """
        position_e8, wallet_e8 = asyncio.run(_account(config))
        own = _get(f"{self.rest_url}/sim/truth")
        own_e8 = {symbol: parse_e8(row["qty"]) for symbol, row in own["positions"].items()}
        if _open(own_e8) != _open(position_e8) or parse_e8(own["wallet"]) != wallet_e8:
            raise CheckFailedError(
                f"the simulator contradicts itself: its books hold {_open(own_e8)} and"
                f" {own['wallet']}, its interface says {_open(position_e8)} and {wallet_e8}.",
                remedy="This is a defect of the simulator.",
            )
        return VenueTruth(
            position_e8=position_e8, wallet_e8=wallet_e8, violations=len(own["violations"])
        )

    def end(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.terminate()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def running_venue(config: VenueConfig, cpus: Iterable[int]) -> Iterator[DemoVenue]:
    """A simulator on these cpus while the block runs.

    Raises:
        UsageError: a port is taken, a recording or symbol cannot be used.
    """
    check_ports(config)
    process = subprocess.Popen(
        python_command("tools.venue_child", msgspec.json.encode(config).decode()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=python_environment(),
        start_new_session=True,
    )
    venue = DemoVenue(process, Ports(0, 0, 0))
    try:
        os.sched_setaffinity(process.pid, cpus)
        ports = _read_answer(process)
        venue = DemoVenue(process, ports)
        yield venue
    finally:
        venue.end()


def check_ports(config: VenueConfig) -> None:
    """Find out before the start who holds a port that was asked for.

    Raises:
        UsageError: somebody does, and it says who; or this user may not listen there.
    """
    for setting, option in PORT_OPTIONS.items():
        port = getattr(config, setting)
        if not port:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.host, port))
            except OSError as error:
                raise _port_refused(config.host, port, option, error) from None


def _port_refused(host: str, port: int, option: str, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} is taken by another process{_holder(port)}.",
            remedy=f"Choose another with {option}, or stop it.",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(
            f"this user may not listen on port {port}.",
            remedy=f"Choose one above 1023 with {option}.",
        )
    return UsageError(
        f"cannot listen on {host} port {port}: {error.strerror or error}.",
        remedy="Choose an address of this host with --host.",
    )


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            address_port = getattr(connection.laddr, "port", 0)
            if is_listening and address_port == port and connection.pid:
                return f" (pid {connection.pid}, {psutil.Process(connection.pid).name()})"
    except psutil.Error:
        return ""
    return ""


def _read_answer(process: subprocess.Popen[bytes]) -> Ports:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise CheckFailedError(
            "the venue simulator ended before it was ready.", remedy="What it said stands above."
        )
    answer = msgspec.json.decode(line, type=Answer)
    if answer.error:
        error: HftError = UsageError(answer.error, remedy=answer.remedy)
        error.exit_code = answer.exit_code
        raise error
    return Ports(answer.rest, answer.streams, answer.api)


async def _account(config: Config) -> tuple[dict[str, int], int]:
    client = RestClient(Endpoints.from_config(config.venue), load_credentials(config.venue))
    try:
        await client.measure_clock_offset(1)
        positions = {one.symbol: one.position_e8 for one in await client.position_risk()}
        wallet_e8 = sum(one.wallet_e8 for one in await client.balances())
    finally:
        await client.close()
    return positions, wallet_e8


def _open(position_e8: dict[str, int]) -> dict[str, int]:
    return {symbol: qty for symbol, qty in position_e8.items() if qty}


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=HTTP_S_MAX) as response:
        return msgspec.json.decode(response.read())
