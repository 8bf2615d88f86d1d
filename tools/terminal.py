"""Colour on a terminal and none in a pipe; never the only carrier of a meaning."""

from __future__ import annotations

import contextlib
import os
import sys

import click


def paint(text: str, colour: str) -> str:
    """The text in a colour that ``click.style`` knows, unless nobody would see it."""
    is_plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if is_plain else click.style(text, fg=colour)


def tell(text: str) -> None:
    """One line for a person; for nobody when the terminal or the reader of the pipe is gone.

    Whoever watches over something that trades must not end because nobody listens any more.
    """
    with contextlib.suppress(OSError):
        click.echo(text)
