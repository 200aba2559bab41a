"""Who speaks for what: no two lines disagree unseen, and where a thing came from is known."""

from typing import Any

import pytest

from engine.script import Body, Ctx, Deployment, Failure
from sloth_runner.core.events import Diagnostic, Orphaned


def declare(deployment: Deployment, *calls: dict[str, Any], function: str = "test.cell") -> Body:
    async def body(ctx: Ctx) -> None:
        for call in calls:
            await ctx(call.get("function", function), **{**call.get("given", call)})

    return body


def test_the_same_twice_is_one_resource(deployment: Deployment) -> None:
    call = {"path": deployment.path("a"), "value": "x"}
    deployment.task("one", declare(deployment, call))
    deployment.task("two", declare(deployment, call))
    assert deployment.run().counts() == {"created": 1, "unchanged": 1}
    assert len(deployment.rows()) == 1


def test_two_wishes_for_one_thing_are_an_error_that_names_both_lines(
    deployment: Deployment,
) -> None:
    first: list[str] = []

    async def one(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")

    async def two(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="y")

    deployment.listen(lambda event: first.append(event.loc or "") if event.res else None)
    deployment.task("one", one)
    deployment.task("two", two, "one")
    ran = deployment.run()
    [told] = ran.of(Diagnostic)
    assert told.code == "SR1320"
    assert first[0] in told.detail
    assert told.loc not in (None, first[0])
    assert told.effects == ("this declaration was not applied",)
    assert deployment.cell("a") == {"value": "x"}
    assert ran.summary.exit == 1


def test_a_conflict_is_found_in_the_preview(deployment: Deployment) -> None:
    calls = [{"path": deployment.path("a"), "value": value} for value in "xy"]
    deployment.task("t", declare(deployment, *calls))
    plan = deployment.plan()
    assert plan.summary.exit != 0
    assert [event.code for event in plan.of(Diagnostic)] == ["SR1320"]


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_whole_file_and_a_part_of_it_contradict_each_other(
    deployment: Deployment, whole_first: bool
) -> None:
    path = deployment.path("a")
    (deployment.here / "a").write_text("x\n")
    calls = [
        {"function": "file_ops.content", "given": {"path": path, "content": "x\n"}},
        {"function": "file_ops.lineinfile", "given": {"path": path, "line": "y"}},
    ]
    deployment.task("t", declare(deployment, *(calls if whole_first else reversed(calls))))
    [told] = deployment.run().of(Diagnostic)
    assert f"both own the content of {path}" in told.detail
    assert "file_ops.template" in told.hint


def test_another_attempt_may_want_it_otherwise(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value=f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise Failure("once more")

    deployment.task("t", body, retries=1)
    ran = deployment.run()
    assert (ran.summary.exit, ran.counts()) == (0, {"created": 1, "changed": 1})


def test_a_refinement_is_kept_without_going_back_and_forth(deployment: Deployment) -> None:
    base = {"path": deployment.path("a"), "value": "x"}
    deployment.task("t", declare(deployment, base, {**base, "note": "more"}))
    assert deployment.run().counts() == {"created": 1, "changed": 1}
    assert deployment.cell("a") == {"value": "x", "note": "more"}
    assert deployment.run().counts() == {"unchanged": 2}
    assert deployment.plan().counts() == {"unchanged": 2}


def test_two_refinements_are_kept_without_going_back_and_forth(deployment: Deployment) -> None:
    base = {"path": deployment.path("a"), "value": "x"}
    calls = [base, {**base, "note": "more"}, {**base, "secret": "s"}]
    deployment.task("t", declare(deployment, *calls))
    assert deployment.run().counts() == {"created": 1, "changed": 2}
    assert deployment.run().counts() == {"unchanged": 3}
    assert len(deployment.log("a")) == 3
    deployment.task("t", declare(deployment, *calls[:2]))  # the last is not wanted any more
    deployment.run()
    deployment.run()
    assert deployment.run().counts() == {"unchanged": 2}
    assert deployment.rows()[f"cell:{deployment.path('a')}"].desired == {
        "value": "x",
        "note": "more",
    }
    deployment.task("t", declare(deployment, calls[0], {**base, "note": "other"}))
    assert deployment.run().counts() == {"changed": 1, "unchanged": 1}
    assert deployment.cell("a")["note"] == "other"
    assert deployment.run().counts() == {"unchanged": 2}


def test_a_refinement_that_is_gone_is_not_wanted_any_more(deployment: Deployment) -> None:
    base = {"path": deployment.path("a"), "value": "x"}
    deployment.task("t", declare(deployment, base, {**base, "note": "more"}))
    deployment.run()
    deployment.task("t", declare(deployment, base))
    deployment.run()
    deployment.put("a", value="x")
    assert deployment.run().counts() == {"unchanged": 1}


def test_what_was_not_there_is_created(deployment: Deployment) -> None:
    deployment.task("t", declare(deployment, {"path": deployment.path("a")}))
    deployment.run()
    [row] = deployment.rows().values()
    assert (row.provenance, row.origin) == ("created", None)


def test_what_was_as_wanted_is_adopted_and_later_modified(deployment: Deployment) -> None:
    deployment.put("a", value="x")
    deployment.task("t", declare(deployment, {"path": deployment.path("a"), "value": "x"}))
    deployment.run()
    [row] = deployment.rows().values()
    assert (row.provenance, row.origin) == ("adopted", None)
    deployment.task("t", declare(deployment, {"path": deployment.path("a"), "value": "y"}))
    deployment.run()
    [row] = deployment.rows().values()
    assert row.provenance == "modified"
    assert (row.origin or {})["actual"] == {"value": "x"}


def test_the_first_origin_is_kept_as_long_as_the_row(deployment: Deployment) -> None:
    deployment.put("a", value="theirs")
    for value in ("one", "two"):
        deployment.task("t", declare(deployment, {"path": deployment.path("a"), "value": value}))
        deployment.run()
        [row] = deployment.rows().values()
        assert row.provenance == "modified"
        assert (row.origin or {})["actual"] == {"value": "theirs"}


def test_what_somebody_removed_was_still_created_by_us(deployment: Deployment) -> None:
    deployment.task("t", declare(deployment, {"path": deployment.path("a")}))
    deployment.run()
    (deployment.here / "a").unlink()
    deployment.run()
    [row] = deployment.rows().values()
    assert row.provenance == "created"


def test_what_is_not_spoken_of_any_more_is_orphaned_and_stays(deployment: Deployment) -> None:
    deployment.task("t", declare(deployment, *({"path": deployment.path(n)} for n in "ab")))
    deployment.run()
    deployment.task("t", declare(deployment, {"path": deployment.path("a")}))
    ran = deployment.run()
    assert [event.res for event in ran.of(Orphaned)] == ["cell:" + deployment.path("b")]
    assert ran.summary.orphaned == 1
    assert deployment.cell("b") is not None
    again = deployment.run()
    assert again.of(Orphaned) == []
    assert again.summary.orphaned == 1
    deployment.task("t", declare(deployment, *({"path": deployment.path(n)} for n in "ab")))
    assert deployment.run().counts() == {"unchanged": 2}
    assert {row.state for row in deployment.rows().values()} == {"applied"}


@pytest.mark.parametrize("why", ["failed", "not all tasks", "other file"])
def test_nothing_is_orphaned_by_half_a_run(deployment: Deployment, why: str) -> None:
    deployment.task("t", declare(deployment, {"path": deployment.path("a")}))
    deployment.task("other", declare(deployment, {"path": deployment.path("b")}))
    deployment.run()

    async def nothing(ctx: Ctx) -> None:
        if why == "failed":
            raise Failure("no")

    deployment.task("t", nothing)
    if why == "other file":
        deployment.file = deployment.file.rename(deployment.folder / "moved.lua")
    ran = deployment.run(tasks=("other",) if why == "not all tasks" else ())
    assert ran.of(Orphaned) == []
    assert "orphaned" not in {row.state for row in deployment.rows().values()}


def test_what_a_skipped_task_claimed_last_time_is_not_orphaned(deployment: Deployment) -> None:
    from sloth_runner.engine.program import TaskResult

    deployment.task("t", declare(deployment, {"path": deployment.path("a")}))
    deployment.run()

    async def skip(ctx: Ctx) -> TaskResult:
        return TaskResult(skipped=True)

    deployment.task("t", skip)
    for _ in range(2):
        assert deployment.run().of(Orphaned) == []
