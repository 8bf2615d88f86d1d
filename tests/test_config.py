"""Settings files: every problem at once, with its line and its remedy."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.config import Config
from hft.config_checks import contradictions
from hft.config_file import find, line_numbers, load, parse, to_toml
from hft.core.order_id import STRATEGY_MAX
from hft.errors import ConfigError, UsageError

GOOD = """\
symbols = ["BTCUSDT", "ETHUSDT"]

[system]
name = "desk-1"

[venue]
key_file = "key"

[risk]
policy = "demo"

[risk.limits]
order_notional_max = "500"

[[strategies]]
name = "maker"
plugin = "plugins/mine.py:Mine"
symbols = ["BTCUSDT"]

[strategies.parameters]
spread_bps = 1.5
"""


def config_of(text: str) -> Config:
    return parse(text, source="hft.toml", base=Path("/desk"))


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config_of(text)
    return raised.value.problems


def with_line(line: str, after: str) -> str:
    return GOOD.replace(after, f"{after}\n{line}")


def test_good_file_is_read_with_paths_from_its_directory() -> None:
    config = config_of(GOOD)
    assert config.system.name == "desk-1"
    assert config.venue.key_file == "/desk/key"
    assert config.strategies[0].plugin == "/desk/plugins/mine.py:Mine"
    assert config.strategies[0].parameters == {"spread_bps": 1.5}


def test_effective_settings_are_a_file_that_gives_the_same_settings() -> None:
    config = config_of(GOOD)
    assert config_of(to_toml(config)) == config


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("max_order_notional = 1", "[risk]",
         "hft.toml line 10: risk.max_order_notional is not a setting.\n"
         "Did you mean order_notional_max in [risk.limits]?"),
        ("topolgy = 1", "[system]",
         "hft.toml line 4: system.topolgy is not a setting.\nDid you mean topology?"),
        ('topology = "both"', "[system]",
         'hft.toml line 4: system.topology is "both": no such choice.\n'
         'Write one of "compact", "dedicated".'),
        ("recv_window_ms = 9000", "[venue]",
         "hft.toml line 7: venue.recv_window_ms is 9000: out of range.\n"
         "Write a whole number above 0 and at most 5000."),
        ("recv_window_ms = 1.5", "[venue]",
         "hft.toml line 7: venue.recv_window_ms is 1.5: not a whole number.\n"
         "Write a whole number above 0 and at most 5000."),
        ("recv_window_ms = true", "[venue]",
         "hft.toml line 7: venue.recv_window_ms is true: not a whole number.\n"
         "Write a whole number above 0 and at most 5000."),
        ('position_notional_max = "5oo USDT"', "[risk.limits]",
         'hft.toml line 13: risk.limits.position_notional_max is "5oo USDT":'
         " not a decimal number.\n"
         'Write a decimal number, for example position_notional_max = "500".'),
        ("position_notional_max = 700", "[risk.limits]",
         "hft.toml line 13: risk.limits.position_notional_max is 700, without quotes.\n"
         'Write position_notional_max = "700".'),
        ("feed = 3", "# top", "hft.toml line 2: feed is 3: not a section.\n"
         "Write [feed] on a line of its own and its settings below it."),
        ('rest_url = "fapi.binance.com"', "[venue]",
         'hft.toml line 7: venue.rest_url is "fapi.binance.com": not an address.\n'
         "Write an address that starts with http:// or https://."),
        ("permit_renew_ms = 200", "[risk]",
         "hft.toml line 10: risk.permit_renew_ms is 200: more than half of permit_ms (250),"
         " so one late renewal would stop trading.\nWrite at most 125."),
        ('position_notional_max = "400"', "[risk.limits]",
         'hft.toml line 14: risk.limits.order_notional_max is "500":'
         " more than position_notional_max (400).\n"
         "Write at most 400, or raise position_notional_max."),
        ('cpus = [1]\ntopology = "dedicated"\nwait = "busy_spin"', "[system]",
         'hft.toml line 6: system.wait is "busy_spin", which needs a core for each hot process:'
         " 4 in the dedicated topology, and system.cpus names 1.\n"
         'Name more cores in system.cpus, or write wait = "auto".'),
        ('key_type = "ed25519"', "[venue]",
         'hft.toml line 6: venue.private_key_file is missing, and key_type is "ed25519".\n'
         "Name the private key (PEM) that belongs to the API key."),
    ],
)  # fmt: skip
def test_each_problem_names_line_fault_and_remedy(line: str, after: str, expected: str) -> None:
    text = f"# top\n{line}\n{GOOD}" if after == "# top" else with_line(line, after)
    assert problems_of(text) == [expected]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace('"desk-1"', '"My Desk"').replace('"500"', "500")
    text = text.replace('symbols = ["BTCUSDT"]', 'symbols = ["BTCUSTD"]')
    found = problems_of(text)
    assert [one.split(":")[0] for one in found] == [
        "hft.toml line 4",
        "hft.toml line 13",
        "hft.toml line 18",
    ]
    assert found[2].endswith("Did you mean BTCUSDT?")


def test_missing_required_setting_does_not_hide_contradictions() -> None:
    text = GOOD.replace('plugin = "plugins/mine.py:Mine"\n', "").replace("ETHUSDT", "BTCUSDT")
    assert problems_of(text) == [
        "hft.toml line 1: symbols names BTCUSDT 2 times.\nName each symbol once.",
        "hft.toml line 15: strategies[0].plugin is missing.\n"
        'Add plugin = "hft.strategy.maker:Maker".',
    ]


def test_two_strategies_may_want_one_instrument_and_priority_orders_them() -> None:
    second = '\n[[strategies]]\nname = "other"\nplugin = "a:B"\nsymbols = ["BTCUSDT"]\n'
    config = config_of(GOOD + second + "priority = 1\n")
    assert [one.priority for one in config.strategies] == [0, 1]


def test_broken_toml_is_told_with_its_line() -> None:
    (problem,) = problems_of("symbols = [1]\nx 5\n")
    assert problem.startswith("hft.toml line 2: this is not TOML: expected '=' after a key")


def test_lines_of_nested_lists_and_dotted_keys_are_found() -> None:
    lines = line_numbers("a.b = 1\n[[s]]\nx = 1\n[s.p]\ny = 2\n[[s]]\nx = 3\n")
    assert lines[("a", "b")] == 1
    assert lines[("s", 0, "p", "y")] == 5
    assert lines[("s", 1, "x")] == 7


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hft.toml"
    path.write_text(GOOD)
    assert load(path, {("system", "name"): "other"}).system.name == "other"


def test_missing_and_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no settings file"):
        find(str(tmp_path / "none.toml"))
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        load(path)


SCALARS = st.one_of(st.booleans(), st.integers(-10, 10_000), st.text("ab1.", max_size=4))
TABLES = st.dictionaries(st.sampled_from([*Config.__struct_fields__, "wrong"]),
                         st.one_of(SCALARS, st.lists(SCALARS, max_size=2),
                                   st.dictionaries(st.sampled_from(["name", "cpus", "policy"]),
                                                   SCALARS, max_size=2)), max_size=4)  # fmt: skip


def toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


@given(TABLES)
def test_any_toml_gives_settings_or_a_list_of_problems(table: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {toml_value(value)}" for key, value in table.items())
    try:
        problems = [] if isinstance(config_of(text), Config) else ["no settings"]
    except ConfigError as error:
        problems = error.problems or ["no problem told"]
    assert all("\n" in problem for problem in problems)


def test_there_is_room_for_as_many_strategies_as_have_ids() -> None:
    """The last id is that of orders by hand."""
    config = config_of(GOOD)
    one = config.strategies[0]
    named = tuple(
        msgspec.structs.replace(one, name=f"s{number}", symbols=(f"S{number}",))
        for number in range(STRATEGY_MAX + 1)
    )
    symbols = tuple(f"S{number}" for number in range(STRATEGY_MAX))
    config = msgspec.structs.replace(config, symbols=symbols)
    found = list(contradictions(msgspec.structs.replace(config, strategies=named)))
    assert found[0].message == "is number 127; there is room for 126"
    assert not list(contradictions(msgspec.structs.replace(config, strategies=named[:-1])))


@pytest.mark.parametrize(
    ("line", "after"),
    [('mode = "paper"', 'name = "maker"'), ('mode = "paper"', 'name = "desk-1"')],
    ids=["a strategy", "the system"],
)
def test_paper_needs_the_trades_of_the_market(line: str, after: str) -> None:
    text = with_line(line, after)
    assert config_of(text)
    silent = text.replace("[venue]", "[feed]\ntrades = false\n\n[venue]")
    assert any("its fills come from the trades" in problem for problem in problems_of(silent))


def test_what_is_wrong_in_a_policy_file_is_told_without_double_stops(tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text('base = "none"\n[limits]\nopen_order_max = 1\n')
    text = 'symbols = ["BTCUSDT"]\n[venue]\nkey_file = "key"\n[risk]\npolicy = "desk.toml"\n'
    with pytest.raises(ConfigError) as caught:
        parse(text, source="hft.toml", base=tmp_path)
    told = [one for one in caught.value.problems if "does not hold" in one]
    assert len(told) == 2
    for problem in told:
        assert ".." not in problem
        assert problem.splitlines()[-1]
