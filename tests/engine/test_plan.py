"""The preview tells the truth and cannot write, and a run keeps to what was shown."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.script import Ctx, Deployment
from sloth_runner.core.errors import Cancelled, PlanStale
from sloth_runner.core.events import ResourceEnd, TaskEnd, Warned
from sloth_runner.engine.plan import Plan

Facts = dict[str, tuple[Any, ...]]


def facts(top: Path) -> Facts:
    """Everything about a tree that a write would change, times and inodes too."""
    found: Facts = {}
    for path in [top, *top.rglob("*")]:
        stat = path.lstat()
        body = path.read_bytes() if path.is_file() else None
        found[str(path)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode, body)
    return found


def keep(deployment: Deployment, *names: str, task: str = "keep", **more: str) -> None:
    async def body(ctx: Ctx) -> None:
        for name in names:
            await ctx("test.cell", path=deployment.path(name), **more)

    deployment.task(task, body)


def yes(plan: Plan) -> bool:
    return True


def test_a_preview_writes_nothing_at_all(deployment: Deployment) -> None:
    deployment.put("b", value="other")
    deployment.put("c", value="x")

    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="x")
        await ctx("test.cell", path=deployment.path("b"), value="x")
        await ctx("test.cell", path=deployment.path("c"), state="absent")
        await ctx("test.poke", path=deployment.path("a"))
        await ctx("stack.set_output", "key", "value")
        await ctx("state.set", "key", "value")

    deployment.task("t", body)
    before = facts(deployment.folder)
    ran = deployment.plan()
    assert facts(deployment.folder) == before
    assert ran.counts() == {"created": 1, "changed": 1, "removed": 1, "ran": 1}
    assert ran.summary.exit == 0


def test_a_preview_adds_nothing_to_a_record_that_is_there(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.run()
    before = (deployment.rows(), deployment.stored(), deployment.open_operations())
    keep(deployment, "a", "b", value="new")
    deployment.plan()
    assert (deployment.rows(), deployment.stored(), deployment.open_operations()) == before


def test_a_preview_finds_what_the_run_does(deployment: Deployment) -> None:
    deployment.put("b", value="other")
    keep(deployment, "a", "b", "c", value="x")
    planned = deployment.plan()
    ran = deployment.run()
    assert [(e.res, e.outcome, e.changes) for e in planned.of(ResourceEnd)] == [
        (e.res, e.outcome, e.changes) for e in ran.of(ResourceEnd)
    ]
    assert deployment.plan().counts() == {"unchanged": 3}


def test_what_was_predicted_is_seen_by_later_calls(deployment: Deployment) -> None:
    answers: list[Any] = []

    async def body(ctx: Ctx) -> None:
        for _ in range(2):
            answers.append(await ctx("test.cell", path=deployment.path("a"), value="x"))

    deployment.task("t", body)
    ran = deployment.plan()
    assert [a["status"] for a in answers] == ["created", "unchanged"]
    assert answers[0]["after"] == answers[1]["before"] == {"value": "x"}
    assert ran.counts() == {"created": 1, "unchanged": 1}


def test_outputs_and_keys_are_read_back_in_the_preview_only(deployment: Deployment) -> None:
    seen: list[Any] = []

    async def body(ctx: Ctx) -> None:
        seen.append(await ctx("state.get", "n", 7))
        await ctx("state.set", "n", 1)
        seen.append(await ctx("state.increment", "n", 4))
        seen.append(await ctx("state.compare_swap", "n", 5, 6))
        seen.append(await ctx("state.compare_swap", "n", 5, 9))
        seen.append(await ctx("state.keys", ""))
        seen.append(await ctx("state.delete", "n"))
        seen.append(await ctx("state.get", "n", 7))
        await ctx("stack.set_output", "url", "http://x")
        seen.append(await ctx("stack.get_output", "url"))

    deployment.task("t", body)
    expected = [7, 5, True, False, ["n"], True, 7, "http://x"]
    deployment.plan()
    assert seen == expected
    seen.clear()
    deployment.run()
    assert seen == expected


def test_the_keys_of_a_stack_are_its_own_in_the_first_preview_too(deployment: Deployment) -> None:
    seen: list[Any] = []

    async def body(ctx: Ctx) -> None:
        await ctx("state.set", "shared", 1)
        seen.append(await ctx("stack.state.get", "shared", "not there"))
        await ctx("stack.state.set", "own", 2)
        seen.append(await ctx("state.get", "own", "not there"))
        seen.append(await ctx("stack.state.get", "own"))

    deployment.task("t", body)
    deployment.plan()
    assert seen == ["not there", "not there", 2]


def test_what_an_earlier_change_may_touch_is_marked(deployment: Deployment) -> None:
    deployment.put("conf", value="x")

    async def body(ctx: Ctx) -> None:
        await ctx("test.thing", deployment.path("thing"))
        await ctx("test.cell", path=deployment.path("conf"), value="x")

    deployment.task("t", body)
    plan = deployment.plan()
    thing, conf = plan.of(ResourceEnd)
    assert (thing.outcome, thing.follows) == ("created", None)
    assert (conf.outcome, conf.follows) == ("changed", "local/thing:" + deployment.path("thing"))
    ran = deployment.confirmed(yes)
    assert ran.counts() == {"created": 1, "unchanged": 1}
    assert deployment.plan().counts() == {"unchanged": 2}


def test_a_prediction_is_worth_less_once_something_may_have_touched_it(
    deployment: Deployment,
) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("file_ops.content", path=deployment.path("a"), content="x")
        await ctx("test.thing", deployment.path("thing"))
        await ctx("file_ops.content", path=deployment.path("a"), content="x")

    async def look(ctx: Ctx) -> None:
        await ctx("file_ops.content", path=deployment.path("b"), content="x")
        await ctx("test.thing", deployment.path("other"))
        await ctx("test.glance", deployment.path("b"))

    deployment.task("t", body)
    plan = deployment.plan()
    follows = [end.follows for end in plan.of(ResourceEnd)]
    assert follows == [None, None, "local/thing:" + deployment.path("thing")]
    deployment.task("look", look)
    assert deployment.plan().summary.unknown == 1
    deployment.drop("look")
    assert deployment.confirmed(yes).counts() == {"created": 2, "unchanged": 1}


def test_a_line_that_is_to_go_does_not_take_its_file_with_it(deployment: Deployment) -> None:
    (deployment.here / "conf").write_text("a\nb\n")

    async def body(ctx: Ctx) -> None:
        await ctx("file_ops.lineinfile", path=deployment.path("conf"), line="a", state="absent")
        await ctx("test.poke", path=deployment.path("p"), creates=deployment.path("conf"))
        await ctx("file_ops.exists", deployment.path("conf"))

    deployment.task("t", body)
    plan = deployment.plan()
    assert plan.counts() == {"removed": 1, "ran": 1, "unknown": 1}
    assert deployment.confirmed(yes).counts() == {"removed": 1, "skipped": 1}


def test_a_change_far_away_is_followed_by_nothing(deployment: Deployment) -> None:
    deployment.put("b", value="x")
    keep(deployment, "a", "b", value="x")
    assert deployment.plan().counts() == {"created": 1, "unchanged": 1}


def test_a_look_at_what_an_earlier_change_may_touch_stops_the_task(
    deployment: Deployment,
) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.thing", deployment.path("thing"))
        await ctx("test.glance", deployment.path("conf"))
        await ctx("test.cell", path=deployment.path("after"))

    async def after(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("last"))

    deployment.task("t", body)
    deployment.task("after", after, "t")
    plan = deployment.plan()
    ends = {e.task: (e.outcome, e.unpredicted) for e in plan.of(TaskEnd)}
    assert ends["t"][0] == "unknown"
    assert "test.glance of " + deployment.path("conf") in (ends["t"][1] or "")
    assert ends["after"][0] == "unknown"
    assert plan.summary.unknown == 2
    assert plan.ends() == [
        "thing:" + deployment.path("thing"),
        "cell:" + deployment.path("last"),
    ]


def test_a_look_at_what_was_predicted_sees_the_prediction(deployment: Deployment) -> None:
    answers: list[Any] = []

    async def body(ctx: Ctx) -> None:
        await ctx("file_ops.content", path=deployment.path("a"), content="new\n")
        answers.append(await ctx("test.glance", deployment.path("a")))

    deployment.task("t", body)
    deployment.plan()
    assert answers == ["new\n"]


def test_the_output_of_an_action_is_unknown(deployment: Deployment) -> None:
    answers: list[Any] = []

    async def body(ctx: Ctx) -> None:
        answers.append(await ctx.answer("test.poke", path=deployment.path("a")))

    deployment.task("t", body)
    deployment.plan()
    [answer] = answers
    assert answer.value["changed"] is True
    assert "stdout" in answer.unknown
    assert deployment.log("a") == []


def test_a_guarded_action_asks_its_guard_in_the_preview_too(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.poke", path=deployment.path("a"), creates=deployment.path("made"))
        await ctx("test.cell", path=deployment.path("made"))
        await ctx("test.poke", path=deployment.path("a"), creates=deployment.path("made"))

    deployment.task("t", body)
    assert deployment.plan().counts() == {"created": 1, "ran": 1, "skipped": 1}
    assert deployment.run().counts() == {"created": 1, "ran": 1, "skipped": 1}
    assert deployment.log("a") == ["poke"]


def test_what_a_plan_refuses_is_told_and_nothing_is_done(deployment: Deployment) -> None:
    deployment.fault("a", "blind")
    keep(deployment, "a")
    plan = deployment.plan()
    assert (plan.counts(), plan.summary.exit) == ({"failed": 1}, 1)


def test_a_plan_that_is_agreed_to_is_carried_out(deployment: Deployment) -> None:
    shown: list[list[str]] = []

    def confirm(plan: Plan) -> bool:
        shown.append([e.res or "" for e in plan.shown if isinstance(e, ResourceEnd)])
        return True

    keep(deployment, "a", "b")
    assert deployment.confirmed(confirm).counts() == {"created": 2}
    assert [len(names) for names in shown] == [2]


def test_a_plan_that_is_declined_changes_nothing(deployment: Deployment) -> None:
    keep(deployment, "a")
    with pytest.raises(Cancelled, match="declined") as caught:
        deployment.confirmed(lambda plan: False)
    assert caught.value.effects == ("nothing was changed",)
    assert deployment.cell("a") is None


def test_nobody_is_asked_when_there_is_nothing_to_do(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.run()

    def never(plan: Plan) -> bool:
        raise AssertionError("asked")

    assert deployment.confirmed(never).counts() == {"unchanged": 1}


def test_a_machine_that_moved_makes_the_plan_stale(deployment: Deployment) -> None:
    deployment.put("a", value="old")
    keep(deployment, "a", value="new")

    def meanwhile(plan: Plan) -> bool:
        deployment.put("a", value="somebody else was here")
        return True

    ran = deployment.confirmed(meanwhile)
    assert ran.summary.exit == 7
    assert deployment.cell("a") == {"value": "somebody else was here"}
    assert deployment.log("a") == []


def test_doing_less_than_planned_is_no_error(deployment: Deployment) -> None:
    keep(deployment, "a", "b", value="new")

    def meanwhile(plan: Plan) -> bool:
        deployment.put("a", value="new")
        return True

    ran = deployment.confirmed(meanwhile)
    assert (ran.summary.exit, ran.counts()) == (0, {"created": 1, "unchanged": 1})


def test_a_workflow_that_wants_something_else_now_is_stale(deployment: Deployment) -> None:
    keep(deployment, "a", value="shown")

    def meanwhile(plan: Plan) -> bool:
        keep(deployment, "a", value="not shown")
        return True

    ran = deployment.confirmed(meanwhile)
    assert ran.summary.exit == 7
    assert deployment.cell("a") is None


def test_an_action_that_was_not_shown_is_not_done(deployment: Deployment) -> None:
    times = [1]

    async def body(ctx: Ctx) -> None:
        for _ in range(times[0]):
            await ctx("test.poke", path=deployment.path("a"))

    deployment.task("t", body)

    def meanwhile(plan: Plan) -> bool:
        times[0] = 3
        return True

    ran = deployment.confirmed(meanwhile)
    assert ran.summary.exit == 7
    assert deployment.log("a") == ["poke"]


@pytest.mark.parametrize("fault", ["fail", "half"])
def test_another_attempt_is_in_the_plan_of_the_first(deployment: Deployment, fault: str) -> None:
    async def body(ctx: Ctx) -> None:
        if not ctx.context.preview:
            deployment.fault("a", fault if ctx.attempt == 1 else None)
            deployment.fault("b", "fail" if ctx.attempt == 2 else None)
        await ctx("test.poke", path=deployment.path("c"))
        await ctx("test.cell", path=deployment.path("a"), value="new")
        await ctx("test.poke", path=deployment.path("b"))

    deployment.task("t", body, retries=2)
    ran = deployment.confirmed(yes)
    assert (ran.summary.exit, ran.summary.failed) == (0, 2)
    assert deployment.cell("a") == {"value": "new"}
    assert (deployment.log("b"), deployment.log("c")) == (["poke"], ["poke"] * 3)


def test_what_another_task_did_first_this_time_is_no_reason_to_refuse(
    deployment: Deployment,
) -> None:
    deployment.put("a", value="old")
    done = asyncio.Event()

    async def cell(ctx: Ctx) -> None:
        if not ctx.context.preview:
            await done.wait()
        await ctx("test.cell", path=deployment.path("a"), value="new")

    async def thing(ctx: Ctx) -> None:
        if not ctx.context.preview:
            deployment.put("a", value="as the thing left it")
        await ctx("test.thing", deployment.path("thing"))
        if not ctx.context.preview:
            done.set()

    deployment.task("cell", cell)
    deployment.task("thing", thing)
    ran = deployment.confirmed(yes)
    assert (ran.summary.exit, deployment.cell("a")) == (0, {"value": "new"})


def test_a_refusal_that_the_task_catches_is_one_all_the_same(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"))
        if not ctx.context.preview:
            with contextlib.suppress(PlanStale):
                await ctx("test.poke", path=deployment.path("not shown"))

    deployment.task("t", body, retries=3)
    ran = deployment.confirmed(yes)
    assert (ran.summary.exit, ran.summary.created, ran.summary.failed) == (7, 1, 1)
    assert deployment.log("not shown") == []
    [row] = deployment.rows().values()
    assert row.carry is not None, "what should have followed has not"


def test_a_task_that_could_not_be_predicted_may_go_on_after_yes(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.thing", deployment.path("thing"))
        await ctx("test.glance", deployment.path("conf"))
        await ctx("test.cell", path=deployment.path("after"))

    deployment.task("t", body)
    ran = deployment.confirmed(yes)
    assert (ran.summary.exit, ran.counts()) == (0, {"created": 2})


@pytest.mark.parametrize("known", [True, False])
def test_a_record_that_moved_while_a_person_thought_is_shown_anew(
    deployment: Deployment, known: bool
) -> None:
    if known:
        keep(deployment, "a")
        deployment.run()
    keep(deployment, "a", "b")
    asked: list[int] = []

    def confirm(plan: Plan) -> bool:
        asked.append(len(plan.operations))
        if len(asked) == 1:  # somebody else runs it meanwhile: nobody holds the lock
            other = threading.Thread(target=deployment.run)
            other.start()
            other.join()
            (deployment.here / "b").unlink()
        return True

    assert deployment.confirmed(confirm).counts() == {"created": 1, "unchanged": 1}
    assert asked == [1 if known else 2, 1]


def test_a_plan_is_in_the_order_of_the_tasks(deployment: Deployment) -> None:
    keep(deployment, "z", task="first")
    keep(deployment, "y", "x", task="second")
    plan = deployment.plan(parallel=8)
    assert [name[-1] for name in plan.ends()] == ["z", "x", "y"]
    assert plan.ends() == deployment.plan().ends()


def test_what_the_workflow_writes_and_the_plan_did_not_hold_is_said(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("state.set", "shown", int(ctx.context.preview))
        await ctx("stack.set_output", "shown", "x")
        if not ctx.context.preview:
            await ctx("state.set", "late", 1)
            await ctx("stack.set_output", "late", "x")
            await ctx("state.delete", "nothing")

    deployment.task("t", body)
    ran = deployment.confirmed(yes)
    assert (ran.summary.exit, ran.summary.written) == (0, 4)
    assert [warning.msg for warning in ran.of(Warned)] == [
        "key late was written, and was not in the plan",
        "output late was written, and was not in the plan",
    ]


def test_a_person_is_asked_about_what_only_the_workflow_writes(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("state.set", "key", 1)

    deployment.task("t", body)
    asked: list[Plan] = []
    with pytest.raises(Cancelled):
        deployment.confirmed(lambda plan: bool(asked.append(plan)))
    assert [(e.kind, e.name) for e in asked[0].shown] == [("key", "key")]
    deployment.confirmed(yes)
    assert deployment.confirmed(lambda plan: False).summary.exit == 0


def test_what_a_task_does_when_it_fails_is_done_where_the_plan_said_that_it_may(
    deployment: Deployment,
) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"), value="new")

    async def rescue(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("undone"))
        await ctx("test.poke", path=deployment.path("rescue"))

    deployment.fault("a", "fail")
    deployment.task("t", body, rescue=rescue)
    ran = deployment.confirmed(yes)
    assert ran.summary.exit == 1
    assert deployment.log("rescue") == ["poke"]
    assert deployment.cell("undone") is not None
    assert [end.task for end in deployment.plan().of(TaskEnd) if end.on_failure] == ["t"]
