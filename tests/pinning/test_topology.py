from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinning import CpuListError, TopologyError, parse_cpu_list, read_topology

FAKE_SYS = Path(__file__).resolve().parent.parent / "fake_sys"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", set()),
        ("(null)", set()),
        ("0", {0}),
        ("0-3,8", {0, 1, 2, 3, 8}),
        (" 2 , 4-5 ", {2, 4, 5}),
        ("all", {0, 1, 2, 3, 4, 5, 6, 7}),
        ("6-N", {6, 7}),
        ("0-7:1/2", {0, 2, 4, 6}),
        ("0-7:2/4", {0, 1, 4, 5}),
    ],
)
def test_every_form_of_the_kernels_list_is_read(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text, last_cpu=7) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0-9999", "0-7:2", "0-7:3/2", "1;2", "٣"])
def test_text_that_is_no_list_is_refused_by_name(text: str) -> None:
    with pytest.raises(CpuListError, match="is not a list of cpus") as caught:
        parse_cpu_list(text)
    assert text in str(caught.value)
    assert caught.value.remedy


@given(st.sets(st.integers(0, 500)))
def test_a_list_that_was_written_is_read_back(cpus: set[int]) -> None:
    assert parse_cpu_list(",".join(map(str, cpus))) == cpus


@given(st.text(max_size=20))
def test_no_text_does_worse_than_a_clear_error(text: str) -> None:
    try:
        cpus = parse_cpu_list(text)
    except CpuListError:
        return
    assert all(0 <= cpu < 8_192 for cpu in cpus)


def test_two_plain_cpus_are_two_cores() -> None:
    topology = read_topology(FAKE_SYS / "two_cpus")
    assert topology.cpus == (0, 1)
    assert topology.cores == ((0,), (1,))
    assert topology.allowed == {0, 1}
    assert not topology.is_undisturbed(1)


def test_two_threads_are_one_core() -> None:
    topology = read_topology(FAKE_SYS / "two_threads")
    assert topology.cores == ((0, 1),)
    assert topology.siblings(0) == (1,)


def test_isolated_cpus_are_allowed_although_the_inherited_mask_lacks_them() -> None:
    topology = read_topology(FAKE_SYS / "isolated")
    assert topology.cores == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert topology.isolated == topology.nohz_full == {2, 3, 6, 7}
    assert topology.rcu_nocbs == {1, 2, 3, 6, 7}
    assert topology.allowed == set(range(8))
    assert topology.is_undisturbed(6)
    assert not topology.is_undisturbed(1)


def test_the_nearest_control_group_and_the_affinity_both_limit() -> None:
    assert read_topology(FAKE_SYS / "confined").allowed == {3, 4, 5}


def test_control_groups_of_the_first_version_limit_too() -> None:
    assert read_topology(FAKE_SYS / "old_groups").allowed == {1, 2}


def test_a_host_without_sys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="names no cpu"):
        read_topology(tmp_path)


def test_asking_for_the_siblings_of_a_missing_cpu_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        read_topology(FAKE_SYS / "two_cpus").siblings(9)


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        target = root / "sys/devices/system" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


def test_caches_and_nodes_are_told_apart(tmp_path: Path) -> None:
    files = {"cpu/online": "0-7\n", "node/online": "0-1\n"}
    for cpu in range(8):
        files[f"cpu/cpu{cpu}/cache/index0/level"] = "1\n"
        files[f"cpu/cpu{cpu}/cache/index0/shared_cpu_list"] = f"{cpu}\n"
        files[f"cpu/cpu{cpu}/cache/index3/level"] = "3\n"
        files[f"cpu/cpu{cpu}/cache/index3/shared_cpu_list"] = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}\n"
    files |= {"node/node0/cpulist": "0-3\n", "node/node1/cpulist": "4-7\n"}
    topology = read_topology(write(tmp_path, files))
    assert topology.caches == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert topology.nodes == ((0, 1, 2, 3), (4, 5, 6, 7))


def test_a_node_without_cpus_is_no_node_and_cpus_that_are_off_belong_to_none(
    tmp_path: Path,
) -> None:
    files = {"cpu/online": "0,2", "node/online": "0-1", "node/node0/cpulist": "0-2"}
    topology = read_topology(write(tmp_path, {**files, "node/node1/cpulist": ""}))
    assert topology.nodes == ((0, 2),)
    assert topology.caches == ()


def test_this_host_can_be_read() -> None:
    topology = read_topology()
    assert topology.allowed
    assert {cpu for core in topology.cores for cpu in core} == set(topology.cpus)
