"""What a command must not load before it knows that it needs it: a halt has to be quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "cryptography", "ipc", "multiprocess", "numpy", "picows", "rich", "uvloop"}
LOADED = """
import sys
from hft.cli import cli
try:
    cli.main({arguments!r})
except SystemExit:
    pass
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["halt", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(arguments=arguments)],
        capture_output=True, text=True, check=True, timeout=280,
    )  # fmt: skip
    loaded = set(done.stderr.split())
    assert "hft" in loaded
    assert not HEAVY & loaded
