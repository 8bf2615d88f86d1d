"""The bench of the strategy engine, at its smallest."""

from __future__ import annotations

import json

from tools.bench import strategy


def test_it_measures_and_tells(capsys) -> None:
    assert strategy.run(as_json=True, check=False, batches=3) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["callback_ns"]["direct"]["p50"] > 0
    assert found["callback_ns"]["engine"]["p50"] > 0
    assert found["callback_ns"]["top"]["p50"] > 0
