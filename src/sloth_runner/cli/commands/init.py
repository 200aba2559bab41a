"""``sloth-runner init``."""

import os
from pathlib import Path

import click

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages
from sloth_runner.cli.settings import Settings
from sloth_runner.core.errors import UsageError
from sloth_runner.views.text import clean, line

STARTER = Path(__file__).with_name("starter.lua")


@click.command("init", cls=Command)
@click.argument("file", default="site.lua")
@click.pass_context
def command(context: click.Context, file: str) -> None:
    """Write a small, commented workflow to FILE (site.lua). It runs as it is, for any user."""
    settings = Settings.of(context)
    pages = Pages(settings)
    try:
        with Path(file).open("x", encoding="utf-8") as new:
            new.write(_starter(Path.cwd(), Path(file)))
    except FileExistsError:
        raise UsageError(
            f"there is a {file} already", hint="name another file: sloth-runner init FILE.lua"
        ) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    if settings.json:
        pages.json({"file": str(Path(file).absolute())})
        return
    pages.out(line(f"wrote {clean(file)}"))
    pages.say(f"look:   sloth-runner plan {clean(file)}")
    pages.say(f"apply:  sloth-runner run {clean(file)}")


def _starter(folder: Path, file: Path) -> str:
    """Returns the workflow, with the folder that it manages written into it."""
    here = "".join(
        f"\\{byte:03d}" if byte < 32 or byte > 126 else chr(byte) for byte in _escaped(folder)
    )
    text = STARTER.read_text(encoding="utf-8")
    return text.replace("@HERE@", here).replace("@FILE@", file.name)


def _escaped(folder: Path) -> bytes:
    path = os.fsencode(folder / "starter")
    return path.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
