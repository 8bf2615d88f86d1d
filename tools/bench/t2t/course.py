"""What the bench venue sends and when: batches of frames, some of which carry a trigger.

A trigger is a change of the best bid. It stays visible in every frame until the next one, so that
whoever folds several frames into one still sees it; between two triggers only quantities change.
The price names the trigger: it walks up a ladder of ``PRICES`` ticks and begins again at its foot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from hft.errors import UsageError
from hft.units import NS_PER_S

PRICES: Final = 400
"""Different prices before one comes again; one old trigger cannot be taken for a newer one."""
STEADY_FRAMES: Final = 8
BURST_FRAMES: Final = 20
COLD_PACE_PER_S: Final = 0.2
PROFILES: Final = ("steady", "burst", "cold")


class Course(NamedTuple):
    """One run of one contender, as the venue is told it."""

    profile: str
    """steady: evenly spaced frames; burst: as many in bursts; cold: steady, seconds per trigger."""
    rate_per_s: int
    """Frames each second."""
    pace_per_s: float
    """Triggers each second."""
    warm: int
    """Triggers that go first and are not counted."""
    triggers: int
    seed: int = 1
    by_rest: bool = False
    """Orders are looked for in the event loop as well, where the REST server reads them."""

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return (self.warm + self.triggers) / self.pace_per_s


class Batch(NamedTuple):
    """Frames that are prepared together, before the first of them is due."""

    due_ns: int
    """Of the first frame, since the start of the course."""
    spacing_ns: int
    """Between two frames; 0: back to back."""
    frames: int
    trigger_at: int
    """Index of the frame that carries a trigger; -1: none does."""


def check(course: Course) -> None:
    """Refuse what cannot be paced.

    Raises:
        UsageError: an unknown profile, or triggers nearer to each other than the batches.
    """
    if course.profile not in PROFILES:
        raise UsageError(
            f"there is no profile {course.profile!r}", remedy=f"Choose of {', '.join(PROFILES)}."
        )
    if course.rate_per_s < batch_frames(course.profile) * course.pace_per_s:
        raise UsageError(
            f"{course.pace_per_s:g} triggers/s do not fit into {course.rate_per_s} frames/s",
            remedy="Give a higher --rate or a lower --pace.",
        )


def batch_frames(profile: str) -> int:
    """Frames of one batch."""
    return BURST_FRAMES if profile == "burst" else STEADY_FRAMES


def batches(course: Course) -> Iterator[Batch]:
    """All batches of a course. Triggers of a burst stand anywhere in it, by the seed.

    A trigger of a steady course is the first frame of its batch: nothing has to be prepared while
    its answer is awaited.
    """
    chance = random.Random(course.seed)
    frames = batch_frames(course.profile)
    is_burst = course.profile == "burst"
    interval_ns = frames * NS_PER_S // course.rate_per_s
    spacing_ns = 0 if is_burst else NS_PER_S // course.rate_per_s
    every = max(1, round(course.rate_per_s / frames / course.pace_per_s))
    for number in range((course.warm + course.triggers) * every):
        trigger_at = -1
        if number % every == every - 1:
            trigger_at = chance.randrange(frames) if is_burst else 0
        yield Batch(number * interval_ns, spacing_ns, frames, trigger_at)
