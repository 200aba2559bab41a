"""The pipeline: look, change, look again, and record what was seen."""

import pytest

from engine.script import Ctx, Deployment, Failure, Ran
from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import (
    Diagnostic,
    Event,
    Recovered,
    ResourceEnd,
    ResourceStart,
    ResourceUnchanged,
    TaskEnd,
)


def keep(deployment: Deployment, *names: str, value: str = "one", **more: str) -> None:
    """Declares one task that keeps cells of these names."""

    async def body(ctx: Ctx) -> list[str]:
        return [
            (await ctx("test.cell", path=deployment.path(name), value=value, **more))["status"]
            for name in names
        ]

    deployment.task("keep", body)


def diagnosis(ran: Ran) -> Diagnostic:
    [found] = ran.of(Diagnostic)
    assert isinstance(found, Diagnostic)
    return found


def test_second_run_changes_nothing(deployment: Deployment) -> None:
    keep(deployment, "a", "b")
    first = deployment.run()
    assert (first.counts(), first.summary.exit) == ({"created": 2}, 0)
    second = deployment.run()
    assert (second.counts(), second.summary.exit) == ({"unchanged": 2}, 0)
    assert deployment.log("a") == ["apply one"]


def test_the_machine_decides_and_not_the_record(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.run()
    (deployment.here / "a").unlink()
    assert deployment.run().counts() == {"created": 1}
    deployment.put("a", value="other")
    again = deployment.run()
    assert again.counts() == {"changed": 1}
    [end] = again.of(ResourceEnd)
    assert (end.cause, [(c.path, c.old, c.new) for c in end.changes]) == (
        "corrective",
        [("value", "other", "one")],
    )


def test_a_change_of_the_workflow_is_intentional(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.run()
    keep(deployment, "a", value="two")
    [end] = deployment.run().of(ResourceEnd)
    assert (end.outcome, end.cause) == ("changed", "intentional")


def test_changed_means_seen(deployment: Deployment) -> None:
    deployment.fault("a", "lie")
    keep(deployment, "a")
    ran = deployment.run()
    assert (ran.counts(), ran.summary.exit) == ({"failed": 1}, 1)
    assert diagnosis(ran).code == "SR2201"
    assert deployment.rows()["cell:" + deployment.path("a")].state == "failed"
    deployment.put("a", value="other")
    told = diagnosis(deployment.run())
    assert 'value is "other", not "one"' in told.detail
    deployment.fault("a", None)
    assert deployment.run().counts() == {"changed": 1}


def test_a_failure_is_recorded_and_repaired_by_the_next_run(deployment: Deployment) -> None:
    deployment.fault("a", "fail")
    keep(deployment, "a")
    ran = deployment.run()
    assert (ran.counts(), ran.summary.exit) == ({"failed": 1}, 1)
    [row] = deployment.rows().values()
    assert (row.state, row.last_applied, row.carry) == ("failed", None, None)
    assert "was told to fail" in (row.error or "")
    told = diagnosis(ran)
    assert told.task == "keep"
    assert told.facts["host"] == "local"
    assert (told.loc or "").startswith(str(deployment.file))
    deployment.fault("a", None)
    assert deployment.run().counts() == {"created": 1}
    [row] = deployment.rows().values()
    assert (row.state, row.error, row.provenance) == ("applied", None, "created")


def test_a_failure_can_be_caught_by_the_task(deployment: Deployment) -> None:
    deployment.fault("a", "fail")

    async def body(ctx: Ctx) -> str:
        with pytest.raises(SlothError, match="told to fail"):
            await ctx("test.cell", path=deployment.path("a"))
        return "went on"

    deployment.task("careful", body)
    ran = deployment.run()
    assert [end.outcome for end in ran.of(TaskEnd)] == ["ok", "ok"]
    assert ran.counts() == {"failed": 1}


def test_what_a_failed_apply_left_is_recorded(deployment: Deployment) -> None:
    deployment.fault("a", "half")
    keep(deployment, "a")
    told = diagnosis(deployment.run())
    assert told.effects == (f"cell:{deployment.path('a')} was made, and is left as it is now",)
    [row] = deployment.rows().values()
    assert (row.state, row.actual) == ("failed", {"value": "half"})
    assert row.provenance == "created"
    deployment.fault("a", None)
    assert deployment.run().counts() == {"changed": 1}
    [row] = deployment.rows().values()
    assert (row.state, row.provenance, row.origin) == ("applied", "created", None)
    keep(deployment, "a", value="two")
    deployment.fault("a", "half")
    [left] = diagnosis(deployment.run()).effects
    assert left.endswith("was changed before that: value")
    deployment.fault("a", "fail")
    [left] = diagnosis(deployment.run()).effects
    assert left == f"cell:{deployment.path('a')} is as it was"


def test_a_resource_that_cannot_be_looked_at_fails_and_is_not_touched(
    deployment: Deployment,
) -> None:
    keep(deployment, "a")
    deployment.run()
    deployment.fault("a", "blind")
    ran = deployment.run()
    assert ran.counts() == {"failed": 1}
    assert "cannot be looked at" in diagnosis(ran).detail
    assert diagnosis(ran).effects == (f"cell:{deployment.path('a')} is as it was",)
    [row] = deployment.rows().values()
    assert row.state == "failed"
    assert deployment.log("a") == ["apply one"]
    deployment.fault("a", None)
    assert deployment.run().counts() == {"unchanged": 1}
    [row] = deployment.rows().values()
    assert (row.state, row.error) == ("applied", None)


def test_one_bad_item_of_many_loses_none_of_the_others(deployment: Deployment) -> None:
    deployment.fault("b", "fail")

    async def body(ctx: Ctx) -> None:
        await ctx("test.cell", paths=[deployment.path(name) for name in "abc"], value="x")

    deployment.task("many", body)
    ran = deployment.run()
    assert ran.counts() == {"created": 2, "failed": 1}
    assert "b was told to fail" in diagnosis(ran).detail
    assert deployment.cell("a") == deployment.cell("c") == {"value": "x"}
    states = {key[-1]: row.state for key, row in deployment.rows().items()}
    assert states == {"a": "applied", "b": "failed", "c": "applied"}


def test_many_items_answer_with_a_result_each(deployment: Deployment) -> None:
    answers = []

    async def body(ctx: Ctx) -> None:
        answers.append(await ctx("test.cell", paths=[deployment.path(name) for name in "ab"]))

    deployment.put("a", value="")
    deployment.task("many", body)
    deployment.run()
    [answer] = answers
    assert [r["status"] for r in answer["results"]] == ["unchanged", "created"]
    assert (answer["changed"], answer["status"]) == (True, "created")


def test_a_result_tells_everything_of_a_change(deployment: Deployment) -> None:
    deployment.put("a", value="old")
    answers = []

    async def body(ctx: Ctx) -> None:
        answers.append(await ctx("test.cell", path=deployment.path("a"), value="new"))
        answers.append(await ctx("test.cell", path=deployment.path("a"), value="new"))

    deployment.task("t", body)
    deployment.run()
    address = "local/cell:" + deployment.path("a")
    assert answers == [
        {
            "changed": True,
            "status": "changed",
            "carried": False,
            "diff": {"value": {"old": "old", "new": "new"}},
            "before": {"value": "old"},
            "after": {"value": "new"},
            "address": address,
        },
        {
            "changed": False,
            "status": "unchanged",
            "carried": False,
            "diff": {},
            "before": {"value": "new"},
            "after": {"value": "new"},
            "address": address,
        },
    ]


def test_what_is_to_be_absent_is_removed_once(deployment: Deployment) -> None:
    deployment.put("a", value="x")
    keep(deployment, "a", state="absent")
    assert deployment.run().counts() == {"removed": 1}
    assert deployment.cell("a") is None
    assert deployment.run().counts() == {"unchanged": 1}
    [row] = deployment.rows().values()
    assert (row.desired, row.actual, row.state) == (None, None, "applied")


def test_an_event_is_in_the_record_before_anybody_is_told(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.run()  # so that there is a record to be read
    deployment.put("a", value="other")
    known: list[tuple[Event, list[str]]] = []

    def publish(event: Event) -> None:
        if event.durable and event.res:
            known.append((event, [str(e["type"]) for e in deployment.stored() if "res" in e]))

    deployment.listen(publish)
    deployment.run()
    earlier = ["resource.start", "resource.end"]
    assert [(type(e), stored) for e, stored in known] == [
        (ResourceStart, [*earlier, "resource.start"]),
        (ResourceEnd, [*earlier, "resource.start", "resource.end"]),
    ]


def test_unchanged_resources_leave_no_events_in_the_record(deployment: Deployment) -> None:
    keep(deployment, "a", "b")
    deployment.run()
    before = len([e for e in deployment.stored() if "res" in e])
    ran = deployment.run()
    assert len(ran.of(ResourceUnchanged)) == 2
    assert len([e for e in deployment.stored() if "res" in e]) == before


def test_a_reader_that_breaks_does_not_stop_the_run(deployment: Deployment) -> None:
    def broken(event: Event) -> None:
        raise BrokenPipeError

    deployment.listen(broken)
    keep(deployment, "a")
    deployment.run()
    assert deployment.cell("a") == {"value": "one"}
    [row] = deployment.rows().values()
    assert row.state == "applied"


def test_two_tasks_at_once_change_one_thing_once(deployment: Deployment) -> None:
    answers = []

    async def body(ctx: Ctx) -> None:
        answers.append(await ctx("test.cell", path=deployment.path("a"), value="x"))

    for name in ("one", "two", "three"):
        deployment.task(name, body)
    ran = deployment.run()
    assert deployment.log("a") == ["apply x"]
    assert sorted(answer["changed"] for answer in answers) == [False, False, True]
    assert ran.counts() == {"created": 1, "unchanged": 2}


def test_a_workflow_that_does_nothing_is_an_error(deployment: Deployment) -> None:
    ran = deployment.run()
    assert ran.summary.exit == 2
    assert "declares no task and makes no call" in diagnosis(ran).detail


def test_the_body_of_the_file_is_the_first_task(deployment: Deployment) -> None:
    order: list[str] = []

    async def body(ctx: Ctx) -> None:
        order.append("body")
        await ctx("test.cell", path=deployment.path("a"))

    async def task(ctx: Ctx) -> None:
        order.append("task")

    deployment.body(body)
    deployment.task("t", task)
    assert deployment.run().counts() == {"created": 1}
    assert order == ["body", "task"]
    [row] = deployment.rows().values()
    assert row.task == "main"


def test_a_body_that_fails_blocks_every_task(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        raise Failure("no")

    keep(deployment, "a")
    deployment.body(body)
    ran = deployment.run()
    assert [(e.task, e.outcome) for e in ran.of(TaskEnd)] == [
        ("main", "failed"),
        ("keep", "blocked"),
    ]
    assert ran.summary.blocked == 1
    assert deployment.cell("a") is None


def test_calls_that_are_wrong_touch_nothing_and_say_so(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.cel", path=deployment.path("a"))

    deployment.task("t", body)
    ran = deployment.run()
    assert ran.summary.exit == 2
    assert "did you mean 'test.cell'" in diagnosis(ran).detail

    async def wrong(ctx: Ctx) -> None:
        await ctx("test.cell", path="relative", valeu="x")

    deployment.task("t", wrong)
    detail = diagnosis(deployment.run()).detail
    assert "did you mean 'value'" in detail
    assert "expected an absolute path" in detail


@pytest.mark.parametrize(
    "fault", ["break", "break observe", "break known_as", "break preview_check"]
)
def test_a_mistake_of_a_plug_in_is_told_as_its_own(deployment: Deployment, fault: str) -> None:
    keep(deployment, "a", "b", secret="hunter2-and-more")
    (deployment.here / "a.fault").write_text(fault)
    ran = deployment.run()
    assert (ran.summary.exit, ran.summary.failed) == (1, 1)
    told = diagnosis(ran)
    assert told.code == "SR2900"
    assert "sloth_test_types.Cell raised" in told.detail
    assert "hunter2" not in str(told)
    assert told.facts["resource"].endswith("/a")
    (deployment.here / "a.fault").unlink()
    assert deployment.run().counts() == {"created": 2}


@pytest.mark.parametrize("method", ["preview_check", "rehearsal", "known_as"])
def test_a_plan_tells_of_a_mistake_of_a_plug_in(deployment: Deployment, method: str) -> None:
    keep(deployment, "a")
    deployment.fault("a", f"break {method}")
    planned = deployment.plan()
    assert (planned.summary.exit, planned.summary.failed) == (1, 1)
    assert "sloth_test_types.Cell raised KeyError" in diagnosis(planned).detail


def test_a_diff_that_a_plug_in_cannot_draw_stops_nothing(deployment: Deployment) -> None:
    keep(deployment, "a")
    deployment.fault("a", "break text_diff")
    assert deployment.run().counts() == {"created": 1}


def test_a_mistake_in_an_action_of_a_plug_in_is_told_and_recorded(deployment: Deployment) -> None:
    async def body(ctx: Ctx) -> None:
        await ctx("test.poke", path=deployment.path("a"))

    deployment.task("t", body)
    deployment.fault("a", "break run")
    ran = deployment.run()
    assert (ran.summary.exit, ran.summary.failed) == (1, 1)
    assert "sloth_test_types.Poke raised KeyError" in diagnosis(ran).detail
    deployment.fault("a", None)
    assert deployment.run().of(Recovered) == []
