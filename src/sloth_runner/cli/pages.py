"""Where text goes and how it looks: streams, colour, width, and the places of a Lua file."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sloth_runner.cli.streams import writing
from sloth_runner.core import values
from sloth_runner.core.values import Value
from sloth_runner.views.text import Line, Look, harmless, line

if TYPE_CHECKING:
    from sloth_runner.cli.settings import Settings
    from sloth_runner.views.report import Report


class Pages:
    """Standard output for results and standard error for talk, as the settings want them."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings
        self.look = _look(sys.stdout, settings.color)
        self.talk_look = _look(sys.stderr, settings.color)

    def out(self, *lines: Line) -> None:
        """Writes lines of a result."""
        _write(sys.stdout, self.look, lines)

    def out_now(self, *lines: Line) -> None:
        """Writes lines of a result that is still growing, so that a reader sees them now."""
        self.out(*lines)
        _flush(sys.stdout)

    def talk(self, *lines: Line) -> None:
        """Writes lines of talk: progress, advice, errors."""
        _flush(sys.stdout)
        _write(sys.stderr, self.talk_look, lines)
        _flush(sys.stderr)

    def say(self, text: str) -> None:
        """Writes a sentence of talk, unless that is not wanted."""
        if not self.settings.quiet:
            self.talk(line(text))

    def json(self, value: Value) -> None:
        """Writes a JSON document as the result."""
        text = json.dumps(values.jsonable(value), indent=2, ensure_ascii=False)
        self.raw(harmless(text) + "\n")

    def raw(self, text: str) -> None:
        """Writes text as it is, byte for byte."""
        with writing(sys.stdout):
            sys.stdout.flush()
            sys.stdout.buffer.write(values.raw(text))
            sys.stdout.flush()

    def report(self, folder: str = "") -> "Report":
        """Returns what writes failure reports to standard error.

        ``folder`` is the workflow's: places in Lua are relative to it.
        """
        from sloth_runner.views.report import Report

        return Report(
            look=self.talk_look,
            source=lambda file: lines_of(str(Path(folder) / file)),
            place=lambda loc: place(str(Path(folder) / loc)),
            trace=self.settings.verbose,
        )


def place(loc: str) -> str:
    """Returns a path, or FILE:LINE, relative to the current folder where it is below that."""
    try:
        return str(Path(loc).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return loc


def lines_of(file: str) -> Sequence[str] | None:
    """Returns the lines of a Lua file as they may be quoted, None where it cannot be read."""
    from sloth_runner.lua.excerpts import quotable

    try:
        return quotable(Path(file).read_bytes()).split("\n")
    except (OSError, ValueError):
        return None


def _write(stream: TextIO, look: Look, lines: Iterable[Line]) -> None:
    with writing(stream):
        stream.flush()
        stream.buffer.write(values.raw("".join(f"{look.paint(one)}\n" for one in lines)))


def _flush(stream: TextIO) -> None:
    with writing(stream):
        stream.flush()


def _look(stream: TextIO, color: str) -> Look:
    terminal = stream.isatty()
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    dumb = os.environ.get("TERM") == "dumb"
    return Look(
        width=_columns(stream) if terminal else None,
        colour=_coloured(terminal and not dumb, color),
        unicode=encoding == "utf8" and not dumb,
    )


def _columns(stream: TextIO) -> int:
    """Returns the width of a terminal; COLUMNS wins. (shutil would load half of its archives.)"""
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _coloured(terminal: bool, color: str) -> bool:
    if color != "auto":
        return color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE"):
        return True
    return terminal and not os.environ.get("CI")
