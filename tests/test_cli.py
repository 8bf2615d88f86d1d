"""The command line: exit codes, words for a person's mistakes, nothing heavy for --help."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hft import cli

GOOD = 'symbols = ["BTCUSDT"]\n[venue]\nkey_file = "key"\n'
Hft = Callable[..., tuple[int, str, str]]
"""Runs a command: exit code, standard output, standard error."""
HEAVY = ("numpy", "aiohttp", "ipc", "msgspec", "rich", "multiprocess", "psutil")


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["hft", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    out, err = capsys.readouterr()
    return int(raised.value.code or 0), out, err


@pytest.fixture
def hft(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hft:
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


def test_help_names_every_command_and_imports_nothing_heavy(project_root: Path) -> None:
    code = (
        "import sys; sys.argv = ['hft', '--help']\n"
        "from hft import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"assert not set({HEAVY!r}) & set(sys.modules), set({HEAVY!r}) & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("up", "down", "status", "run", "demo", "halt", "arm", "reduce", "venue",
                    "verify-feed", "bench", "config"):  # fmt: skip
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("demo", "--topology", "round"),
        ("demo", "file"),
        ("arm",),
        ("demo", "--seconds", "0"),
    ],
)
def test_wrong_usage_exits_2_without_a_traceback(hft: Hft, arguments: tuple[str, ...]) -> None:
    exit_code, out, err = hft(*arguments)
    assert exit_code == 2
    assert out == ""
    assert "Traceback" not in err
    assert "Error: " in err


def test_mistakes_are_told_in_words_and_exit_2(hft: Hft, tmp_path: Path) -> None:
    exit_code, out, err = hft("up", str(tmp_path / "none.toml"))
    assert (exit_code, out) == (2, "")
    assert err.startswith("hft: there is no settings file ")
    assert err.endswith("\n     Check the path.\n")


@pytest.mark.parametrize(
    "command", [("status",), ("down",), ("halt",), ("arm", "--reason", "x"), ("run", "feed")]
)
def test_commands_to_nobody_exit_3(hft: Hft, tmp_path: Path, command: tuple[str, ...]) -> None:
    exit_code, out, err = hft(*command, "--run-dir", str(tmp_path))
    assert (exit_code, out) == (3, "")
    assert err.startswith("hft: no system runs")


def test_every_problem_of_a_settings_file_is_told(hft: Hft, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + "x = 1\n[system]\nname = 3\n")
    exit_code, _, err = hft("config", "validate", str(path))
    assert exit_code == 2
    assert err.splitlines() == [
        "hft: bad.toml line 4: venue.x is not a setting.",
        *err.splitlines()[1:2],
        "hft: bad.toml line 6: system.name is 3, without quotes.",
        '     Write name = "3".',
    ]
    exit_code, out, err = hft("config", "validate", str(path), "--json")
    assert (exit_code, err) == (2, "")
    assert len(json.loads(out)["problems"]) == 2


def test_effective_settings_are_shown(hft: Hft, tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    exit_code, out, _ = hft("config", "show", str(path), "--json")
    shown = json.loads(out)
    assert exit_code == 0
    assert shown["venue"]["key_file"] == str(tmp_path / "key")
    assert shown["risk"]["policy"] == "mm_conservative"
    exit_code, out, _ = hft("config", "show", str(path))
    assert 'policy = "mm_conservative"' in out


def test_error_that_is_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(cli.cli, "main", broken)
    with pytest.raises(RuntimeError, match="ours"):
        cli.main()


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_port_that_cannot_be_one_is_refused(hft: Hft, port: str) -> None:
    exit_code, out, err = hft("venue", "--rest-port", port)
    assert (exit_code, out) == (2, "")
    assert "Invalid value for '--rest-port'" in err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "cannot write /x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "cannot use /x: Permission"),
    ],
)
def test_disk_that_refuses_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: OSError, told: str
) -> None:
    def refused(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", refused)
    monkeypatch.setattr(cli, "_forget_output", lambda: None)
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 2
    assert capfd.readouterr().err.startswith(f"hft: {told}")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_stream_is_no_obstacle(
    project_root: Path, tmp_path: Path, closed: int
) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    arguments = [sys.executable, "-m", "hft.cli", "config", "show", str(tmp_path / "good.toml")]
    done = subprocess.run(
        arguments, cwd=project_root, preexec_fn=lambda: os.close(closed), check=False
    )
    assert done.returncode == 0


def test_reader_that_has_seen_enough_gets_no_traceback(project_root: Path, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    command = f"{sys.executable} -m hft.cli config show {tmp_path}/good.toml | head -1"
    done = subprocess.run(
        command, shell=True, cwd=project_root, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ('symbols = ["BTCUSDT"]\n', "")
