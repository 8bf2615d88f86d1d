"""Settings that are right one by one and contradict each other."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import pairwise
from typing import Final, NamedTuple

from hft.config import Config, RiskLimits
from hft.core.order_id import STRATEGY_MAX
from hft.core.policies import POLICIES
from hft.graph import INSTRUMENTS_MAX
from hft.units import parse_e8

KeyPath = tuple[str | int, ...]
"""Where a value stands: table names, keys and list indices."""

HOT_ROLES_DEDICATED: Final = 4
"""Roles that run on hot cores of their own in the dedicated topology."""
_ENTRY_POINT: Final = re.compile(r"^[A-Za-z0-9_-]+$")
_SYMBOL: Final = re.compile(r"^[A-Z0-9_]{2,40}$")


class Problem(NamedTuple):
    """One thing that is wrong, where, and what to do."""

    path: KeyPath
    message: str
    remedy: str


def shown(value: object) -> str:
    """A value as it would stand in the file, cut to a readable length."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def contradictions(config: Config) -> Iterator[Problem]:
    """What the settings demand that cannot be had together."""
    yield from _symbol_problems(config)
    yield from _strategy_problems(config)
    yield from _cpu_problems(config)
    yield from _venue_problems(config)
    yield from _limit_problems(config.risk.limits)
    yield from _paper_problems(config)
    if config.risk.policy not in POLICIES:
        yield Problem(
            ("risk", "policy"),
            f"is {shown(config.risk.policy)}: there is no such policy",
            f"Write one of {', '.join(map(shown, POLICIES))}.",
        )
    if 2 * config.risk.permit_renew_ms > config.risk.permit_ms:
        yield Problem(
            ("risk", "permit_renew_ms"),
            f"is {config.risk.permit_renew_ms}: more than half of permit_ms"
            f" ({config.risk.permit_ms}), so one late renewal would stop trading",
            f"Write at most {config.risk.permit_ms // 2}.",
        )


def _symbol_problems(config: Config) -> Iterator[Problem]:
    if not config.symbols:
        yield Problem(("symbols",), "is empty", 'Name at least one: symbols = ["BTCUSDT"].')
    for index, symbol in enumerate(config.symbols):
        if not _SYMBOL.match(symbol):
            yield Problem(
                ("symbols", index),
                f"is {shown(symbol)}: not a symbol",
                'Symbols are capital letters and digits, for example "BTCUSDT".',
            )
    for symbol, count in Counter(config.symbols).items():
        if count > 1:
            yield Problem(("symbols",), f"names {symbol} {count} times", "Name each symbol once.")
    if len(config.symbols) >= INSTRUMENTS_MAX:
        yield Problem(
            ("symbols",),
            f"names {len(config.symbols)} symbols; there is room for {INSTRUMENTS_MAX - 1}",
            "Split them over two systems with names of their own.",
        )


def _strategy_problems(config: Config) -> Iterator[Problem]:
    if len(config.strategies) > STRATEGY_MAX:
        yield Problem(
            ("strategies", STRATEGY_MAX),
            f"is number {STRATEGY_MAX + 1}; there is room for {STRATEGY_MAX}",
            "Split them over two systems with names of their own.",
        )
    names: set[str] = set()
    for index, strategy in enumerate(config.strategies):
        path: KeyPath = ("strategies", index)
        if strategy.name in names:
            yield Problem((*path, "name"), f"is {shown(strategy.name)}, and so is another",
                          "Give each strategy a name of its own.")  # fmt: skip
        names.add(strategy.name)
        if not strategy.symbols:
            yield Problem((*path, "symbols"), "is empty", "Name the symbols it trades.")
        module, separator, attribute = strategy.plugin.rpartition(":")
        is_entry_point = _ENTRY_POINT.match(strategy.plugin)
        if not (is_entry_point or (separator and module and attribute)):
            yield Problem(
                (*path, "plugin"),
                f"is {shown(strategy.plugin)}: no class is named",
                "Write module:Class, path/to/file.py:Class, or the name of an entry point.",
            )
        for symbol in strategy.symbols:
            if symbol not in config.symbols:
                nearest = get_close_matches(symbol, config.symbols, n=1)
                hint = f" Did you mean {nearest[0]}?" if nearest else ""
                yield Problem((*path, "symbols"), f"names {symbol}, which is not in symbols",
                              f"Add it to symbols at the top of the file.{hint}")  # fmt: skip


def _cpu_problems(config: Config) -> Iterator[Problem]:
    cpus = config.system.cpus
    if len(set(cpus)) != len(cpus) or any(cpu < 0 for cpu in cpus):
        yield Problem(("system", "cpus"), f"is {shown(list(cpus))}: not a list of cores",
                      "Name each core once, as numbered in /proc/cpuinfo.")  # fmt: skip
    if config.system.wait == "busy_spin":
        needed = 1 if config.system.topology == "compact" else HOT_ROLES_DEDICATED
        if cpus and len(cpus) < needed:
            yield Problem(
                ("system", "wait"),
                f'is "busy_spin", which needs a core for each hot process: {needed} in the'
                f" {config.system.topology} topology, and system.cpus names {len(cpus)}",
                'Name more cores in system.cpus, or write wait = "auto".',
            )


def _venue_problems(config: Config) -> Iterator[Problem]:
    venue = config.venue
    for key, schemes in (("rest_url", ("http", "https")), ("streams_url", ("ws", "wss")),
                         ("api_url", ("ws", "wss"))):  # fmt: skip
        url = getattr(venue, key)
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        if url.partition("://")[0] not in schemes or not url.partition("://")[2]:
            yield Problem(("venue", key), f"is {shown(url)}: not an address",
                          f"Write an address that starts with {wanted}.")  # fmt: skip
    if not venue.key_file:
        yield Problem(("venue", "key_file"), "is missing", "Name the file that holds the API key.")
    if venue.key_type == "ed25519" and not venue.private_key_file:
        yield Problem(("venue", "private_key_file"), 'is missing, and key_type is "ed25519"',
                      "Name the private key (PEM) that belongs to the API key.")  # fmt: skip


def _paper_problems(config: Config) -> Iterator[Problem]:
    modes = {config.system.mode, *(one.mode for one in config.strategies)}
    if "paper" in modes and not config.feed.trades:
        yield Problem(("feed", "trades"), "is false, and a strategy runs in paper mode: its fills"
                      " come from the trades of the market", "Write trades = true.")  # fmt: skip


def _limit_problems(limits: RiskLimits) -> Iterator[Problem]:
    ordered = ("order_notional_max", "position_notional_max", "gross_notional_max")
    for small, large in pairwise(ordered):
        low, high = getattr(limits, small), getattr(limits, large)
        if low is not None and high is not None and parse_e8(low) > parse_e8(high):
            yield Problem(("risk", "limits", small), f"is {shown(low)}: more than {large} ({high})",
                          f"Write at most {high}, or raise {large}.")  # fmt: skip
