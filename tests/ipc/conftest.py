"""Segments for one test, removed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import ipc
from ipc import Segment, SegmentKind, SegmentSpec


@pytest.fixture
def create(system_name: str) -> Iterator[Callable[[SegmentSpec], SegmentSpec]]:
    """Create a segment of the test's own system."""
    made: list[str] = []

    def create_one(spec: SegmentSpec) -> SegmentSpec:
        ipc.create_segment(system_name, spec)
        made.append(spec.name)
        return spec

    yield create_one
    for name in made:
        ipc.unlink_segment(system_name, name)


@pytest.fixture
def attach(
    system_name: str, create: Callable[[SegmentSpec], SegmentSpec]
) -> Callable[..., Segment]:
    """Attach a segment, created at the first call."""

    def attach_one(spec: SegmentSpec, *, writable: bool = False) -> Segment:
        if spec.name not in ipc.list_segments(system_name):
            create(spec)
        return Segment.attach(system_name, spec, writable=writable)

    return attach_one


@pytest.fixture
def page(system_name: str, create: Callable[[SegmentSpec], SegmentSpec]) -> ipc.RolePage:
    """A role page, mapped for writing."""
    create(ipc.RolePage.spec("page.risk"))
    return ipc.RolePage.attach(system_name, "page.risk", writable=True)


@pytest.fixture
def bells(attach: Callable[..., Segment]) -> Segment:
    """Four bells."""
    spec = SegmentSpec("bells", SegmentKind.BELLS, ipc.BELL_BYTES, 4, shared=True)
    return attach(spec, writable=True)
