"""``sloth-runner validate``."""

import click
from msgspec import structs

from sloth_runner.cli.lazy import Command
from sloth_runner.cli.pages import Pages, lines_of, place
from sloth_runner.cli.settings import Settings
from sloth_runner.lua.problems import Problem
from sloth_runner.lua.validate import validate
from sloth_runner.views.findings import findings, total
from sloth_runner.views.text import line

WRONG = 2


@click.command("validate", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.pass_context
def command(context: click.Context, files: tuple[str, ...]) -> int:
    """Check workflows without running them: no host is touched, and no record.

    Reports only what is certain. Exit 2 when there are errors; warnings alone are fine.
    """
    settings = Settings.of(context)
    pages = Pages(settings)
    found = [problem for file in files for problem in validate(file)]
    errors = [problem for problem in found if problem.severity == "error"]
    if settings.json:
        warnings = [problem for problem in found if problem.severity != "error"]
        pages.json(
            {
                "files": list(files),
                "errors": [_value(problem) for problem in errors],
                "warnings": [_value(problem) for problem in warnings],
            }
        )
        return WRONG if errors else 0
    shown = errors if settings.quiet else found
    pages.out(*findings(shown, pages.look, source=lines_of, place=place))
    if not (settings.quiet and not errors):
        pages.out(line(total(shown, len(files))))
    return WRONG if errors else 0


def _value(problem: Problem) -> dict[str, object]:
    return {**structs.asdict(problem), "title": problem.title}
