"""The audit: the venue's own books against journal, rings and account, invariant by invariant.

Pure: everything it holds against each other stands in ``Evidence``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools.chaos import audit_account, audit_orders, audit_paper, audit_times
from tools.chaos.evidence import Audit, Check, Evidence, Finding

EVIDENCE_MAX: Final = 3
INVARIANTS: Final[Mapping[str, Check]] = {
    **audit_account.CHECKS,
    **audit_orders.CHECKS,
    **audit_times.CHECKS,
    **audit_paper.CHECKS,
}
"""What has to hold, and what looks whether it does."""


def audit(evidence: Evidence) -> Audit:
    """Hold everything against everything."""
    checked: dict[str, int] = {}
    findings: list[Finding] = []
    for invariant, check in INVARIANTS.items():
        count, troubles = check(evidence)
        checked[invariant] = count
        found = tuple(troubles)
        if found:
            findings.append(
                Finding(invariant=invariant, count=len(found), evidence=found[:EVIDENCE_MAX])
            )
    return Audit(checked=checked, findings=tuple(findings))
