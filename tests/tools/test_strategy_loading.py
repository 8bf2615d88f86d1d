"""Commands that load a plug-in come to their end, whatever it does while it is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hft.cli import INTERRUPTED
from hft.errors import EXIT_USAGE

SOURCE = """
import sys, time
from hft.strategy.base import StrategyParameters

def misbehave():
    MISDEED  # line 6

AT_IMPORT

class Joiner:
    class Parameters(StrategyParameters, frozen=True):
        def __post_init__(self):
            AT_CHECK

    def __init__(self, parameters, instrument):
        pass

    def on_top_of_book(self, now_ns, top, position_e8, targets):
        pass

    def on_timer(self, now_ns, targets):
        pass
"""
WRONG = {
    "raises": "raise RuntimeError('the beast')",
    "exits": "sys.exit(3)",
    "raises what cannot be printed": "raise RuntimeError('the beast \\udc80')",
}
SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
name = "{name}"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
key_file = "key"

[[strategies]]
name = "joiner"
plugin = "joiner.py:Joiner"
symbols = ["BTCUSDT"]
"""
COMMANDS = {
    "show": ("strategy", "show", "joiner.py:Joiner"),
    "show a module": ("strategy", "show", "joiner:Joiner"),
    "demo": ("demo", "--seconds", "1", "--strategies", "joiner.py:Joiner"),
    "up": ("up", "hft.toml"),
    "up in the background": ("up", "hft.toml", "--detach"),
    "shm create": ("shm", "create", "hft.toml"),
}


class Attempt:
    """A command that is given a plug-in which does not load."""

    def __init__(
        self,
        root: Path,
        project_root: Path,
        system_name: str,
        misdeed: str,
        *arguments: str,
        place: str = "AT_IMPORT",
    ) -> None:
        root.mkdir()
        source = SOURCE.replace("MISDEED", misdeed).replace(place, "misbehave()")
        for other in ("AT_IMPORT", "AT_CHECK"):
            source = source.replace(other, "pass")
        (root / "joiner.py").write_text(source, encoding="utf-8")
        (root / "hft.toml").write_text(SETTINGS.format(name=system_name, root=root))
        key = root / "key"
        key.touch(mode=0o600)
        key.write_text("load-key\nload-secret\n")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hft.cli", *arguments],
            cwd=root,
            env={
                **os.environ,
                "HFT_RUN_DIR": str(root / "run"),
                "PYTHONPATH": f"{project_root}:{root}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def refusal(self) -> str:
        """What it says at its end, in one line: no traceback, and the exit code of a mistake."""
        said, _ = self._process.communicate(timeout=120)
        assert self._process.returncode == EXIT_USAGE, said
        assert "Traceback" not in said
        return " ".join(said.split())

    def await_loading(self) -> None:
        """The plug-in has printed a line: it is being loaded now."""
        assert self._process.stdout is not None
        while "loading" not in (line := self._process.stdout.readline()):
            assert line, "it ended before it loaded the plug-in"

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C: the exit code, and what it still said."""
        self._process.send_signal(signal.SIGINT)
        said, _ = self._process.communicate(timeout=120)
        return self._process.returncode, said


@pytest.fixture
def attempt(tmp_path: Path, project_root: Path, system_name: str) -> Callable[..., Attempt]:
    def start(misdeed: str, command: str, *, root: str = "", **options: str) -> Attempt:
        place = tmp_path / (root or command.replace(" ", "_"))
        return Attempt(place, project_root, system_name, misdeed, *COMMANDS[command], **options)

    return start


def test_a_plugin_that_never_loads_is_told(attempt: Callable[..., Attempt]) -> None:
    """All at once, as each of them takes its five seconds; the last one hangs in its parameters."""
    sleeps, loops = "time.sleep(600)", "while True: pass"
    started = [attempt(loops if command == "show" else sleeps, command) for command in COMMANDS]
    started.append(attempt(sleeps, "up", place="AT_CHECK", root="checked"))
    for one in started:
        said = one.refusal()
        assert "takes longer than 5000 ms to load" in said
        assert "joiner.py, line 6" in said
        assert "belongs elsewhere" in said


@pytest.mark.parametrize("misdeed", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("command", ["show", "show a module", "up"])
def test_a_plugin_that_ends_its_import_badly_is_told(
    attempt: Callable[..., Attempt], command: str, misdeed: str
) -> None:
    said = attempt(misdeed, command).refusal()
    assert "joiner.py, line 6" in said
    assert "Mend the plug-in" in said


def test_parameters_that_cannot_be_checked_are_told(attempt: Callable[..., Attempt]) -> None:
    said = attempt("raise KeyError('the beast')", "up", place="AT_CHECK").refusal()
    assert "joiner.py, line 6" in said


@pytest.mark.parametrize("command", ["show", "show a module", "demo", "up", "shm create"])
def test_ctrl_c_while_a_plugin_loads_is_no_mistake_of_its(
    attempt: Callable[..., Attempt], command: str
) -> None:
    one = attempt("print('loading', flush=True); time.sleep(600)", command)
    one.await_loading()
    assert one.interrupt() == (INTERRUPTED, "\n")


def test_ctrl_c_holds_although_a_plugin_swallows_it(attempt: Callable[..., Attempt]) -> None:
    one = attempt(
        "print('loading', flush=True)\n    try: time.sleep(600)\n    except BaseException: pass",
        "show",
    )
    one.await_loading()
    assert one.interrupt() == (INTERRUPTED, "\n")


def test_a_plugin_that_raises_an_interrupt_itself_is_told(attempt: Callable[..., Attempt]) -> None:
    assert "Mend the plug-in" in attempt("raise KeyboardInterrupt", "show").refusal()
