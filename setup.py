"""Build of the compiled modules: every ``.pyx`` file in the packages, one extension each."""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
PACKAGES = ("hft", "ipc", "tools")
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
    "binding": False,
}
JOBS = int(os.environ.get("HFT_BUILD_JOBS", "0")) or len(os.sched_getaffinity(0))


def extensions() -> list[Extension]:
    """One extension for each ``.pyx``; Cython adds what it includes and cimports as dependencies.

    ``-O2`` keeps the cold build short; the hot leaves are inlined anyway.
    """
    found = []
    for package in PACKAGES:
        for path in sorted(ROOT.joinpath(package).rglob("*.pyx")):
            relative = path.relative_to(ROOT)
            found.append(
                Extension(
                    ".".join(relative.with_suffix("").parts),
                    [str(relative)],
                    include_dirs=[str(relative.parent), "."],
                    extra_compile_args=["-O2", "-fno-strict-aliasing", "-Wno-unreachable-code"],
                    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
                )
            )
    return found


if __name__ == "__main__":
    setup(
        ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES, nthreads=JOBS),
        options={"build_ext": {"parallel": JOBS}},
    )
