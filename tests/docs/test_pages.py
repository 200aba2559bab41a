"""The pages of the documentation: none is stale, and none leads nowhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.blocks import CHECKOUT, PAGES
from sloth_runner import docs
from sloth_runner.core.registry import registry
from sloth_runner.lua.problems import TITLES


def test_the_committed_reference_is_what_the_declarations_say() -> None:
    assert docs.stale(CHECKOUT / docs.FOLDER) == [], "run: python -m sloth_runner.docs"


def test_a_page_that_was_edited_by_hand_is_stale(tmp_path: Path) -> None:
    docs.write(tmp_path)
    assert docs.stale(tmp_path) == []
    page = tmp_path / "errors.md"
    page.write_text(page.read_text().replace("SR1000", "SR1001"))
    (tmp_path / "left-over.md").write_text("of a module that is gone")
    (tmp_path / "user.md").unlink()
    assert docs.stale(tmp_path) == ["errors.md", "left-over.md", "user.md"]
    assert docs.main([str(tmp_path), "--check"]) == 1
    assert docs.main([str(tmp_path)]) == 0
    assert docs.main([str(tmp_path), "--check"]) == 0


def test_every_function_and_every_parameter_is_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (CHECKOUT / docs.FOLDER).glob("*.md"))
    for name, (cls, function) in registry().functions.items():
        assert f"`{name}`" in text
        if function.accepts:
            assert all(f"| `{accepted}` |" in text for accepted in function.accepts), cls


def test_every_code_is_in_the_reference_and_has_one_title() -> None:
    page = (CHECKOUT / docs.FOLDER / "errors.md").read_text()
    told = re.findall(r"(?m)^\| `(SR\d{4})` \| ([^|]+) \|", page)
    sources = (CHECKOUT / "src/sloth_runner").rglob("*.py")
    used = {code for path in sources for code in re.findall(r'"(SR\d{4})"', path.read_text())}
    assert sorted(code for code, _ in told) == sorted(used)
    assert {code: TITLES.get(code, title) for code, title in told} == dict(told)


def test_the_reference_names_every_field_of_a_line(tmp_path: Path) -> None:
    flow = tmp_path / "flow.lua"
    flow.write_text('print("x")\nexec.run({ argv = { "true" } })\n')
    argv = [sys.executable, "-m", "sloth_runner", "--db", str(tmp_path / "db"), "--json"]
    done = subprocess.run([*argv, "run", str(flow), "--yes"], capture_output=True, check=True)
    page = (CHECKOUT / docs.FOLDER / "events.md").read_text()
    common, _, rest = page.partition("\n## ")
    told = {name: set(re.findall(r"(?m)^\| `(\w+)`", text)) for name, text in _sections(rest)}
    for event in map(json.loads, done.stdout.splitlines()):
        fields = told[event["type"]] | set(re.findall(r"(?m)^\| `(\w+)`", common))
        assert event.keys() <= fields, event


def _sections(text: str) -> list[tuple[str, str]]:
    """Returns the title of each section and what stands below it."""
    return [(one.split("\n", 1)[0], one) for one in text.split("\n## ")]


def test_a_sensitive_parameter_is_marked_so() -> None:
    page = (CHECKOUT / docs.FOLDER / "user.md").read_text()
    [line] = {line for line in page.splitlines() if line.startswith("| `password` |")}
    assert "Sensitive" in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(linked), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    """Returns the anchors of the headings, as GitHub spells them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_a_page_names_no_place_of_the_machine_it_was_written_on(page: Path) -> None:
    assert not re.search(r"/work/|/root/|/home/(?!appuser|ada|you)", page.read_text())
