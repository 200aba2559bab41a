"""What a static check found: the problem, exactly where, and what to do."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from sloth_runner.core.errors import ParamError, SyntaxMistake, WorkflowError
from sloth_runner.core.nearest import nearest

Severity = Literal["error", "warning"]

TITLES = {
    SyntaxMistake.code: SyntaxMistake.title,
    "SR1002": "the file cannot be read",
    "SR1202": "unknown function",
    ParamError.code: ParamError.title,
    "SR1204": "wrong value",
    "SR1205": "missing parameter",
    WorkflowError.code: WorkflowError.title,
    "SR1310": "dependency cycle",
    "SR1401": "name without a definition",
    "SR1402": "global variable",
}
"""What a static check finds, by its code; what a run finds as well is called the same."""


class Problem(Struct, frozen=True, kw_only=True):
    """One finding. Line and column count from 1, the column and ``length`` in characters."""

    file: str
    line: int
    column: int
    length: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    @property
    def title(self) -> str:
        """The constant title of this kind of problem."""
        return TITLES[self.code]


def meant(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Returns "; did you mean ...?", or nothing."""
    found = nearest(name, known, cutoff=cutoff)
    return f'; did you mean "{found}"?' if found else ""
