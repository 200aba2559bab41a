"""One line of a text file."""

import re
from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar, Literal

from sloth_runner.core.errors import ParamError
from sloth_runner.core.resource import Function, declare
from sloth_runner.core.schema import Doc
from sloth_runner.core.values import State, Value
from sloth_runner.resources._files import SAMPLES, is_hidden, is_private
from sloth_runner.resources._lines import Lines, check_pattern, check_place
from sloth_runner.resources._text import MakingEdit


@declare(
    "line",
    Function(
        name="file_ops.lineinfile",
        doc="Keeps a line in a file, in place of the last one that matches, or out of it.",
        rename={"sensitive": "hide"},
        first="path",
    ),
)
class Line(MakingEdit, frozen=True, kw_only=True):
    """Keeps one line in a text file, or keeps lines out of it.

    With ``regexp``, the last line in which it is found is replaced, and the line is added
    where none is; without, the line is added unless it is there. A missing final newline,
    Windows line endings and bytes that are not UTF-8 stay as they are. A line is taken back
    by the inverse edit: what else was changed in the file since stays.

    ```lua
    file_ops.lineinfile({
        path = "/etc/ssh/sshd_config",
        regexp = "^#?PermitRootLogin ",
        line = "PermitRootLogin no",
    })
    file_ops.lineinfile({
        path = "/etc/ssh/sshd_config",
        regexp = "^AcceptEnv ",
        state = "absent",
    })
    ```
    """

    line: Annotated[
        str | None,
        Doc("The line, without its end. Required unless the state is absent.", private=True),
    ] = None
    regexp: Annotated[
        str | None,
        Doc(
            "Regular expression (Python's `re`) searched for in each line. It must be found in "
            "`line` too, so that a second run finds what the first one wrote."
        ),
    ] = None
    insertafter: Annotated[
        str | None,
        Doc('A new line goes after the last line with this regular expression; "EOF": the end.'),
    ] = None
    insertbefore: Annotated[
        str | None,
        Doc('A new line goes before the last line with this regular expression; "BOF": the start.'),
    ] = None
    state: Annotated[
        Literal["present", "absent"],
        Doc("Whether the line is there. `absent` removes all lines that match."),
    ] = "present"
    id: Annotated[str | None, Doc("Name in the address, instead of the regexp or the line.")] = None

    samples: ClassVar = (
        {"path": f"{SAMPLES}/line", "line": "port=8080", "regexp": "^port="},
        {"path": f"{SAMPLES}/new-line", "line": "a b", "create": True},
        {"path": f"{SAMPLES}/line", "regexp": "^user=", "state": "absent"},
        {
            "path": f"{SAMPLES}/line",
            "line": "host=here",
            "insertbefore": "^port",
            "id": "host",
            "hide": True,
        },
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/line": "# settings\r\nport=80\r\nuser=app\r\nuser=web\r\n# end"
    }

    @property
    def name(self) -> str:
        return f"{self.path}#{self.id or self.regexp or self.line}"

    def check(self) -> None:
        check_pattern("regexp", self.regexp)
        check_place(self.insertafter, self.insertbefore)
        if self.line is None:
            if self.state == "present":
                raise ParamError("parameter 'line' is required unless the state is absent")
            if self.regexp is None:
                raise ParamError("give the 'line' or the 'regexp' that is to be absent")
            return
        if "\n" in self.line or self.line.endswith("\r"):
            raise ParamError(
                "parameter 'line': it holds a line end",
                hint="give one line without its end; file_ops.blockinfile takes many",
            )
        if (
            self.state == "present"
            and self.regexp is not None
            and not re.search(self.regexp, self.line)
        ):
            raise ParamError(
                f"parameter 'regexp': {self.regexp!r} is not found in the line that is to be "
                "there, so every run would add that line again",
                hint="widen the regexp until it finds the new line too",
            )
        if self.telling and is_hidden(self.hide, private=is_private(self.mode)):
            raise ParamError(
                "the line would be sensitive, but stand in the resource's name",
                hint="give an 'id' or a 'regexp', which becomes the name, or sensitive = false",
            )

    @property
    def shown(self) -> frozenset[str]:
        return frozenset({"line"})

    @property
    def telling(self) -> bool:
        return self.id is None and self.regexp is None

    @property
    def observation_key(self) -> Hashable:
        wanted = self.line if self.regexp is None else None
        return (self._file, self.telling, self.regexp, wanted, self.state)

    def desired(self) -> State | None:
        return {"line": self.line} if self.state == "present" else None

    def part_of(self, text: str) -> State | None:
        lines = Lines.of(text)
        found = [lines.texts[at] for at in self._found(lines)]
        if not found:
            return None
        value: Value = found[-1] if self.state == "present" else "\n".join(found)
        return {"line": value}

    def edited(self, text: str) -> str:
        lines = Lines.of(text)
        found = self._found(lines)
        if found:
            lines.texts[found[-1]] = self.line or ""
        else:
            lines.insert(lines.place(self.insertafter, self.insertbefore), [self.line or ""])
        return str(lines)

    def without(self, text: str) -> str:
        lines = Lines.of(text)
        for at in reversed(self._found(lines)):
            lines.remove(at, at + 1)
        return str(lines)

    def _found(self, lines: Lines) -> list[int]:
        if self.regexp is not None:
            return lines.matching(re.compile(self.regexp))
        return [at for at, line in enumerate(lines.texts) if line == self.line]
