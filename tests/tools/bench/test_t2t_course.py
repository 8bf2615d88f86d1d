import itertools

import pytest

from hft.errors import UsageError
from hft.units import NS_PER_S
from tools.bench.t2t.course import PROFILES, Course, batches, check


def course(profile: str, **changes: float) -> Course:
    return Course(profile, 2_000, 12.0, warm=3, triggers=20)._replace(**changes)


@pytest.mark.parametrize("profile", PROFILES)
def test_course_has_every_trigger_and_keeps_its_rate_and_pace(profile: str):
    plan = list(batches(course(profile)))
    triggers = [batch for batch in plan if batch.trigger_at >= 0]
    assert len(triggers) == 23
    assert all(batch.trigger_at < batch.frames for batch in triggers)
    frames = sum(batch.frames for batch in plan)
    seconds = (plan[-1].due_ns + plan[1].due_ns) / NS_PER_S
    assert frames / seconds == pytest.approx(2_000, rel=0.01)
    assert len(triggers) / seconds == pytest.approx(12, rel=0.05)


def test_steady_frames_are_evenly_spaced():
    plan = list(batches(course("steady")))
    due = [
        batch.due_ns + index * batch.spacing_ns for batch in plan for index in range(batch.frames)
    ]
    assert {after - before for before, after in itertools.pairwise(due)} == {500_000}


def test_burst_stands_back_to_back_and_its_trigger_anywhere():
    plan = list(batches(course("burst", triggers=200)))
    assert {batch.spacing_ns for batch in plan} == {0}
    assert len({batch.trigger_at for batch in plan}) > 10


def test_same_seed_makes_the_same_course():
    assert list(batches(course("burst"))) == list(batches(course("burst")))
    assert list(batches(course("burst", seed=2))) != list(batches(course("burst")))


@pytest.mark.parametrize("wrong", [{"profile": "wild"}, {"pace_per_s": 300.0}])
def test_course_that_cannot_be_paced_is_refused(wrong: dict[str, float]):
    with pytest.raises(UsageError):
        check(course("steady")._replace(**wrong))
