"""Text edited by lines: nothing but the edit changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sloth_runner.core.errors import Refused
from sloth_runner.resources._lines import Lines, undone, unified

texts = st.text(alphabet="ab \r\n\u2028\x0b\udcff", max_size=30)


@given(texts)
def test_a_text_is_its_lines_again(text: str) -> None:
    assert str(Lines.of(text)) == text


@given(texts, st.integers(0, 8), st.lists(st.text(alphabet="xy", min_size=1), min_size=1))
@settings(max_examples=100)
def test_taking_out_what_was_put_in_gives_the_same_bytes(
    text: str, where: int, new: list[str]
) -> None:
    lines = Lines.of(text)
    at = min(where, len(lines))
    lines.insert(at, new)
    again = Lines.of(str(lines))
    assert again.texts[at : at + len(new)] == new
    again.remove(at, at + len(new))
    assert str(again) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "new\n"),
        ("a", "a\nnew"),
        ("a\n", "a\nnew\n"),
        ("a\r\nb", "a\r\nb\r\nnew"),
        ("a\r\nb\r\n", "a\r\nb\r\nnew\r\n"),
    ],
)
def test_a_line_at_the_end_keeps_how_the_text_ends(text: str, expected: str) -> None:
    lines = Lines.of(text)
    lines.insert(len(lines), ["new"])
    assert str(lines) == expected


@pytest.mark.parametrize(("text", "expected"), [("a", "a\n\n"), ("a\r\nb", "a\r\nb\r\n\r\n")])
def test_an_empty_line_at_the_end_has_an_end(text: str, expected: str) -> None:
    lines = Lines.of(text)
    lines.insert(len(lines), [""])
    assert str(lines) == expected


def test_only_newlines_end_a_line() -> None:
    assert Lines.of("a\u2028b\x0bc\x85\nd").texts == ["a\u2028b\x0bc\x85", "d"]


lines_of_text = st.lists(st.sampled_from(["a", "b", "c", "", "d"]), max_size=8)


@given(lines_of_text, lines_of_text, st.lists(st.sampled_from(["x", "y"]), max_size=3))
@settings(max_examples=100)
def test_an_edit_is_taken_back_under_what_was_added_since(
    before: list[str], after: list[str], since: list[str]
) -> None:
    old, new, added = ("".join(f"{line}\n" for line in lines) for lines in (before, after, since))
    assert undone(old, new, new) == old
    assert undone(old, new, new + added) == old + added


def test_a_written_line_that_was_changed_since_is_not_taken_back() -> None:
    with pytest.raises(Refused, match="not there any more"):
        undone("a\nb\n", "a\nnew\n", "a\nother\n")


def test_a_diff_shows_a_missing_final_newline() -> None:
    assert unified("a\nb", "a\nc\n") == "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c"


@pytest.mark.parametrize("data", ["\0", "\udcff", "x" * 300_000])
def test_what_is_no_text_has_no_diff(data: str) -> None:
    assert unified("a\n", data) is None
