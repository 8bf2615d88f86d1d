"""Runs a scenario as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCALE = int(os.environ.get("HFT_STRESS_SCALE", "1"))
"""1: a second or two for each scenario. 100 and more: a night."""

NOT_ALLOWED = 77
"""Exit code of a scenario that needs what the host forbids."""


@pytest.fixture
def scenario(
    system_name: str, run_dir: Path, project_root: Path
) -> Callable[[str, str], dict[str, Any]]:
    """Run a scenario of a program beside this file; returns its facts."""

    def run(program: str, name: str) -> dict[str, Any]:
        path = Path(__file__).with_name(program)
        result = subprocess.run(
            [sys.executable, str(path), name, system_name, str(run_dir), str(SCALE)],
            env={**os.environ, "PYTHONPATH": str(project_root)},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == NOT_ALLOWED:
            pytest.skip("this host does not allow ptrace")
        assert result.returncode == 0, result.stderr
        facts = json.loads(result.stdout)
        assert isinstance(facts, dict)
        return facts

    return run
