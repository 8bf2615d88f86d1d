"""Style as a test: what must not stand in the tree, with the reason and what to use instead."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hft", "ipc", "pinning", "tools")
GENERATED = "hft/core/generated/"
LINE_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700
ABBREVIATIONS = {
    "arr", "buf", "calc", "cfg", "cnt", "ctx", "curr", "elem", "exc", "idx", "lst", "mgr", "msg",
    "param", "prev", "ptr", "req", "res", "resp", "ret", "sz", "tmp", "val",
}  # fmt: skip


@cache
def written() -> tuple[str, ...]:
    """Every file that somebody wrote: what the build makes is left out, and so is this one."""
    places = [ROOT / name for name in (*PACKAGES, "tests")]
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".py")]
    found += [ROOT / "Makefile", ROOT / ".ci" / "run"]
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    made = ("__pycache__", GENERATED, "tests/test_tidy.py")
    return tuple(
        name
        for name in names
        if not name.endswith((".c", ".so")) and not any(part in name for part in made)
    )


def files(*suffixes: str, under: tuple[str, ...] = (*PACKAGES, "tests")) -> Iterator[str]:
    """Files of those suffixes in those folders, or of those names."""
    for name in written():
        placed = name in under or name.startswith(tuple(f"{folder}/" for folder in under))
        if placed and name.endswith(suffixes):
            yield name


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name), name)


@cache
def code_lines(name: str) -> tuple[tuple[int, str], ...]:
    """Numbered lines without comments and without string contents."""
    lines = text(name).splitlines()
    blank = [list(line) for line in lines]
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text(name)).readline))
    except (tokenize.TokenError, IndentationError):  # Cython that Python cannot tokenize
        return tuple((i, line.split("#")[0]) for i, line in enumerate(lines, 1))
    for token in tokens:
        if token.type not in (tokenize.COMMENT, tokenize.STRING):
            continue
        for row in range(token.start[0], token.end[0] + 1):
            first = token.start[1] if row == token.start[0] else 0
            last = token.end[1] if row == token.end[0] else len(lines[row - 1])
            blank[row - 1][first:last] = " " * (last - first)
    return tuple((i, "".join(line)) for i, line in enumerate(blank, 1))


class Ban(NamedTuple):
    """What must not be written, where it may be nevertheless, and what to write instead."""

    name: str
    pattern: str
    instead: str
    suffixes: tuple[str, ...] = (".py", ".pyx", ".pxd")
    under: tuple[str, ...] = PACKAGES
    allowed: tuple[str, ...] = ()
    whole_line: bool = False
    """Search comments and strings as well."""


BANS = (
    Ban("sleep", r"\btime\.sleep\b|from time import .*\bsleep\b|\bnanosleep\b|\busleep\b",
        "roles never sleep by themselves: wait strategies of ipc/wait.py, Pidfd.wait, events",
        allowed=("ipc/wait.py",)),
    Ban("yield", r"\bsched_yield\b|\bsleep\(0\)",
        "yielding neither waits nor spins well: use a wait strategy of ipc/wait.py",
        allowed=("ipc/wait.py",)),
    Ban("print", r"(?<![\w.])print\(",
        "count it, or raise an error: only the command line, the tools and the entry point of a "
        "process print",
        allowed=("hft/cli.py", "tools/", "hft/roles/process.py")),
    Ban("recarray", r"\brecarray\b|\bnp\.rec\b",
        "an attribute of a recarray costs 2 µs or more: use the generated views"),
    Ban("shared_memory", r"multiprocess(ing)?[. ]+(import +)?shared_memory|\bshared_memory\.Shared",
        "on Python 3.11 a dying process unlinks what it only attached: use ipc.Segment"),
    Ban("fork", r"\bos\.fork\b|\bforkpty\b|set_start_method\(.fork.\)|get_context\(.fork.\)",
        "a forked child keeps its dead parent's locks: use multiprocess with forkserver",
        whole_line=True),
    Ban("optimised away", r"python[\d.]* +-OO?\b|PYTHONOPTIMIZE",
        "assertions stay on: they guard our own books",
        suffixes=("",), under=(*PACKAGES, "tests", ".ci", "Makefile", "README.md"),
        whole_line=True),
    Ban("left over", r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b",
        "finish it, or open an issue", suffixes=(".py", ".pyx", ".pxd", ".pyi", ".h"),
        under=(*PACKAGES, "tests"), whole_line=True),
    Ban("mock library", r"\bunittest\.mock\b|\bfrom mock\b|\bpytest_mock\b|\bmocker\b",
        "hand-written fakes show what they do", under=(*PACKAGES, "tests")),
    Ban("a path of one machine", r"['\"(\s](/root/|/home/\w+/|/Users/)",
        "a path belongs into the configuration", suffixes=(".py", ".pyx", ".pxd", ".toml", ".md"),
        under=(*PACKAGES, "tests", "README.md", "CHANGELOG.md", "pyproject.toml"),
        whole_line=True),
    Ban("an ignore without its reason",
        r"# *(noqa(: *[A-Z]+\d+(, *[A-Z]+\d+)*)?|type: *ignore(\[[\w, -]+\])?|pragma: *no \w+)\s*$",
        "say why on the same line: # type: ignore[code]  # reason", whole_line=True),
)  # fmt: skip


@pytest.mark.parametrize("ban", BANS, ids=lambda ban: ban.name)
def test_nothing_banned_is_written(ban: Ban) -> None:
    pattern = re.compile(ban.pattern)
    found = []
    for name in files(*ban.suffixes, under=ban.under):
        if name.startswith(ban.allowed or ("\0",)):
            continue
        lines = enumerate(text(name).splitlines(), 1) if ban.whole_line else code_lines(name)
        found += [f"{name}:{number}" for number, line in lines if pattern.search(line)]
    assert not found, f"{ban.name}: {ban.instead}\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("ban", "line"),
    [
        ("sleep", "time.sleep(1)"),
        ("sleep", "from time import monotonic, sleep"),
        ("print", "    print(total)"),
        ("fork", 'multiprocess.get_context("fork")'),
        ("left over", "# TODO: later"),
        ("an ignore without its reason", "x = f()  # type: ignore[misc]"),
        ("an ignore without its reason", "import x  # noqa: F401"),
        ("shared_memory", "from multiprocessing import shared_memory"),
    ],
)
def test_a_ban_finds_what_it_is_for(ban: str, line: str) -> None:
    pattern = next(one.pattern for one in BANS if one.name == ban)
    assert re.search(pattern, line)


@pytest.mark.parametrize(
    ("ban", "line"),
    [
        ("sleep", "await asyncio.sleep(1)"),
        ("print", "self.print(total)"),
        ("print", "pprint(total)"),
        ("fork", 'multiprocess.get_context("forkserver")'),
        ("an ignore without its reason", "x = f()  # type: ignore[misc]  # untyped package"),
    ],
)
def test_a_ban_leaves_the_rest_alone(ban: str, line: str) -> None:
    pattern = next(one.pattern for one in BANS if one.name == ban)
    assert not re.search(pattern, line)


def test_lines_fit_the_screen() -> None:
    found = [
        f"{name}:{number}: {len(line)}"
        for name in files(".py", ".pyx", ".pxd", ".pyi", ".h")
        for number, line in enumerate(text(name).splitlines(), 1)
        if len(re.split(r"  # (?:noqa|type: ignore)", line)[0]) > LINE_MAX
    ]
    assert not found, f"longer than {LINE_MAX} columns\n" + "\n".join(found)


def test_files_fit_in_a_head() -> None:
    found = [
        f"{name}: {lines}"
        for name in files(".py", ".pyx", under=PACKAGES)
        if (lines := text(name).count("\n")) > FILE_LINES_MAX
    ]
    assert not found, f"longer than {FILE_LINES_MAX} lines: split it\n" + "\n".join(found)


def python_functions(module: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Name, first line and length of every function."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


CYTHON_FUNCTION = re.compile(r"(\s*)(?:async def|def|cp?def(?! +class))\s[^=(]*?(\w+)\(")


def cython_functions(source: str) -> Iterator[tuple[str, int, int]]:
    """The same by indentation, for what Python cannot parse."""
    lines = source.splitlines()
    for first, line in enumerate(lines):
        if not (match := CYTHON_FUNCTION.match(line)):
            continue
        depth, last = len(match.group(1)), first
        for number in range(first + 1, len(lines)):
            below = lines[number].strip()
            inside = len(lines[number]) - len(lines[number].lstrip()) > depth
            if below and not inside and not below.startswith(")"):
                break
            last = number if below else last
        yield match.group(2), first + 1, last - first + 1


def function_lengths(name: str) -> Iterator[tuple[str, int, int]]:
    return python_functions(tree(name)) if name.endswith(".py") else cython_functions(text(name))


def test_functions_fit_one_screen() -> None:
    found = [
        f"{name}:{line}: {function} has {length} lines"
        for name in files(".py", ".pyx")
        for function, line, length in function_lengths(name)
        if length > FUNCTION_LINES_MAX
    ]
    assert not found, f"longer than {FUNCTION_LINES_MAX} lines: divide it\n" + "\n".join(found)


def defined_names(name: str) -> Iterator[tuple[int, str]]:
    """Names that a Python file gives to its own things; what mirrors a venue's keys is not ours."""
    mirrored = {
        id(field.target)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ClassDef) and "venue" in name
        for field in node.body
        if isinstance(field, ast.AnnAssign)
    }
    for node in ast.walk(tree(name)):
        if id(node) in mirrored:
            continue
        match node:
            case ast.Name(id=word, ctx=ast.Store()) | ast.arg(arg=word):
                yield node.lineno, word
            case ast.FunctionDef(name=word) | ast.AsyncFunctionDef(name=word):
                yield node.lineno, word
            case ast.ClassDef(name=word):
                yield node.lineno, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()
            case ast.Attribute(attr=word, ctx=ast.Store()):
                yield node.lineno, word


