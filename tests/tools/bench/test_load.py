import json
import os

import pytest

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.bench.load import command
from tools.bench.load.command import Options, run

needs_two_cpus = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="venue and system need a cpu each"
)


@needs_two_cpus
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("topology", ["compact", "dedicated"])
def test_every_frame_becomes_a_record_and_every_trigger_an_order(
    topology, capsys: pytest.CaptureFixture[str]
):
    options = Options(
        rate=400,
        instruments=4,
        seconds=2,
        depth_share=0.25,
        orders=4.0,
        topology=topology,
        as_json=True,
    )
    assert run(options) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert (found["frames_sent"], found["depth_frames_sent"]) == (800, 200)
    assert found["frames_received_ever"] == found["frames_sent_ever"] > 800
    assert (found["frames_lost"], found["tickers_unpublished"]) == (0, 0)
    assert found["records_published"] >= found["age_ns"]["n"] == 600
    assert 0 < found["age_ns"]["p50"] <= found["age_ns"]["max"]
    orders = found["orders"]
    assert (orders["answered"], orders["missed"], orders["doubled"], orders["strays"]) == (
        8, 0, 0, 0
    )  # fmt: skip
    assert found["violations"] == 0
    assert found["rehearsals"] > 0
    for name in ("gaps", "book_mismatches", "garbage", "reconnects", "crossed"):
        assert found["faults"][name] == 0
    hops = {hop["name"]: hop["count"] for hop in found["hops"]}
    assert hops["tick_to_trade"] == 8


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (Options(depth_share=0.9), "depth share"),
        (Options(instruments=400), "instruments"),
        (Options(rate=499, instruments=50), "stand still"),
    ],
)
def test_what_cannot_be_paced_is_refused(options: Options, text: str):
    with pytest.raises(UsageError, match=text):
        run(options)


@needs_two_cpus
def test_check_fails_when_a_frame_was_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome_of
):
    monkeypatch.setattr(command, "_measure", lambda *_: outcome_of(lost=1))
    for check, code in ((False, EXIT_OK), (True, EXIT_CHECK_FAILED)):
        assert run(Options(check=check)) == code
        assert "frames lost                                         1.00  (<= 0): NOT reached" in (
            capsys.readouterr().out
        )
