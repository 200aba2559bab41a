"""Every match of a pattern in a text file."""

import re
from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar

from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import ParamError, Refused
from sloth_runner.core.host import Host
from sloth_runner.core.resource import Function, declare
from sloth_runner.core.schema import Doc
from sloth_runner.core.values import State
from sloth_runner.resources._files import SAMPLES
from sloth_runner.resources._lines import check_pattern
from sloth_runner.resources._text import TextEdit


@declare(
    "replace",
    Function(
        name="file_ops.replace",
        doc="Replaces every match of a pattern in a file.",
        rename={"sensitive": "hide"},
        first="path",
    ),
)
class Replace(TextEdit, frozen=True, kw_only=True):
    """Replaces every match of a regular expression in a text file.

    What is observed is ``pending``: how many matches a replacement would still change. A
    replacement that would change its own result again is refused, in the preview too. It
    is taken back where its lines still stand as they were written.

    ```lua
    file_ops.replace({
        path = "/etc/ssh/sshd_config",
        regexp = "^#?(X11Forwarding) .*$",
        replace = "\\\\1 no",
    })
    ```
    """

    regexp: Annotated[
        str,
        Doc(
            "Regular expression (Python's `re`) over the whole text, where `^` and `$` stand for "
            "the start and end of each line. Windows line endings count as plain ones "
            "where every line has them."
        ),
    ]
    replace: Annotated[
        str,
        Doc(
            "What stands there instead; `\\1` and `\\g<name>` are groups of the match.",
            private=True,
        ),
    ] = ""

    samples: ClassVar = (
        {"path": f"{SAMPLES}/replace", "regexp": "^port=.*$", "replace": "port=8080"},
        {"path": f"{SAMPLES}/replace", "regexp": r"(host)=\w+", "replace": r"\1=new"},
    )
    sample_files: ClassVar[Mapping[str, str]] = {
        f"{SAMPLES}/replace": "port=80\r\nhost=old\r\nport=81"
    }

    @property
    def name(self) -> str:
        return f"{self.path}#{self.regexp}"

    def check(self) -> None:
        check_pattern("regexp", self.regexp, re.MULTILINE)
        if not self.regexp:
            raise ParamError("parameter 'regexp': it is empty, and so found everywhere")
        try:
            self._pattern.sub(self.replace, "")  # the replacement is parsed before any search
        except (re.error, IndexError) as error:
            raise ParamError(f"parameter 'replace': {error}") from None

    @property
    def shown(self) -> frozenset[str]:
        return frozenset({"replace", "pending"})  # a hidden property has no text diff

    @property
    def observation_key(self) -> Hashable:
        return (self._file, self.regexp, self.replace)

    def desired(self) -> State | None:
        return {"pending": 0}

    def part_of(self, text: str) -> State | None:
        plain, _ = self._plain(text)
        return {
            "pending": sum(
                match.expand(self.replace) != match.group()
                for match in self._pattern.finditer(plain)
            )
        }

    def edited(self, text: str) -> str:
        plain, end = self._plain(text)
        return self._pattern.sub(self.replace, plain).replace("\n", end)

    def without(self, text: str) -> str:
        return text

    async def preview_check(self, host: Host, actual: State | None, change: Diff) -> None:
        await super().preview_check(host, actual, change)
        document = await self._document(host)
        once = self.edited(document.text) if document else ""
        left = (self.part_of(once) or {}).get("pending")
        if left:
            raise Refused(
                f"after the replacement in {self.path}, {left} matches would change again, "
                "so every run would change the file",
                hint="narrow the regexp so that it does not match its own result",
            )

    async def destroy(self, host: Host) -> None:
        """Does nothing: there is no thing to remove, only old text to put back (``revert``)."""

    @property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.regexp, re.MULTILINE)

    def _plain(self, text: str) -> tuple[str, str]:
        """Returns a text that ends all its lines the Windows way with plain ends, and that end."""
        whole = text.count("\r\n")
        if not whole or text.count("\n") != whole or "\r" in self.regexp + self.replace:
            return text, "\n"
        return text.replace("\r\n", "\n"), "\r\n"
