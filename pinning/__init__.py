"""Which core runs what. Knows processors, never trading; imports nothing else of this project.

``read_topology()`` says what the host has, ``make_plan()`` decides (purely), ``apply()`` carries it
out in the process that calls it.
"""

from pinning.apply import apply, locked_bytes
from pinning.errors import CpuListError, PinningError, PlanError, TopologyError
from pinning.memory import fill_memory
from pinning.plan import NOT_PINNED, Assignment, CpuPlan, Scheduling, Wait, make_plan
from pinning.topology import Topology, parse_cpu_list, read_topology

__all__ = [
    "NOT_PINNED",
    "Assignment",
    "CpuListError",
    "CpuPlan",
    "PinningError",
    "PlanError",
    "Scheduling",
    "Topology",
    "TopologyError",
    "Wait",
    "apply",
    "fill_memory",
    "locked_bytes",
    "make_plan",
    "parse_cpu_list",
    "read_topology",
]
