"""Generated files and stubs say what their sources say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools import gen_records

ROOT = Path(__file__).resolve().parent.parent
COMPILED = sorted(
    path.relative_to(ROOT)
    for package in ("hft", "ipc", "tools")
    for path in (ROOT / package).rglob("*.pyx")
)
ALLOWED = r"""
.*\.__test__
.*\.__pyx_capi__
"""
"""Names that Cython adds to a module by itself."""


def test_the_generated_records_are_current() -> None:
    assert gen_records.stale() == [], "run: make generated"


def test_every_compiled_module_has_a_stub() -> None:
    missing = [str(path) for path in COMPILED if not (ROOT / path).with_suffix(".pyi").exists()]
    assert not missing


def test_the_stubs_say_what_the_compiled_modules_have(tmp_path: Path) -> None:
    modules = [".".join(path.with_suffix("").parts) for path in COMPILED]
    allowed = tmp_path / "allowed"
    allowed.write_text(ALLOWED)
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml"]
    command += ["--ignore-disjoint-bases", "--ignore-unused-allowlist", "--allowlist", str(allowed)]
    done = subprocess.run(
        [*command, *modules], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
