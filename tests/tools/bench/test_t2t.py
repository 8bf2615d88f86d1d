import json
import multiprocessing
import os
from pathlib import Path

import pytest

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, HftError, UsageError
from hft.venues.binance_usdm import tls
from tools.bench import machine
from tools.bench.t2t import command, load, runs
from tools.bench.t2t.command import Options, run
from tools.bench.t2t.contenders import CONTENDERS
from tools.bench.t2t.course import Course
from tools.bench.t2t.places import make_key
from tools.bench.t2t.trust import trusted

needs_two_cpus = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="venue and contender need a cpu each"
)


@needs_two_cpus
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("profile", ["steady", "burst"])
def test_every_contender_answers_every_trigger_once(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plot = tmp_path / "plot.svg"
    options = Options(
        as_json=True,
        peers=("floor", "script", "script-picows", "script-blocking", "compact"),
        profiles=(profile,),
        rounds=1,
        pace=20.0,
        triggers=6,
        plot=str(plot),
    )
    assert run(options) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert [row["contender"] for row in document["rows"]] == list(options.peers)
    for row in document["rows"]:
        assert (row["answered"], row["missed"], row["doubled"], row["strays"]) == (6, 0, 0, 0)
        assert row["violations"] == 0
        assert 0 < row["latency_ns"]["p50"]["median"] <= row["latency_ns"]["max"]["high"]
    # Everything on: each of the system's orders is in its journal with the decision behind it.
    system = document["rows"][-1]
    assert system["unjournalled"] == 0
    hops = {hop["name"]: hop["count"] for hop in system["hops"]}
    assert hops["tick_to_trade"] >= 6
    assert hops["intent_to_decision"] >= 6
    for name in options.peers:
        text = next(one.text for one in CONTENDERS if one.name == name)
        assert text in plot.read_text()


@needs_two_cpus
@pytest.mark.usefixtures("nothing_left")
def test_with_tls_everybody_answers_every_trigger_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", "/as/it/was")
    names = ("script", "script-picows", "script-blocking", "compact")
    plain = ("floor", "nautilus")
    options = Options(
        as_json=True, tls=True, peers=(*plain, *names), rounds=1, pace=20.0, triggers=6
    )
    assert run(options) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert "--tls" in document["command"]
    assert document["left_out"] == list(plain)
    assert [row["contender"] for row in document["rows"]] == list(names)
    for row in document["rows"]:
        assert (row["answered"], row["missed"], row["doubled"], row["strays"]) == (6, 0, 0, 0)
        assert (row["violations"], row["unjournalled"]) == (0, 0)
    hops = {hop["name"]: hop["count"] for hop in document["rows"][-1]["hops"]}
    assert hops["tick_to_trade"] >= 6
    assert not any("/" in target["text"] for target in document["targets"])
    assert os.environ["SSL_CERT_FILE"] == "/as/it/was"


@needs_two_cpus
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", ["script", "script-picows", "compact"])
def test_who_does_not_trust_the_venues_certificate_does_not_trade(name: str):
    contender = next(one for one in CONTENDERS if one.name == name)
    with trusted() as another:
        trust = another._replace(own=tls.own_certificate())
        context = multiprocessing.get_context("forkserver")
        cpus = machine.choose_cpus()
        bench = runs.Bench(context, cpus, make_key(), trust, load.USUAL, lambda: False)
        course = Course("steady", rate_per_s=2_000, pace_per_s=10.0, warm=2, triggers=2)
        with pytest.raises(HftError, match=r"(?i)certificate.verify.failed"):
            runs.perform(bench, contender, course)


def test_with_tls_a_row_that_cannot_is_not_measured_alone():
    with pytest.raises(UsageError, match="floor"):
        run(Options(peers=("floor",), tls=True))


def test_unknown_row_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="abacus") as caught:
        run(Options(peers=("abacus",)))
    assert "script-blocking" in caught.value.remedy


def test_unknown_profile_is_refused():
    with pytest.raises(UsageError, match="wild"):
        run(Options(profiles=("wild",)))


@needs_two_cpus
def test_check_fails_when_a_target_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(command, "_measure", _slow_compact)
    for check, code in ((False, EXIT_OK), (True, EXIT_CHECK_FAILED)):
        assert run(Options(peers=("script", "compact"), check=check)) == code
        assert "NOT reached" in capsys.readouterr().out


def _slow_compact(rows, courses, cpus, rounds, *, has_tls):
    from tools.bench.t2t.load import USUAL
    from tools.bench.t2t.pairing import Paired
    from tools.bench.t2t.result import Result
    from tools.bench.t2t.runs import Run

    found = {}
    for one, latency_ns in zip(rows, (20_000, 90_000), strict=True):
        result = found["steady", one.name] = Result(one, "steady")
        result.add(Run(Paired((latency_ns,), 0, 0, 0), USUAL, 10, 10, 0, 0))
    return found
