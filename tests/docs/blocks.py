"""Takes the code blocks out of Markdown files."""

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted(
    [
        CHECKOUT / name
        for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
    ]
    + list((CHECKOUT / "docs").rglob("*.md"))
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; ``line`` is that of its first line of code."""

    page: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path, language: str) -> list[Block]:
    """Returns the blocks of a language in a file, without their indentation in lists."""
    text = path.read_text()
    found = re.finditer(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^ *\2$", text, re.MULTILINE | re.DOTALL)
    name = str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else path.name
    return [
        Block(
            page=name,
            line=text[: match.start(4)].count("\n") + 1,
            code=re.sub(rf"(?m)^{match[1]}", "", match[4]),
        )
        for match in found
        if match[3] == language
    ]
