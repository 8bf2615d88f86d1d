#!/usr/bin/env python3
"""Halt, and cancel every open order at the venue, with nothing but the standard library.

systemd starts it when a role has failed for good, and a person may at any time: it needs no virtual
environment and none of the processes that died (for Ed25519 keys: the openssl command). Both order
stores of Binance USD-M Futures are emptied, of regular and of conditional orders.

Exit codes: 0 halted and nothing is open any more, 1 something may still be open, 2 usage.
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import mmap
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ANSWER_S = 3.0
PAUSE_S = 0.25
BUSY_STATUS, BANNED_STATUS = 429, 418
BANNED_UNTIL = re.compile(r"banned until (\d{13})")
HALT_OFFSET = 4096  # of the halt word in its segment
STORES = {  # where orders are listed: where all of a symbol are cancelled
    "/fapi/v1/openOrders": "/fapi/v1/allOpenOrders",
    "/fapi/v1/openAlgoOrders": "/fapi/v1/algoOpenOrders",
}
FAILURES = (OSError, http.client.HTTPException, ValueError, LookupError, subprocess.SubprocessError)


class GaveUpError(Exception):
    """Nothing more can be done before the deadline."""


class Venue:
    """Signed requests to the venue's REST interface."""

    def __init__(self, settings: dict[str, Any], base: Path, deadline: float) -> None:
        self._url = settings.get("rest_url", "https://fapi.binance.com").rstrip("/")
        lines = located(settings["key_file"], base).read_text().split()
        self._key, self._secret, self._pem = lines[0], b"", Path()
        self._has_pem = settings.get("key_type", "hmac") == "ed25519"
        if self._has_pem:
            self._pem = located(settings["private_key_file"], base)
        else:
            self._secret = lines[1].encode()
        self._deadline, self._closed_until, self._offset_ms = deadline, 0.0, 0
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def set_clock(self) -> None:
        """Learn how far the venue's clock is from ours."""
        before = time.time()
        server_ms = self._send("GET", "/fapi/v1/time", "")["serverTime"]
        self._offset_ms = server_ms - round((before + time.time()) * 500)

    def request(self, method: str, path: str, **fields: str) -> Any:
        """The decoded answer to one signed request."""
        moment_ms = round(time.time() * 1000) + self._offset_ms
        query = urllib.parse.urlencode({**fields, "recvWindow": 5000, "timestamp": moment_ms})
        signature = urllib.parse.quote(self._sign(query.encode()), safe="")
        return self._send(method, path, f"?{query}&signature={signature}")

    def _sign(self, query: bytes) -> str:
        if not self._has_pem:
            return hmac.new(self._secret, query, hashlib.sha256).hexdigest()
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(self._pem)]
        with open(os.memfd_create("query"), "w+b") as file:  # openssl wants to know its size
            file.write(query)
            file.seek(0)
            signed = subprocess.run(
                [*command, "-in", "/dev/stdin"], stdin=file, capture_output=True, check=True
            )
        return base64.b64encode(signed.stdout).decode()

    def _send(self, method: str, path: str, query: str) -> Any:
        if self._closed_until > self._deadline:
            raise GaveUpError(f"nobody is let in for {self._closed_until - time.time():.0f} s more")
        time.sleep(max(0.0, self._closed_until - time.time()))
        headers = {"X-MBX-APIKEY": self._key}
        request = urllib.request.Request(self._url + path + query, method=method, headers=headers)
        try:
            with self._opener.open(request, timeout=ANSWER_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read(500).decode(errors="replace")
            if error.code in (BUSY_STATUS, BANNED_STATUS):  # asking earlier makes a ban longer
                self._closed_until = time.time() + float(error.headers.get("Retry-After") or 1)
                if until := BANNED_UNTIL.search(text):
                    self._closed_until = (int(until[1]) - self._offset_ms) / 1000
            raise OSError(f"HTTP {error.code} {text}") from None


def located(text: str, base: Path) -> Path:
    """A key file: of a systemd credential, or beside the settings."""
    name = text.removeprefix("credential:")
    if name == text:
        return base / Path(text).expanduser()
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "."), name)


def halt(system: dict[str, Any], run_dir: str, base: Path) -> None:
    """Latch the halt word that every role reads, and leave the reason: a person arms again."""
    name = system.get("name", "default")
    word = Path(f"/dev/shm/hft.{name}.halt")
    if word.exists():
        with word.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[HALT_OFFSET] = 1
    chosen = run_dir or system.get("run_dir") or os.environ.get("HFT_RUN_DIR")
    usual = ("/run/hft", f"{os.environ.get('XDG_RUNTIME_DIR')}/hft", f"/tmp/hft-{os.geteuid()}")
    note = {"reason": "emergency cancel", "who": "emergency", "wall_ns": time.time_ns()}
    for root in [chosen] if chosen else usual:
        if (base / root / name).is_dir():
            path = base / root / name / "HALT"
            with contextlib.suppress(FileExistsError), path.open("x") as file:
                file.write(json.dumps(note) + "\n")  # a reason that is there was first, and stays
            break


def cancel_all(venue: Venue, symbols: set[str]) -> list[str]:
    """One round over both stores; what is still open, or could not be found out."""
    problems = []
    for listing, cancel in STORES.items():
        try:
            symbols = symbols | {row["symbol"] for row in venue.request("GET", listing)}
            for symbol in sorted(symbols):
                try:
                    venue.request("DELETE", cancel, symbol=symbol)
                except FAILURES as error:
                    problems.append(f"{symbol}: {error}")
            if rows := venue.request("GET", listing):
                problems.append(f"{len(rows)} in {listing}")
        except FAILURES as error:
            problems.append(f"{listing}: {error}")
    return problems


def main() -> int:
    """Halt, then cancel until nothing is open or the deadline has come."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path, help="the system's settings (TOML)")
    parser.add_argument("--deadline", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--run-dir", default="", help="root of the run directories")
    options = parser.parse_args()
    deadline = time.time() + options.deadline
    try:
        settings = tomllib.loads(options.config.read_text())
        symbols = set(settings.get("symbols", ()))
        venue = Venue(settings["venue"], options.config.resolve().parent, deadline)
    except (OSError, ValueError, LookupError) as error:
        print(f"cannot use {options.config}: {error!r}", file=sys.stderr)
        return 2
    problems, refused = [], []
    try:
        halt(settings.get("system", {}), options.run_dir, options.config.resolve().parent)
    except OSError as error:
        refused = [f"not halted: {error}"]  # cancelled all the same
    while True:
        try:
            venue.set_clock()
            problems = cancel_all(venue, symbols)
        except GaveUpError as error:
            problems = [*problems, str(error)]
            break
        except FAILURES as error:
            problems = [str(error)]
        if not problems or time.time() > deadline:
            break
        time.sleep(PAUSE_S)
    for problem in refused + problems:
        print(f"emergency cancel: {problem}", file=sys.stderr)
    if not problems:
        print("no order is open any more")
    return 1 if refused or problems else 0


if __name__ == "__main__":
    sys.exit(main())
