"""Limits that a person changed while the system runs, in the run directory.

``hft risk set`` writes the file, then tells risk, which checks it again before it takes it over. A
successor of risk reads it at its start, so a change outlives it; a new start of the system begins
with the settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from hft.config import Plan
from hft.core.policies import CHANGES_MAX, POLICY_VERSION, Limits, limits_for, with_values
from hft.errors import HftError, UsageError

FILE_NAME: Final = "limits.json"


class SavedLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs from the settings: limits by name, in their units inside."""

    changes: int
    """How often anything was changed since the start."""
    values: dict[str, int]


def configured(plan: Plan) -> Limits:
    """The limits that the settings give for this account."""
    risk = plan.config.risk
    overrides: dict[str, object] = dict(risk.policy_limits)
    own = msgspec.structs.asdict(risk.limits)
    overrides |= {name: value for name, value in own.items() if value is not None}
    return limits_for(risk.policy, plan.equity_e8, overrides)


def load(run_dir: Path) -> SavedLimits:
    """The saved changes; none when there is no file.

    Raises:
        UsageError: the file is not what ``save`` wrote.
    """
    path = run_dir / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=SavedLimits)
    except FileNotFoundError:
        return SavedLimits(0, {})
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{path} does not hold limits: {error}",
            remedy="Remove it: the limits of the settings hold then.",
        ) from None


def save(run_dir: Path, saved: SavedLimits) -> None:
    """Replace the file in one step."""
    path = run_dir / FILE_NAME
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(saved))
    fresh.chmod(0o640)
    fresh.replace(path)


def in_force(plan: Plan) -> Limits:
    """The configured limits with what was changed since the start.

    Raises:
        UsageError: the file of changes does not hold limits.
    """
    saved = load(Path(plan.run_dir))
    if not 0 <= saved.changes <= CHANGES_MAX:
        raise UsageError(
            f"limits were changed {saved.changes} times since the start",
            remedy="Write them into the settings and start again.",
        )
    return with_values(configured(plan), saved.values, POLICY_VERSION + saved.changes)


def in_force_or_configured(plan: Plan) -> tuple[Limits, str]:
    """As ``in_force``; when the file is unusable the settings hold, and why is told."""
    try:
        return in_force(plan), ""
    except HftError as error:
        return configured(plan), error.message
