"""The graph: checked with positions before anything runs, walked side by side, stopped cleanly."""

import asyncio
import itertools
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.script import Body, Ctx, Deployment, Failure
from sloth_runner.core.errors import Location, UsageError, WorkflowError
from sloth_runner.core.events import Diagnostic, Log, TaskEnd, TaskStart
from sloth_runner.engine.graph import Graph
from sloth_runner.engine.program import TaskSpec


def spec(name: str, *needs: str, line: int = 1, tags: Sequence[str] = ()) -> TaskSpec:
    return TaskSpec(
        name=name, depends_on=needs, tags=tuple(tags), location=Location("web.lua", line)
    )


def idle() -> Body:
    async def body(ctx: Ctx) -> None:
        pass

    return body


def failing() -> Body:
    async def body(ctx: Ctx) -> None:
        raise Failure("no")

    return body


def ends(deployment: Deployment) -> dict[str, str]:
    return {end.task: end.outcome for end in deployment.run().of(TaskEnd) if end.task != "main"}


def test_an_unknown_dependency_is_named_with_its_line_and_the_nearest_name() -> None:
    with pytest.raises(WorkflowError) as caught:
        Graph([spec("install"), spec("configure", "instal", line=9)])
    assert str(caught.value.location) == "web.lua:9"
    assert "which is not a task; did you mean 'install'?" in caught.value.detail


def test_a_circle_is_shown_with_all_its_lines() -> None:
    with pytest.raises(WorkflowError) as caught:
        Graph([spec("a", "c", line=1), spec("b", "a", line=5), spec("c", "b", line=9), spec("d")])
    circle = caught.value.detail.partition(": ")[2].split(" → ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"a", "b", "c"}
    assert sorted(caught.value.facts["declared at"]) == ["web.lua:1", "web.lua:5", "web.lua:9"]


def test_a_task_that_depends_on_itself_is_a_circle() -> None:
    with pytest.raises(WorkflowError, match="a → a"):
        Graph([spec("a", "a")])


def test_equals_keep_the_order_of_the_file() -> None:
    tasks = [spec("z"), spec("b", "z"), spec("a", "z"), spec("m")]
    assert Graph(tasks).order == ["z", "m", "b", "a"]


GRAPHS = st.lists(st.sets(st.integers(0, 6), max_size=3), min_size=1, max_size=7)


@given(GRAPHS)
def test_dependents_are_whoever_needs_it_at_any_depth(needs: list[set[int]]) -> None:
    tasks = [
        spec(f"t{n}", *(f"t{m}" for m in sorted(earlier) if m < n))
        for n, earlier in enumerate(needs)
    ]
    graph = Graph(tasks)
    place = {name: index for index, name in enumerate(graph.order)}
    assert all(place[need] < place[task.name] for task in tasks for need in task.depends_on)

    def needed(name: str) -> set[str]:
        direct = set(graph.tasks[name].depends_on)
        return direct.union(*(needed(other) for other in direct))

    for name in graph.tasks:
        assert graph.dependents(name) == {t for t in graph.tasks if name in needed(t)}
        assert graph.selected([name], []) == {name} | needed(name)
    assert graph.dependents("main") == set(graph.tasks)


def test_tags_choose_tasks_and_all_that_they_need() -> None:
    graph = Graph([spec("a"), spec("b", "a", tags=["web"]), spec("c")])
    assert graph.selected([], ["web"]) == {"a", "b"}
    assert graph.selected([], []) == {"a", "b", "c"}


@pytest.mark.parametrize(("names", "tags"), [(["instal"], []), ([], ["wbe"])])
def test_a_choice_that_does_not_exist_is_answered_with_the_nearest(
    names: list[str], tags: list[str]
) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        Graph([spec("install", tags=["web"])]).selected(names, tags)


@pytest.mark.parametrize("mode", ["run", "plan"])
def test_a_graph_that_cannot_be_run_touches_nothing(deployment: Deployment, mode: str) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"))

    deployment.task("a", body, "b")
    deployment.task("b", body, "a")
    ran = getattr(deployment, mode)()
    [told] = ran.of(Diagnostic)
    assert (told.code, ran.summary.exit) == ("SR1300", 2)
    assert not ran.summary.touched
    assert deployment.cell("a") is None


def test_what_depends_on_a_failure_is_blocked_at_any_depth(deployment: Deployment) -> None:
    deployment.task("bad", failing())
    deployment.task("child", idle(), "bad")
    deployment.task("grandchild", idle(), "child")
    deployment.task("free", idle())
    ran = deployment.run()
    outcomes = {e.task: e.outcome for e in ran.of(TaskEnd)}
    assert outcomes == {
        "main": "ok",
        "bad": "failed",
        "child": "blocked",
        "grandchild": "blocked",
        "free": "ok",
    }
    [told] = ran.of(Diagnostic)
    assert told.blocked == ("child", "grandchild")
    assert (ran.summary.blocked, ran.summary.exit) == (2, 1)


def test_a_blocked_task_names_whom_it_waited_for(deployment: Deployment) -> None:
    deployment.task("bad", failing())
    deployment.task("child", idle(), "bad")
    reasons = {e.task: e.reason for e in deployment.run().of(TaskEnd)}
    assert reasons["child"] == "bad did not succeed"


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (3, 3), (8, 6)])
def test_tasks_run_side_by_side_up_to_the_limit(
    deployment: Deployment, parallel: int, most: int
) -> None:
    running: list[int] = [0, 0]

    async def body(ctx: Ctx) -> None:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.02)
        running[0] -= 1

    for n in range(6):
        deployment.task(f"t{n}", body)
    deployment.run(parallel=parallel)
    assert running[1] == most


