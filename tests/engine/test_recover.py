"""kill -9 at any step: nothing is lost, nothing is done twice, and the next run says so."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.crash import dies_at_commit, dies_at_write
from engine.script import Ctx, Deployment, Ran
from sloth_runner.core.events import Recovered, ResourceEnd

Dies = Callable[[int, Callable[[], Any]], bool]


class Site:
    """A workflow with one of everything, on things of which some are there already."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.deployment = Deployment(folder)
        here = self.deployment.here
        (here / "old.conf").write_text("old\n")
        (here / "old.conf").chmod(0o640)
        self.deployment.put("away", value="was here")
        self.deployment.put("modified", value="before")
        self.deployment.task("configure", self.configure)
        self.deployment.task("after", self.after, "configure")

    async def configure(self, ctx: Ctx) -> None:
        path = self.deployment.path
        changed = [
            await ctx("test.cell", path=path("created"), value="x", secret="s3cret"),
            await ctx("test.cell", path=path("modified"), value="after"),
            await ctx("file_ops.content", path=path("old.conf"), content="new\n"),
            await ctx("test.cell", path=path("away"), state="absent"),
        ]
        if any(result["changed"] for result in changed):
            await ctx("test.poke", path=path("restart"))
        await ctx("test.poke", path=path("setup"), creates=path("setup.log"))

    async def after(self, ctx: Ctx) -> None:
        await ctx("stack.register_resource", {"type": "custom", "name": "r", "properties": {}})
        await ctx("stack.set_output", "url", "x")
        await ctx("test.cell", path=self.deployment.path("last"), value="x")

    def run(self) -> Ran:
        return self.deployment.run()

    def check(self) -> None:
        """Asserts that the machine is as the workflow wants it, and the record too."""
        here, rows = self.deployment.here, self.deployment.rows()
        assert (here / "old.conf").read_text() == "new\n"
        assert self.deployment.cell("created") == {"value": "x", "secret": "s3cret"}
        assert self.deployment.cell("modified") == {"value": "after"}
        assert self.deployment.cell("away") is None
        assert self.deployment.log("restart")
        assert self.deployment.log("setup") == ["poke"]
        assert {row.state for row in rows.values()} == {"applied"}
        kinds = {Path(row.address.name).name: row.provenance for row in rows.values()}
        assert kinds == {
            "created": "created",
            "modified": "modified",
            "old.conf": "modified",
            "away": "modified",
            "last": "created",
            "r": "created",
        }
        origins = {
            Path(row.address.name).name: (row.origin or {}).get("actual") for row in rows.values()
        }
        assert origins["modified"] == {"value": "before"}
        assert origins["away"] == {"value": "was here"}
        assert origins["old.conf"]["mode"] == "0640"

    def settled(self) -> None:
        """Asserts that one more run has nothing to do."""
        again = self.run()
        assert again.counts() == {"unchanged": 6, "skipped": 1}
        assert self.deployment.open_operations() == []
        assert all(row.carry is None for row in self.deployment.rows().values())


