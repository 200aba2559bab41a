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
    found = re.finditer(
        rf"^( *)```{language}\n(.*?)^ *```$", path.read_text(), re.MULTILINE | re.DOTALL
    )
    name = str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else path.name
    return [
        Block(
            page=name,
            line=path.read_text()[: match.start(2)].count("\n") + 1,
            code=re.sub(rf"(?m)^{match[1]}", "", match[2]),
        )
        for match in found
    ]