def test_names_are_words() -> None:
    found = [
        f"{name}:{line}: {word}"
        for name in files(".py", under=PACKAGES)
        for line, word in defined_names(name)
        if ABBREVIATIONS & set(word.lower().split("_"))
    ]
    found += [
        f"{name}:{line}: {word}"
        for name in files(".pyx", ".pxd", under=PACKAGES)
        for line, code in code_lines(name)
        for word in re.findall(r"(?<![\w.])[a-z]\w*(?=\s*(?:=[^=]|,|\)))", code)
        if ABBREVIATIONS & set(word.split("_"))
    ]
    assert not found, (
        "no abbreviations but ns, seq, qty, id, tif, pnl, cpu, ipc: write the word\n"
        + "\n".join(found)
    )


def test_every_test_file_asserts_something() -> None:
    found = [
        name
        for name in files(".py", under=("tests",))
        if Path(name).name.startswith("test_")
        and not re.search(r"\bassert\b|\braises\(", text(name))
    ]
    assert not found, "a test without an assertion tests nothing\n" + "\n".join(found)


def test_a_test_mirrors_what_it_tests() -> None:
    """``tests/ipc/test_ring.py`` tests ``ipc/ring.pyx``."""
    of_their_own = {"conformance", "stress", "scenarios", "fake_sys", "clients", "system"}
    found = [
        name
        for name in files(".py", under=("tests",))
        if (parts := Path(name).parent.parts[1:])
        and parts[0] not in of_their_own
        and not _exists(parts)
    ]
    assert not found, "no folder of the tree has this name\n" + "\n".join(found)


def _exists(parts: tuple[str, ...]) -> bool:
    return any((ROOT / base).joinpath(*parts).is_dir() for base in ("", "hft"))


def test_makefile_help_names_every_verb() -> None:
    makefile = text("Makefile")
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:")).split()[1:]
    missing = [verb for verb in phony if not re.search(rf"^{verb}:.* ## \S", makefile, re.M)]
    assert not missing, f"say what it does, after ##: {', '.join(missing)}"


def test_functions_of_cython_are_measured() -> None:
    source = """\
cdef class Ring:
    cdef int offer(
        self, int count
    ) noexcept nogil:

        return 1

    def free(self):
        return 2
"""
    assert list(cython_functions(source)) == [("offer", 2, 5), ("free", 8, 2)]