def integrity(deployment: Deployment) -> str:
    with closing(sqlite3.connect(deployment.db)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def doubts(deployment: Deployment) -> list[str]:
    """The open operations of a dead run, as far as it came to have a record."""
    with closing(sqlite3.connect(deployment.db)) as connection:
        try:
            found = connection.execute("SELECT name FROM operations WHERE result IS NULL")
        except sqlite3.OperationalError:  # it died before there were any tables
            return []
        return [str(name) for (name,) in found]


def done(ran: Ran) -> set[tuple[str | None, str]]:
    """What a run did, or a preview would do; skipping something is doing less."""
    ends = [event for event in ran.of(ResourceEnd) if event.outcome != "skipped"]
    return {(event.res, event.outcome) for event in ends}


@pytest.mark.crash
@pytest.mark.parametrize("dies", [dies_at_commit, dies_at_write], ids=["commit", "write"])
def test_a_run_killed_at_any_step_is_taken_up_by_the_next(
    dies: Dies, tmp_path: Path, plugin: None
) -> None:
    for step in itertools.count(1):
        site = Site(tmp_path / str(step))
        if not dies(step, site.run):
            break
        if Path(site.deployment.db).exists():
            assert integrity(site.deployment) == "ok"
        open_before = doubts(site.deployment) if Path(site.deployment.db).exists() else []
        planned = site.deployment.plan()
        ran = site.run()
        assert ran.summary.exit == 0, ran.events
        assert done(ran) <= done(planned), step
        assert sorted(open_before) == sorted(
            (e.res or "").partition(":")[2] for e in ran.of(Recovered)
        )
        site.check()
        if dies is dies_at_commit:
            for name in ("created", "modified", "away", "last"):
                assert len(site.deployment.log(name)) == 1, (step, name)
        if step % 3 == 0:
            site.settled()
    assert step > 15, "the matrix is too small to be true"


def test_an_action_in_doubt_is_reported_and_done_again(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.poke", path=deployment.path("a"))

    deployment.task("t", body)
    assert dies_at_write(2, deployment.run)
    assert deployment.log("a") == ["poke"]
    ran = deployment.run()
    [event] = ran.of(Recovered)
    assert (event.outcome, event.command) == ("in doubt", (deployment.path("a"),))
    assert event.level == "warn"
    assert deployment.log("a") == ["poke", "poke"]
    assert deployment.run().of(Recovered) == []


def test_a_guarded_action_asks_its_guard(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.poke", path=deployment.path("a"), creates=deployment.path("a.log"))

    deployment.task("t", body)
    assert dies_at_write(2, deployment.run)
    ran = deployment.run()
    assert ran.counts() == {"skipped": 1}
    assert [e.outcome for e in ran.of(Recovered)] == ["not done"]
    assert deployment.log("a") == ["poke"]


def test_a_change_that_was_done_is_carried(deployment: Deployment) -> None:
    answers: list[Any] = []

    async def body(ctx: Ctx) -> None:
        answers.append(await ctx("test.cell", path=deployment.path("a"), value="x"))

    deployment.task("t", body)
    assert dies_at_write(4, deployment.run)  # the log and the cell, each with two steps
    assert deployment.cell("a") == {"value": "x"}
    ran = deployment.run()
    assert [(e.outcome, e.res) for e in ran.of(Recovered)] == [
        ("done", "cell:" + deployment.path("a"))
    ]
    [answer] = answers
    assert (answer["status"], answer["carried"]) == ("created", True)
    assert answer["diff"] == {"value": {"new": "x"}}
    assert deployment.log("a") == ["apply x"]


def test_a_change_that_was_not_done_is_done_now(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")

    deployment.task("t", body)
    assert dies_at_write(1, deployment.run)
    ran = deployment.run()
    assert [e.outcome for e in ran.of(Recovered)] == ["not done"]
    assert ran.counts() == {"created": 1}


def test_what_was_left_half_done_keeps_its_first_origin(deployment: Deployment) -> None:
    deployment.put("a", value="at first", note="old")

    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")

    deployment.task("t", body)
    assert dies_at_write(3, deployment.run)
    deployment.put("a", value="half")
    ran = deployment.run()
    assert [e.outcome for e in ran.of(Recovered)] == ["half done"]
    [row] = deployment.rows().values()
    assert row.provenance == "modified"
    assert row.origin is not None
    assert row.origin["actual"] == {"value": "at first", "note": "old"}


def test_what_a_killed_run_created_stays_its_own(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")

    deployment.task("t", body)
    assert dies_at_write(3, deployment.run)
    deployment.put("a", value="half")
    assert deployment.run().counts() == {"changed": 1}
    [row] = deployment.rows().values()
    assert (row.provenance, row.origin) == ("created", None)


def test_what_cannot_be_looked_at_stays_in_doubt(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")

    deployment.task("t", body)
    assert dies_at_write(4, deployment.run)
    deployment.fault("a", "blind")
    assert deployment.run().summary.exit == 1
    deployment.fault("a", None)
    ran = deployment.run()
    assert ran.counts() == {"carried": 1}
    assert deployment.log("a") == ["apply x"]


def test_no_copy_of_a_killed_run_is_left_in_the_open(deployment: Deployment) -> None:
    canary = "canary-of-a-killed-run"
    place = deployment.here / "key"
    place.write_text(canary)
    place.chmod(0o600)

    async def body(ctx: Ctx) -> None:
        await ctx("file_ops.content", path=str(place), content="new key")

    deployment.task("t", body)
    for step in itertools.count(1):
        place.write_text(canary)
        if not dies_at_commit(step, deployment.run):
            break
        deployment.run()
        assert canary.encode() not in deployment.bytes_kept()
