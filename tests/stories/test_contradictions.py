"""Two lines that want one thing in different ways are refused before either could win."""

import pytest

from stories.story import Story

WHOLE = 'file_ops.content({path = HERE .. "/unit", content = "x"})'
OTHERS = {
    "line": 'file_ops.lineinfile({path = HERE .. "/unit", line = "y", create = true})',
    "block": 'file_ops.blockinfile({path = HERE .. "/unit", block = "y", create = true})',
    "replace": 'file_ops.replace({path = HERE .. "/unit", regexp = "a", replace = "b"})',
    "download": 'file_ops.download({url = "http://127.0.0.1:9/", dest = HERE .. "/unit"})',
}


@pytest.mark.parametrize("first", [WHOLE, None])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_has_one_owner_of_its_content(story: Story, kind: str, first: str | None) -> None:
    lua = f"{WHOLE}\n{OTHERS[kind]}" if first else f"pcall(function() {OTHERS[kind]} end)\n{WHOLE}"
    ran = story.run(lua)
    assert ran.code == 1 if first else ran.code in (1, 2)
    [told] = ran.of("diagnostic")
    assert told["title"] == "two declarations of one thing"
    assert f"own the content of {story.here}/unit" in told["detail"]
    assert story.file.name in told["detail"] and ":1" in told["detail"]
