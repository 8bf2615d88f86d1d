"""What the checks say of four captured machines, and of each fact that is changed on one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tools.doctor.command import HOST_CHECKS
from tools.doctor.finding import Finding, grouped
from tools.doctor.host import ClockState, Host, Space

Machine = Callable[..., Host]

EXPECTED = {
    "vm": {
        "plan": "note", "isolation": "warning", "nohz_full": "warning", "rcu_nocbs": "warning",
        "siblings": "fine", "quota": "fine", "governor": "skipped", "turbo": "skipped",
        "idle": "fine", "interrupts": "warning", "irqbalance": "fine", "steal": "fine",
        "thp": "fine", "ksm": "fine", "numa": "fine", "swap": "fine", "memlock": "fine",
        "shm": "fine", "release": "fine", "clocksource": "fine", "nmi_watchdog": "fine",
        "stat_interval": "warning", "rt_runtime": "fine", "workqueues": "warning",
        "protected": "warning", "mitigations": "note", "busy_poll": "warning",
        "slow_start": "warning", "coalescing": "skipped", "clock": "warning",
    },
    "xeon": {
        "plan": "note", "isolation": "fine", "nohz_full": "fine", "rcu_nocbs": "fine",
        "siblings": "fine", "quota": "fine", "governor": "fine", "turbo": "fine", "idle": "fine",
        "interrupts": "fine", "irqbalance": "fine", "thp": "fine", "ksm": "fine", "numa": "fine",
        "swap": "fine", "memlock": "fine", "shm": "fine", "release": "fine",
        "clocksource": "fine", "nmi_watchdog": "fine", "stat_interval": "fine",
        "rt_runtime": "fine", "workqueues": "fine", "protected": "fine", "mitigations": "note",
        "busy_poll": "fine", "slow_start": "fine", "coalescing": "fine", "card_node": "fine",
        "clock": "fine",
    },
    "laptop": {
        "plan": "note", "isolation": "problem", "nohz_full": "warning", "rcu_nocbs": "warning",
        "siblings": "warning", "quota": "fine", "governor": "warning", "turbo": "warning",
        "idle": "warning", "interrupts": "warning", "irqbalance": "warning", "thp": "warning",
        "ksm": "warning", "numa": "fine", "swap": "warning", "memlock": "warning",
        "shm": "fine", "release": "problem", "clocksource": "problem",
        "nmi_watchdog": "warning", "stat_interval": "warning", "rt_runtime": "fine",
        "workqueues": "warning", "protected": "fine", "mitigations": "note",
        "busy_poll": "warning", "slow_start": "warning", "coalescing": "warning",
        "clock": "fine", "clock_service": "note",
    },
    "container": {
        "plan": "note", "isolation": "skipped", "siblings": "fine", "quota": "problem",
        "governor": "warning", "turbo": "skipped", "idle": "skipped", "interrupts": "skipped",
        "irqbalance": "fine", "thp": "fine", "ksm": "fine", "numa": "fine", "swap": "fine",
        "memlock": "warning", "shm": "problem", "release": "fine", "clocksource": "fine",
        "nmi_watchdog": "warning", "stat_interval": "warning", "rt_runtime": "note",
        "workqueues": "skipped", "protected": "fine", "mitigations": "skipped",
        "busy_poll": "skipped", "slow_start": "warning", "coalescing": "skipped",
        "clock": "fine",
    },
}  # fmt: skip


def examine(host: Host) -> list[Finding]:
    return [
        finding
        for group, checks in HOST_CHECKS
        for check in checks
        for finding in grouped(group, check(host))
    ]


def found(host: Host, check: str) -> Finding:
    (finding,) = (one for one in examine(host) if one.check == check)
    return finding


def test_every_machine_gets_its_verdicts(machine: Machine, name: str) -> None:
    assert {one.check: one.verdict for one in examine(machine(name))} == EXPECTED[name]


@pytest.mark.parametrize("topology", ["compact", "dedicated"])
def test_what_is_wrong_says_why_and_how_to_mend_it(
    machine: Machine, name: str, topology: str
) -> None:
    for finding in examine(machine(name, topology)):
        assert finding.fact
        if finding.verdict in ("warning", "problem"):
            assert finding.why.endswith("."), finding
            assert finding.fix, finding
        for command in finding.fix:
            # A shell has to understand what a person copies.
            done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
            assert done.returncode == 0, command


def test_isolation_names_the_options_that_lack_for_the_cores_of_the_plan(machine: Machine) -> None:
    fix = found(machine("laptop", "dedicated", cpus=(1, 2, 3)), "isolation").fix
    assert fix[0] == "options='isolcpus=managed_irq,domain,1-3,5-7'"
    assert fix[1:4] == (
        "options+=' nohz_full=1-3,5-7'",
        "options+=' rcu_nocbs=1-3,5-7'",
        "options+=' irqaffinity=0,4'",
    )
    assert "/etc/default/grub.d/90-hft.cfg" in fix[4]


def test_where_grubby_is_the_boot_options_are_its(machine: Machine) -> None:
    host = machine("xeon", changes={"usr/sbin/grubby": "", "sys/devices/system/cpu/isolated": ""})
    assert 'sudo grubby --update-kernel=ALL --args="$options"' in found(host, "isolation").fix


def test_one_option_that_lacks_is_the_only_one_asked_for(machine: Machine) -> None:
    host = machine("xeon", changes={"sys/devices/system/cpu/nohz_full": "(null)"})
    assert found(host, "isolation").verdict == "fine"
    finding = found(host, "nohz_full")
    assert finding.verdict == "warning"
    assert finding.fix[1:] == ("#   nohz_full=7",)


def test_a_host_without_a_core_to_spare_is_not_told_to_set_one_apart(machine: Machine) -> None:
    host = machine("vm", changes={"sys/devices/system/cpu/online": "0"})
    assert found(host, "isolation").verdict == "skipped"
    assert found(host, "interrupts").verdict != "warning"
    assert found(host, "workqueues").verdict == "note"


def test_hot_processes_that_take_turns_are_told_of_the_compact_topology(machine: Machine) -> None:
    finding = found(machine("vm", "dedicated"), "plan")
    assert "feed on cpu 1, strategy on cpu 1" in finding.fact
    assert "compact topology" in finding.why


def test_a_second_thread_that_may_be_used_is_switched_off_by_name(machine: Machine) -> None:
    finding = found(machine("laptop", cpus=(2,)), "siblings")
    assert finding.fact == "cpu 6 shares its core with cpu 2"
    assert finding.fix == ("echo 0 | sudo tee /sys/devices/system/cpu/cpu6/online",)


def test_a_second_thread_that_is_isolated_is_fine(machine: Machine) -> None:
    host = machine("laptop", changes={"sys/devices/system/cpu/isolated": "3,7"})
    assert found(host, "siblings").verdict == "fine"


def test_hot_cores_in_two_sockets_are_pointed_out(machine: Machine) -> None:
    host = machine("xeon", "dedicated", cpus=(2, 3, 4, 9))
    assert found(host, "placement").fact == "hot processes are spread over 2 NUMA nodes"
    assert found(host, "card_node").fact == "ens1f0 is on NUMA node 0, execution on another"


def test_hot_cores_of_one_cache_are_fine(machine: Machine) -> None:
    assert found(machine("xeon", "dedicated"), "placement").verdict == "fine"


@pytest.mark.parametrize(
    ("path", "text", "group"),
    [
        ("sys/fs/cgroup/box/cpu.max", "50000 100000", "0::/box"),
        ("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000", "4:cpu,cpuacct:/box"),
    ],
)
def test_a_quota_of_either_kind_of_control_group_is_a_problem(
    machine: Machine, path: str, text: str, group: str
) -> None:
    host = machine("xeon", changes={path: text, "proc/self/cgroup": group})
    assert "allows 0.5 cpus" in found(host, "quota").fact


def test_a_program_that_forbids_deep_sleep_is_believed(machine: Machine) -> None:
    host = machine("laptop", changes={"dev/cpu_dma_latency": "\0\0\0\0"})
    assert found(host, "idle").verdict == "fine"


def test_idle_states_that_are_too_deep_are_named_with_their_command(machine: Machine) -> None:
    finding = found(machine("laptop"), "idle")
    assert finding.fact == "cpu 7 may sleep deeply: C1E 10 µs, C10 890 µs"
    path = "/sys/devices/system/cpu/cpu7/cpuidle/state{1..2}/disable"
    assert finding.fix == (f"echo 1 | sudo tee {path}",)


def test_an_amd_boost_is_known_too(machine: Machine) -> None:
    host = machine(
        "laptop",
        changes={
            "sys/devices/system/cpu/intel_pstate/no_turbo": None,
            "sys/devices/system/cpu/cpufreq/boost": "1",
        },
    )
    assert found(host, "turbo").fix == ("echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",)


def test_only_interrupts_that_fire_on_hot_cores_count(machine: Machine) -> None:
    finding = found(machine("laptop", cpus=(3,)), "interrupts")
    assert finding.fact == "devices interrupt cpus 3,7: enp0s31f6, nvme0q4"
    assert "for i in 120 130; do echo 0-2,4-6 |" in finding.fix[0]


def test_irqbalance_is_harmless_beside_isolated_cores(machine: Machine) -> None:
    host = machine("xeon", changes={"proc/800/comm": "irqbalance"})
    assert found(host, "irqbalance").verdict == "fine"


def test_stolen_time_is_a_warning_with_its_share(machine: Machine) -> None:
    stat = "cpu  0\ncpu0 900 0 0 100 0 0 0 0 0 0\ncpu1 900 0 0 50 0 0 0 50 0 0"
    finding = found(machine("vm", changes={"proc/stat": stat}), "steal")
    assert finding.verdict == "warning"
    assert finding.fact.startswith("the hypervisor took 5.0% of cpu 1")


@pytest.mark.parametrize(
    ("path", "text", "check", "verdict"),
    [
        ("sys/kernel/mm/transparent_hugepage/defrag", "[always] never", "thp", "warning"),
        ("proc/sys/kernel/numa_balancing", "1", "numa", "warning"),
        ("proc/meminfo", "HugePages_Total:    1024", "hugepages", "note"),
        ("proc/self/limits", "", "memlock", "skipped"),
        ("proc/sys/kernel/osrelease", "5.16.0", "release", "fine"),
        ("proc/sys/kernel/osrelease", "5.15.9", "release", "problem"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "acpi_pm",
         "clocksource", "problem"),
        ("proc/sys/vm/stat_interval", "1", "stat_interval", "warning"),
        ("proc/sys/fs/protected_fifos", "0", "protected", "warning"),
        ("proc/sys/net/core/busy_read", "0", "busy_poll", "warning"),
        ("sys/devices/virtual/workqueue/cpumask", "00000000,0000ffff", "workqueues", "warning"),
        ("proc/net/route", "", "coalescing", "skipped"),
        ("sys/devices/system/cpu/cpu7/cpufreq/energy_performance_preference", "power", "governor",
         "warning"),
    ],
)  # fmt: skip
def test_one_change_on_a_tuned_server_is_seen(
    machine: Machine, path: str, text: str, check: str, verdict: str
) -> None:
    assert found(machine("xeon", changes={path: text}), check).verdict == verdict


def test_a_clock_without_tsc_is_mended_by_a_boot_option(machine: Machine) -> None:
    base = "sys/devices/system/clocksource/clocksource0"
    changes = {f"{base}/current_clocksource": "hpet", f"{base}/available_clocksource": "hpet"}
    assert "#   tsc=reliable" in found(machine("xeon", changes=changes), "clocksource").fix


def test_real_time_processes_that_the_kernel_stops_are_a_warning(machine: Machine) -> None:
    finding = found(machine("xeon", scheduling="fifo"), "rt_runtime")
    assert finding.verdict == "warning"
    assert "950 ms" in finding.fact


def test_the_work_queues_mask_is_written_in_words_of_32_bits(machine: Machine) -> None:
    changes = {
        "sys/devices/system/cpu/online": "0-39",
        "sys/devices/system/cpu/isolated": "39",
        "sys/devices/virtual/workqueue/cpumask": "ff,ffffffff",
    }
    finding = found(machine("container", changes={**changes, "proc/2/comm": "kthreadd",
                    "proc/self/status": "Cpus_allowed_list: 0-39",
                    "sys/fs/cgroup/cpuset.cpus.effective": "0-39"}), "workqueues")  # fmt: skip
    assert finding.fix[0].startswith("echo 7f,ffffffff |")


@pytest.mark.parametrize(
    ("tracking", "verdict"),
    [
        ("System time     : 0.250000000 seconds fast of NTP time\nLeap status     : Normal",
         "problem"),
        ("System time     : 0.000100000 seconds fast of NTP time\nLeap status     : Normal",
         "fine"),
        ("System time     : 0.0 seconds slow of NTP time\nLeap status     : Not synchronised",
         "warning"),
        ("506 Cannot talk to daemon", "warning"),
    ],
)  # fmt: skip
def test_the_clock_is_judged_by_chrony_where_it_answers(
    machine: Machine, tracking: str, verdict: str
) -> None:
    host = machine("vm")
    host = replaced(host, tools={"chronyc": tracking})
    assert found(host, "clock").verdict == verdict


def test_a_clock_that_nobody_corrected_for_long_is_a_warning(machine: Machine) -> None:
    finding = found(replaced(machine("container"), clock=ClockState(True, 2_500_000)), "clock")
    assert (finding.verdict, finding.fact) == ("warning", "the clock may be 2.5 s off")


def test_a_card_that_collects_packets_is_told_to_hand_them_over(machine: Machine) -> None:
    host = replaced(machine("xeon"), tools={"ethtool": "Adaptive RX: off  TX: off\nrx-usecs:\t60"})
    finding = found(host, "coalescing")
    assert finding.fact == "ens1f0 collects packets for 60 µs"
    assert finding.fix == ("sudo ethtool -C ens1f0 rx-usecs 0",)


def test_shared_memory_that_is_missing_is_a_problem(machine: Machine) -> None:
    host = machine("vm")
    assert found(replaced(host, shm=None), "shm").verdict == "problem"
    tiny = found(replaced(host, shm=Space(2**26, 2**20)), "shm")
    assert tiny.fact == "/dev/shm: 1 MB of 64 MB are free"


def replaced(host: Host, **values: object) -> Host:
    import dataclasses

    return dataclasses.replace(host, **values)  # type: ignore[arg-type]  # named by the test


def test_a_virtual_machine_and_a_container_are_told_apart(machine: Machine) -> None:
    assert (machine("vm").virtual, machine("vm").is_container) == ("KVM", False)
    assert (machine("container").virtual, machine("container").is_container) == ("", True)
    assert (machine("xeon").virtual, machine("xeon").is_container) == ("", False)


@pytest.mark.parametrize(
    ("vendor", "maker"),
    [("Amazon EC2", "Amazon EC2"), ("QEMU", "KVM"), ("VMware, Inc.", "VMware"), ("Acme", "KVM")],
)
def test_the_maker_of_a_virtual_machine_is_named(machine: Machine, vendor: str, maker: str) -> None:
    assert machine("vm", changes={"sys/class/dmi/id/sys_vendor": vendor}).virtual == maker
