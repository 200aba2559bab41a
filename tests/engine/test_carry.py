"""A change is not forgotten: it is answered again until what follows from it has succeeded."""

from typing import Any

import pytest

from engine.script import Ctx, Deployment, Failure
from sloth_runner.core.events import ResourceEnd, Warned
from sloth_runner.engine.program import TaskResult


class Web:
    """A configuration with a restart that follows its change, and switches to fail by."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.value = "one"
        self.fail_before_restart = 0
        self.restarts = 0
        self.answers: list[dict[str, Any]] = []
        deployment.task("configure", self.configure)

    async def configure(self, ctx: Ctx) -> None:
        answer = await ctx("test.cell", path=self.deployment.path("conf"), value=self.value)
        self.answers.append(answer)
        if self.fail_before_restart:
            self.fail_before_restart -= 1
            raise Failure("the restart was not reached")
        if answer["changed"]:
            self.restarts += 1

    async def skip(self, ctx: Ctx) -> TaskResult:
        return TaskResult(skipped=True)

    @property
    def last(self) -> tuple[bool, str, bool]:
        answer = self.answers[-1]
        return (answer["changed"], answer["status"], answer["carried"])


@pytest.fixture
def web(deployment: Deployment) -> Web:
    return Web(deployment)


def fine(deployment: Deployment) -> None:
    """Asserts that the next run has nothing to do and owes nothing."""
    ran = deployment.run()
    assert set(ran.counts()) == {"unchanged"}
    assert all(row.carry is None for row in deployment.rows().values())


def test_a_change_is_answered_again_after_a_failure(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    assert deployment.run().summary.exit == 1
    ran = deployment.run()
    assert ran.counts() == {"carried": 1}
    assert web.last == (True, "created", True)
    assert web.restarts == 1
    fine(deployment)
    assert web.restarts == 1


def test_the_original_status_and_diff_are_answered(deployment: Deployment, web: Web) -> None:
    deployment.run()
    web.value, web.fail_before_restart = "two", 2
    deployment.run()
    deployment.run()
    ran = deployment.run()
    assert web.last == (True, "changed", True)
    assert web.answers[-1]["diff"] == {"value": {"old": "one", "new": "two"}}
    [end] = ran.of(ResourceEnd)
    assert (end.outcome, end.cause, end.carried) == ("carried", "carried", True)
    assert [(c.path, c.old, c.new) for c in end.changes] == [("value", "one", "two")]
    fine(deployment)


def test_a_change_is_carried_through_retries(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 2
    deployment.task("configure", web.configure, retries=2)
    ran = deployment.run()
    assert ran.summary.exit == 0
    assert [answer["carried"] for answer in web.answers] == [False, True, True]
    assert ran.counts() == {"created": 1, "carried": 2}
    assert [said.msg.partition(":")[2].partition(",")[0] for said in ran.of(Warned)] == [
        " attempt 1 of 3 failed",
        " attempt 2 of 3 failed",
    ]
    assert web.restarts == 1
    fine(deployment)


def test_a_second_call_in_the_same_attempt_is_unchanged(deployment: Deployment) -> None:
    answers = []

    async def body(ctx: Ctx) -> None:
        for _ in range(2):
            answers.append((await ctx("test.cell", path=deployment.path("a")))["status"])

    deployment.task("t", body)
    deployment.run()
    assert answers == ["created", "unchanged"]


def test_it_is_owed_until_every_dependent_has_succeeded(deployment: Deployment, web: Web) -> None:
    trouble = [True]

    async def check(ctx: Ctx) -> None:
        if trouble:
            raise Failure("the web server does not answer")

    async def between(ctx: Ctx) -> None:
        pass

    deployment.task("between", between, "configure")
    deployment.task("check", check, "between")
    assert deployment.run().summary.exit == 1
    assert deployment.run().counts() == {"carried": 1, "failed": 1}
    assert web.restarts == 2
    trouble.clear()
    deployment.run()
    assert web.last == (True, "created", True)
    assert web.restarts == 3
    fine(deployment)


def test_a_task_that_does_not_depend_on_it_holds_nothing_back(
    deployment: Deployment, web: Web
) -> None:
    async def unrelated(ctx: Ctx) -> None:
        raise Failure("something else")

    deployment.task("unrelated", unrelated)
    assert deployment.run().summary.exit == 1
    deployment.run()
    assert web.last == (False, "unchanged", False)


def test_a_dependent_that_was_not_asked_for_still_has_to_succeed(
    deployment: Deployment, web: Web
) -> None:
    async def check(ctx: Ctx) -> None:
        pass

    deployment.task("check", check, "configure")
    deployment.run(tasks=("configure",))
    assert deployment.run(tasks=("configure",)).counts() == {"carried": 1}
    assert deployment.run().counts() == {"carried": 1}
    fine(deployment)


def test_a_renamed_task_answers_for_the_old_one(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    deployment.run()
    deployment.drop("configure")
    deployment.task("setup", web.configure)
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1
    fine(deployment)


def test_a_change_that_moved_into_the_body_is_still_owed(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    deployment.run()
    deployment.drop("configure")
    deployment.body(web.configure)
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1
    fine(deployment)


def test_a_body_that_failed_is_owed_its_change(deployment: Deployment, web: Web) -> None:
    deployment.drop("configure")
    deployment.body(web.configure)
    web.fail_before_restart = 1
    deployment.run()
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1
    fine(deployment)


def test_another_task_with_the_same_declaration_is_not_owed_it(
    deployment: Deployment, web: Web
) -> None:
    other: list[bool] = []

    async def also(ctx: Ctx) -> None:
        answer = await ctx("test.cell", path=deployment.path("conf"), value="one")
        other.append(answer["changed"])

    deployment.task("also", also, "configure")
    deployment.run()
    web.value = "one"
    assert other == [False]


def test_an_orphan_carries_nothing(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    deployment.run()

    async def nothing(ctx: Ctx) -> None:
        pass

    deployment.task("configure", nothing)
    deployment.run()
    [row] = deployment.rows().values()
    assert (row.state, row.carry) == ("orphaned", None)
    deployment.task("configure", web.configure)
    deployment.run()
    assert web.last == (False, "unchanged", False)
    assert web.restarts == 0


def test_a_failed_apply_that_changed_the_machine_is_not_forgotten(
    deployment: Deployment, web: Web
) -> None:
    deployment.fault("conf", "late")
    assert deployment.run().summary.exit == 1
    assert deployment.cell("conf") == {"value": "one"}
    deployment.fault("conf", None)
    assert deployment.run().counts() == {"carried": 1}
    assert web.last == (True, "created", True)
    assert web.restarts == 1
    fine(deployment)


def test_a_later_failure_does_not_forget_an_earlier_change(
    deployment: Deployment, web: Web
) -> None:
    web.fail_before_restart = 1
    deployment.run()
    web.value = "two"
    deployment.fault("conf", "fail")
    deployment.run()
    deployment.fault("conf", None)
    web.value = "one"
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1
    fine(deployment)


def test_a_resource_that_cannot_be_looked_at_keeps_what_it_owes(
    deployment: Deployment, web: Web
) -> None:
    web.fail_before_restart = 1
    deployment.run()
    deployment.fault("conf", "blind")
    deployment.run()
    deployment.fault("conf", None)
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1


def test_a_preview_shows_what_is_owed(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    deployment.run()
    plan = deployment.plan()
    assert plan.counts() == {"carried": 1}
    [end] = plan.of(ResourceEnd)
    assert (end.outcome, end.planned) == ("carried", True)
    assert web.last == (True, "created", True)
    assert deployment.run().counts() == {"carried": 1}


def test_a_task_that_is_skipped_keeps_what_it_owes(deployment: Deployment, web: Web) -> None:
    web.fail_before_restart = 1
    deployment.run()
    deployment.task("configure", web.skip)
    deployment.run()
    deployment.task("configure", web.configure)
    assert deployment.run().counts() == {"carried": 1}
    assert web.restarts == 1
