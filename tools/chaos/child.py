"""What the processes of a chaos run execute instead of the plain roles: the same, with taps."""

from __future__ import annotations

from pathlib import Path

from hft.roles.process import run_process
from tools.chaos.points import Words
from tools.chaos.taps import Taps


def run(run_dir: str, process_name: str, *, mutant: str = "") -> int:
    """Run one process of the plan; with ``mutant`` a deliberately broken variant of it."""
    taps = Taps(Words(Path(run_dir)))
    taps.install()
    if mutant:
        from tools.chaos import mutants

        mutants.install(mutant)
    return run_process(run_dir, process_name)
