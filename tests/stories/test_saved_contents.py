"""What was saved for undo stays as long as something recorded names it, and no longer."""

import itertools
import json
import re
import signal
import time
from pathlib import Path

import pytest

from stories.story import Story, Zygote

OVERWRITING = 'file_ops.content({path = HERE .. "/%s", content = "ours\\n"})'


def saved(story: Story) -> set[str]:
    """The names of the contents that are kept beside the record."""
    folder = Path(f"{story.db}.d") / "blobs"
    return {path.name for path in folder.rglob("*") if path.is_file()}


def named(story: Story, stack: str) -> set[str]:
    """The names of the contents that a stack speaks of."""
    exported = story.sloth("stack", "export", stack)
    return set(re.findall(r'"\$blob": ?"([^"]+)"', exported.out))


def overwritten(story: Story, stack: str, content: str, name: str = "") -> None:
    """Has a stack overwrite a file that somebody else wrote."""
    path = story.here / (name or stack)
    path.write_text(content)
    story.write(OVERWRITING % path.name)
    assert story.sloth("--yes", "run", stack, "-f", str(story.file)).code == 0


def test_what_only_a_deleted_stack_had_saved_goes_with_it(story: Story) -> None:
    overwritten(story, "one", "shared\n")
    overwritten(story, "two", "shared\n")
    overwritten(story, "one", "of one\n")
    assert saved(story) == named(story, "one") == named(story, "one") | named(story, "two")
    assert len(saved(story)) == 2
    assert story.sloth("--yes", "stack", "delete", "one").code == 0
    assert saved(story) == named(story, "two")
    assert len(saved(story)) == 1
    assert story.sloth("--yes", "stack", "delete", "two").code == 0
    assert saved(story) == set()


ACCEPTED = 'file_ops.content({path = HERE .. "/web", content = ("x"):rep(20000)})'


@pytest.mark.parametrize("what", ["run", "accept", "import"])
def test_what_is_saved_but_not_yet_named_outlives_the_deletion_of_another_stack(
    story: Story, what: str
) -> None:
    assert story.sloth("stack", "new", "other").code == 0
    command = ["--yes", "run", "web", "-f", str(story.file)]
    if what == "run":
        (story.here / "web").write_text("theirs\n")
        story.write(OVERWRITING % "web")
    elif what == "accept":
        assert story.run(ACCEPTED).code == 0
        (story.here / "web").write_text("y" * 20000)
        command = ["stack", "accept", "web", f"local/file:{story.here}/web"]
    else:
        overwritten(story, "web", "theirs\n")
        whole = story.folder / "web.json"
        whole.write_text(story.sloth("stack", "export", "web", "--with-blobs").out)
        assert story.sloth("--yes", "stack", "delete", "web").code == 0
        command = ["stack", "import", str(whole)]
    running = story.start(*command, kill={"at": "saved", "step": 1, "by": signal.SIGSTOP})
    story.wait_until(lambda: stopped(running.pid), "the stop")
    deleting = story.start("--yes", "stack", "delete", "other")
    time.sleep(0.7)
    running.send(signal.SIGCONT)
    assert deleting.wait().code == 0
    done = running.wait()
    assert done.code == 0, done.err
    assert named(story, "web")
    assert named(story, "web") <= saved(story)


def stopped(pid: int) -> bool:
    """Whether a process is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.crash
@pytest.mark.parametrize("at", ["commit", "unlink"])
def test_a_deletion_killed_at_any_step_keeps_what_is_named_and_is_finished_by_the_next_run(
    at: str, tmp_path: Path, zygote: Zygote
) -> None:
    for step in itertools.count(1):
        (tmp_path / str(step)).mkdir()
        story = Story(tmp_path / str(step), zygote)
        overwritten(story, "gone", "shared\n", "a")
        overwritten(story, "kept", "shared\n", "a")
        for number in range(3):
            overwritten(story, "gone", f"{number}\n", "b")
        killed = {"at": at, "step": step}
        done = story.sloth("--yes", "stack", "delete", "gone", kill=killed)
        stacks = [one["name"] for one in json.loads(story.sloth("stack", "list", "--json").out)]
        for stack in stacks:
            assert named(story, stack) <= saved(story), step
        assert story.sloth("--yes", "run", "kept", "-f", str(story.file)).code == 0
        if "gone" not in stacks:
            assert saved(story) == named(story, "kept"), step
        if done.code == 0:
            break
        assert done.code == -9, done
    assert step > 3, "the matrix is too small to be true"


def test_what_a_killed_run_saved_and_named_nowhere_goes_with_the_next_run(story: Story) -> None:
    (story.here / "web").write_text("theirs\n")
    story.write(OVERWRITING % "web")
    killed = story.sloth(
        "--yes", "run", "web", "-f", str(story.file), kill={"at": "saved", "step": 1}
    )
    assert killed.code == -9
    assert len(saved(story)) == 1
    assert named(story, "web") == set()
    story.write('exec.run("true")')
    assert story.sloth("--yes", "run", "web", "-f", str(story.file)).code == 0
    assert saved(story) == set()
