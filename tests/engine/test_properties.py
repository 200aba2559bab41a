"""Random workflows, start states and failures: what holds for each of them.

A workflow has tasks that keep cells (``plugin/sloth_test_types.py``) and poke a log when a
cell answers that it changed, as a restart would follow. Each cell is one task's own.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.crash import dies_at_commit
from engine.script import Body, Ctx, Deployment, Ran
from sloth_runner.core.events import ResourceEnd

pytestmark = pytest.mark.usefixtures("plugin")

FAULTS = ("fail", "half", "late", "lie")
DONE = ("created", "changed", "removed", "ran")
AS_FAST_AS_IT_GOES = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A cell that is to be there, or away; ``follows`` with a poke where it has changed."""

    name: str
    absent: bool
    follows: bool
    catches: bool


@dataclasses.dataclass(frozen=True)
class Workflow:
    """Tasks, each with its steps and the earlier tasks that it needs."""

    tasks: tuple[tuple[tuple[Step, ...], frozenset[int]], ...]
    before: dict[str, str]
    """The cells that are there at the start, with what they hold."""
    faults: dict[str, str]
    """How cells misbehave in the first run."""

    @property
    def steps(self) -> list[Step]:
        return [step for steps, _ in self.tasks for step in steps]

    def deploy(self, deployment: Deployment) -> None:
        for number, (steps, needs) in enumerate(self.tasks):
            earlier = (f"t{need}" for need in sorted(needs) if need < number)
            deployment.task(f"t{number}", _body(deployment, steps), *earlier)
        for name, value in self.before.items():
            deployment.put(name, value=value)


def _body(deployment: Deployment, steps: tuple[Step, ...]) -> Body:
    async def body(ctx: Ctx) -> None:
        for step in steps:
            path = deployment.path(step.name)
            wanted: dict[str, Any] = {"state": "absent"} if step.absent else {"value": step.name}
            try:
                answer = await ctx("test.cell", path=path, **wanted)
            except Exception:
                if not step.catches:
                    raise
                continue
            if step.follows and answer["changed"]:
                await ctx("test.poke", path=deployment.path(f"restart-{step.name}"))

    return body


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1, max_size=6))
    steps = [Step(name, *draw(st.tuples(*[st.booleans()] * 3))) for name in names]
    count = draw(st.integers(1, 3))
    tasks = tuple(
        (tuple(steps[number::count]), draw(st.frozensets(st.integers(0, 2), max_size=2)))
        for number in range(count)
    )
    held = st.one_of(st.none(), st.sampled_from(["other", *names]))
    before = {name: value for name in names if (value := draw(held)) is not None}
    faults = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(FAULTS), max_size=2))
    return Workflow(tasks, before, faults)


def machine(deployment: Deployment, workflow: Workflow) -> dict[str, Any]:
    """What stands in the cells."""
    return {step.name: deployment.cell(step.name) for step in workflow.steps}


def wanted(workflow: Workflow) -> dict[str, Any]:
    return {step.name: None if step.absent else {"value": step.name} for step in workflow.steps}


def done(ran: Ran) -> set[tuple[str | None, str]]:
    """What a run did, or a plan would do, each with its outcome."""
    ends = ran.of(ResourceEnd)
    return {(event.res, event.outcome) for event in ends if event.outcome in DONE}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@AS_FAST_AS_IT_GOES
@given(workflows())
def test_a_plan_writes_nothing_and_is_what_the_run_does_and_a_second_does_nothing(
    workflow: Workflow,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder))
        workflow.deploy(deployment)
        before = files(deployment.folder)
        planned = deployment.plan()
        assert files(deployment.folder) == before
        ran = deployment.run()
        assert done(ran) == done(planned)
        assert machine(deployment, workflow) == wanted(workflow)
        again = deployment.run()
        assert set(again.counts()) == {"unchanged"}
        assert deployment.plan().counts() == again.counts()
        for name, row in deployment.rows().items():
            assert row.actual == deployment.cell(name.rpartition("/")[2])
            assert (row.state, row.carry) == ("applied", None)


@AS_FAST_AS_IT_GOES
@given(workflows())
def test_after_failures_the_next_run_finishes_and_forgets_nothing(workflow: Workflow) -> None:
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder))
        workflow.deploy(deployment)
        for name, fault in workflow.faults.items():
            deployment.fault(name, fault)
        first = deployment.run()
        told = sum(event.outcome == "failed" for event in first.of(ResourceEnd))
        assert first.summary.failed == told
        for name in workflow.faults:
            deployment.fault(name, None)
        second = deployment.run()
        assert second.summary.exit == 0
        assert machine(deployment, workflow) == wanted(workflow)
        assert set(deployment.run().counts()) == {"unchanged"}
        followed(deployment, workflow)


def in_place(deployment: Deployment, workflow: Workflow) -> dict[str, list[str]]:
    """The cells that are as they are to be, each with what was done to it so far."""
    goal = wanted(workflow)
    there = machine(deployment, workflow)
    return {name: deployment.log(name) for name in goal if there[name] == goal[name]}


def followed(deployment: Deployment, workflow: Workflow) -> None:
    """Asserts that what follows a change has happened wherever there was one, and nowhere else."""
    for step in workflow.steps:
        held = workflow.before.get(step.name)
        differed = held is not None if step.absent else held != step.name
        pokes = deployment.log(f"restart-{step.name}")
        assert bool(pokes) == (step.follows and differed), step


@pytest.mark.crash
@AS_FAST_AS_IT_GOES
@given(workflows(), st.integers(1, 12), st.integers(1, 12))
def test_after_any_number_of_kills_the_next_run_finishes_and_forgets_nothing(
    workflow: Workflow, first: int, second: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder))
        workflow.deploy(deployment)
        for run in (
            lambda: dies_at_commit(first, deployment.run),
            lambda: dies_at_commit(second, deployment.run),
            deployment.run,
        ):
            finished = in_place(deployment, workflow)
            run()
            assert {name: deployment.log(name) for name in finished} == finished, "done again"
        assert set(deployment.run().counts()) == {"unchanged"}
        assert machine(deployment, workflow) == wanted(workflow)
        followed(deployment, workflow)
        assert deployment.open_operations() == []
