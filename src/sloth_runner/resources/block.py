"""A block of lines in a text file, between two marker lines."""

from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar, Literal

from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.resource import Function, declare
from sloth_runner.core.schema import Doc
from sloth_runner.core.values import State
from sloth_runner.resources._files import SAMPLES
from sloth_runner.resources._lines import Lines, check_place
from sloth_runner.resources._text import MakingEdit

_MARK = "{mark}"


@declare(
    "block",
    Function(
        name="file_ops.blockinfile",
        doc="Keeps a block of lines between two markers in a file.",
        rename={"sensitive": "hide"},
        first="path",
    ),
)
class Block(MakingEdit, frozen=True, kw_only=True):
    """Keeps a block of lines in a text file, between two marker lines of its own.

    Only what is between the markers is managed. Markers that are nested, doubled or have
    lost their partner are an error that names their lines. Give each block of a file its
    own ``marker``.

    ```lua
    file_ops.blockinfile({
        path = "/etc/hosts",
        marker = "web",
        block = "10.0.0.1 web1\\n10.0.0.2 web2",
    })
    ```
    """

    block: Annotated[
        str | None,
        Doc("The lines between the markers; the end of the last may be left out.", private=True),
    ] = None
    marker: Annotated[
        str,
        Doc(
            "Names the block: the marker lines are `# BEGIN sloth NAME` and `# END sloth NAME`. "
            "With `{mark}` in it, it is the whole line: `// {mark} web`."
        ),
    ] = "block"
    insertafter: Annotated[
        str | None,
        Doc('A new block goes after the last line with this regular expression; "EOF": the end.'),
    ] = None
    insertbefore: Annotated[
        str | None,
        Doc('A new block goes before the last line with this regular expression; "BOF": start.'),
    ] = None
    state: Annotated[
        Literal["present", "absent"], Doc("Whether the block, with its markers, is there.")
    ] = "present"

    samples: ClassVar = (
        {"path": f"{SAMPLES}/block", "block": "one\ntwo\n"},
        {"path": f"{SAMPLES}/block", "block": "x", "marker": "web", "insertbefore": "^second"},
        {"path": f"{SAMPLES}/new-block", "block": "x", "marker": "// {mark} app", "create": True},
        {"path": f"{SAMPLES}/block", "marker": "old", "state": "absent"},
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/block": "first\n# BEGIN sloth old\nleft\n# END sloth old\nsecond"
    }

    @property
    def name(self) -> str:
        return f"{self.path}#{self.marker}"

    @property
    def markers(self) -> tuple[str, str]:
        """The lines before and after the block."""
        line = self.marker if _MARK in self.marker else f"# {_MARK} sloth {self.marker}"
        return line.replace(_MARK, "BEGIN"), line.replace(_MARK, "END")

    def check(self) -> None:
        check_place(self.insertafter, self.insertbefore)
        if not self.marker or "\n" in self.marker or "\r" in self.marker:
            raise ParamError("parameter 'marker': expected a text of one line")
        if self.state == "absent":
            return
        if self.block is None:
            raise ParamError("parameter 'block' is required unless the state is absent")
        inside = [line for line in self._wanted if line in self.markers]
        if inside:
            raise ParamError(f"parameter 'block': it holds its own marker {inside[0]!r}")

    @property
    def shown(self) -> frozenset[str]:
        return frozenset({"block"})

    @property
    def observation_key(self) -> Hashable:
        return (self._file, self.marker)

    def desired(self) -> State | None:
        return {"block": "\n".join(self._wanted)} if self.state == "present" else None

    def part_of(self, text: str) -> State | None:
        lines = Lines.of(text)
        found = self._found(lines)
        return {"block": "\n".join(lines.texts[found[0] + 1 : found[1]])} if found else None

    def edited(self, text: str) -> str:
        lines = Lines.of(text)
        found = self._found(lines)
        if found is None:
            begin, end = self.markers
            at = lines.place(self.insertafter, self.insertbefore)
            lines.insert(at, [begin, *self._wanted, end])
        elif lines.texts[found[0] + 1 : found[1]] != self._wanted:
            lines.remove(found[0] + 1, found[1])
            lines.insert(found[0] + 1, self._wanted)
        return str(lines)

    def without(self, text: str) -> str:
        lines = Lines.of(text)
        found = self._found(lines)
        if found:
            lines.remove(found[0], found[1] + 1)
        return str(lines)

    @property
    def _wanted(self) -> list[str]:
        return Lines.of(self.block or "").texts

    def _found(self, lines: Lines) -> tuple[int, int] | None:
        """Returns the lines of the two markers (from 0), or None where there is no block."""
        begin, end = self.markers
        marks = [(at, line == begin) for at, line in enumerate(lines.texts) if line in (begin, end)]
        if not marks:
            return None
        if [opens for _, opens in marks] == [True, False]:
            return marks[0][0], marks[1][0]
        places = ", ".join(f"{'begin' if opens else 'end'} at line {at + 1}" for at, opens in marks)
        raise Refused(
            f"the markers of the block {self.marker!r} in {self.path} are damaged: {places}",
            hint="there must be one begin and one end after it; put them right by hand",
        )