def test_a_task_starts_when_all_that_it_needs_has_ended(deployment: Deployment) -> None:
    order: list[str] = []

    def note(name: str, pause: float) -> Body:
        async def body(ctx: Ctx) -> None:
            await asyncio.sleep(pause)
            order.append(name)

        return body

    deployment.task("last", note("last", 0), "slow", "quick")
    deployment.task("slow", note("slow", 0.05))
    deployment.task("quick", note("quick", 0))
    deployment.run()
    assert order == ["quick", "slow", "last"]


def test_a_task_is_tried_again_as_often_as_it_says(deployment: Deployment) -> None:
    attempts: list[float] = []

    async def body(ctx: Ctx) -> str:
        attempts.append(time.monotonic())
        if ctx.attempt < 3:
            raise Failure("not yet")
        return "done"

    deployment.task("t", body, retries=3, retry_delay=0.05)
    ran = deployment.run()
    assert ran.summary.exit == 0
    assert [e.attempt for e in ran.of(TaskStart) if e.task == "t"] == [1, 2, 3]
    assert all(b - a >= 0.05 for a, b in itertools.pairwise(attempts))


def test_a_task_that_never_succeeds_tells_its_last_failure(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        raise Failure(f"failure {ctx.attempt}")

    deployment.task("t", body, retries=1)
    [told] = deployment.run().of(Diagnostic)
    assert "failure 2" in told.detail


def test_a_task_that_takes_too_long_is_ended(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await asyncio.sleep(30)

    deployment.task("slow", body, timeout=0.05)
    deployment.task("after", idle(), "slow")
    began = time.monotonic()
    ran = deployment.run()
    assert time.monotonic() - began < 5
    [told] = ran.of(Diagnostic)
    assert (told.code, ran.summary.exit) == ("SR2009", 1)
    assert {e.task: e.outcome for e in ran.of(TaskEnd)}["after"] == "blocked"


def test_a_task_that_has_failed_for_good_is_rescued_once(deployment: Deployment) -> None:
    rescued: list[int] = []

    async def body(ctx: Ctx) -> None:
        if ctx.attempt < 3:
            raise Failure("not yet")

    async def rescue(ctx: Ctx) -> None:
        rescued.append(ctx.attempt)

    deployment.task("t", body, retries=1, rescue=rescue)
    assert deployment.run().summary.exit == 1
    assert rescued == [2]
    deployment.task("t", body, retries=2, rescue=rescue)
    assert deployment.run().summary.exit == 0
    assert rescued == [2]


@pytest.mark.parametrize("slow", [False, True])
def test_a_task_whose_time_is_over_is_rescued_in_as_much_time_again(
    deployment: Deployment, slow: bool
) -> None:
    async def body(ctx: Ctx) -> None:
        await asyncio.sleep(30)

    async def rescue(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"))
        await asyncio.sleep(30 if slow else 0)

    deployment.task("t", body, timeout=0.3, rescue=rescue)
    began = time.monotonic()
    ran = deployment.run()
    assert time.monotonic() - began < 5
    assert (ran.summary.exit, ran.counts()) == (1, {"created": 1, "failed": 1})
    too_slow = "a deadline passed: task 't' did not end within 0.3 s"
    assert [log.text for log in ran.of(Log)] == [f"on_failure of task t failed: {too_slow}"] * slow


def test_a_run_that_takes_too_long_exits_with_nine(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"))
        await asyncio.sleep(30)

    deployment.task("slow", body)
    ran = deployment.run(timeout=0.2)
    assert (ran.summary.exit, ran.summary.result) == (9, "timeout")
    assert deployment.open_operations() == []
    assert deployment.run(timeout=0.2).counts() == {"carried": 1}


def test_only_what_was_asked_for_runs(deployment: Deployment) -> None:
    for name, needs in (("a", ()), ("b", ("a",)), ("c", ())):
        deployment.task(name, idle(), *needs)
    ran = deployment.run(tasks=("b",))
    assert [e.task for e in ran.of(TaskEnd)] == ["main", "a", "b"]


def test_a_task_reads_the_results_of_others(deployment: Deployment) -> None:
    seen: list[object] = []

    async def one(ctx: Ctx) -> dict[str, int]:
        return {"port": 80}

    async def two(ctx: Ctx) -> None:
        seen.append(ctx.context.results["one"])

    deployment.task("one", one)
    deployment.task("two", two, "one")
    deployment.run()
    assert seen == [{"port": 80}]


def test_a_task_that_fails_by_itself_is_counted_and_one_failure_only_once(
    deployment: Deployment,
) -> None:
    async def raises(ctx: Ctx) -> None:
        raise Failure("by itself")

    async def fails(ctx: Ctx) -> None:
        await ctx("test.cell", path=deployment.path("a"))

    deployment.fault("a", "fail")
    deployment.task("raises", raises)
    deployment.task("fails", fails)
    ran = deployment.run()
    assert (ran.summary.failed, ran.summary.checked, ran.summary.exit) == (2, 1, 1)
    deployment.drop("fails")
    ran = deployment.run()
    assert (ran.summary.failed, ran.summary.touched) == (1, False)
