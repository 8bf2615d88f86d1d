"""Arrows point down only: the contracts of ``pyproject.toml``, compiled modules included."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
    "importlinter"
]["contracts"]
CYTHON = sorted(
    path.relative_to(ROOT)
    for package in ("hft", "ipc", "pinning", "tools")
    for suffix in ("pyx", "pxd", "pxi")
    for path in (ROOT / package).rglob(f"*.{suffix}")
)
CLOCKS_AND_FILES = ("libc.time", "posix.time", "posix.unistd", "libc.stdio", "posix.fcntl")
"""What the pure packages may not cimport either; the C names of time and input/output."""


def imported(source: str, module: str) -> Iterator[str]:
    """The modules that Cython text imports or cimports, relative ones resolved."""
    joined = re.sub(r"\\\n", " ", source)
    for line in joined.splitlines():
        text = line.split("#")[0].strip()
        if match := re.match(r"from\s+(\.*)([\w.]*)\s+c?import\s+\(?(.*)", text):
            dots, name, names = match.groups()
            parent = module.split(".")[: -len(dots)] if dots else []
            base = ".".join([*parent, *filter(None, [name])])
            yield base
            # ``from hft.core cimport decimals`` names a module as well.
            yield from (f"{base}.{word.split()[0]}" for word in names.split(",") if word.split())
        elif match := re.match(r"c?import\s+(.*)", text):
            yield from (word.split()[0] for word in match.group(1).split(",") if word.split())


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str, layers: list[str]) -> tuple[int, str, bool] | None:
    """Height (0 is the top), the layer's own name, and whether its neighbours are independent."""
    for height, text in enumerate(layers):
        for name in re.split(r"[|:]", text):
            if within(module, name.strip()):
                return height, name.strip(), "|" in text
    return None


def breaks_layers(module: str, target: str, layers: list[str]) -> bool:
    """Whether an import from ``module`` of ``target`` points up or sideways."""
    source, aim = layer(module, layers), layer(target, layers)
    if source is None or aim is None or source[1] == aim[1]:
        return False
    return aim[0] < source[0] or (aim[0] == source[0] and aim[2])


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_import_linter_keeps_every_contract() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(
        [*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", CYTHON, ids=str)
def test_compiled_modules_keep_the_layers(path: Path) -> None:
    module = module_of(path)
    layers = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    broken = [
        target
        for target in imported((ROOT / path).read_text(), module)
        if breaks_layers(module, target, layers)
    ]
    assert not broken, f"{path} imports {', '.join(broken)}: arrows point down only"


@pytest.mark.parametrize("path", CYTHON, ids=str)
def test_compiled_modules_keep_the_prohibitions(path: Path) -> None:
    module = module_of(path)
    for contract in CONTRACTS:
        if contract["type"] != "forbidden":
            continue
        if not any(within(module, source) for source in contract["source_modules"]):
            continue
        banned = [*contract["forbidden_modules"]]
        banned += CLOCKS_AND_FILES if "time" in banned else ()
        found = [
            target
            for target in imported((ROOT / path).read_text(), module)
            if any(within(target, name) for name in banned)
        ]
        assert not found, f"{path} imports {', '.join(found)}: {contract['name']}"


def test_imports_are_found_in_every_form() -> None:
    source = """
import os, sys as system
cimport numpy as np
from libc.stdint cimport int64_t  # import nothing
from .sibling cimport Thing
from ..other import name
from hft.core cimport (decimals
from hft.venues \\
    import binance_usdm
"""
    found = set(imported(source, "hft.core.book"))
    assert {"os", "sys", "numpy", "libc.stdint"} <= found
    assert {"hft.core.sibling", "hft.other", "hft.core.decimals"} <= found
    assert "hft.venues.binance_usdm" in found
    assert not any("nothing" in name for name in found)


@pytest.mark.parametrize(
    ("module", "target", "broken"),
    [
        ("hft.core.book", "hft.roles.feed", True),
        ("hft.roles.feed", "hft.core.book", False),
        ("hft.core.book", "hft.core.decimals", False),
        ("ipc.ring", "pinning.plan", True),
        ("ipc.ring", "hft.records", True),
        ("tools.venue.server", "ipc", False),
        ("hft.core.book", "numpy", False),
    ],
)
def test_the_direction_of_an_import_is_judged(module: str, target: str, broken: bool) -> None:
    layers = ["tools", "hft.roles", "hft.core", "hft.records : hft.units", "ipc | pinning"]
    assert breaks_layers(module, target, layers) is broken
