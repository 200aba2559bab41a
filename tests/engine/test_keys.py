"""Keys and values: the same answers in a preview and in a run."""

from collections.abc import Callable

import pytest

from engine.script import Ctx, Deployment
from sloth_runner.core.errors import UsageError
from sloth_runner.core.events import ProgramWrote
from sloth_runner.core.values import Value


@pytest.fixture(params=["preview", "run"])
def told(request: pytest.FixtureRequest, deployment: Deployment) -> Callable[..., list[Value]]:
    """Makes calls one after the other, in a preview or in a run; returns their answers."""

    def calls(*wanted: tuple[Value, ...]) -> list[Value]:
        answers: list[Value] = []

        async def body(ctx: Ctx) -> None:
            for name, *arguments in wanted:
                try:
                    answers.append(await ctx(f"state.{name}", *arguments))
                except UsageError as error:
                    answers.append(str(error))

        deployment.task("t", body)
        ran = deployment.plan() if request.param == "preview" else deployment.run()
        answers.append([(e.name, e.outcome) for e in ran.of(ProgramWrote)])
        return answers

    return calls


def test_an_increment_counts_from_zero_and_refuses_text(told: Callable[..., list[Value]]) -> None:
    *answers, _ = told(
        ("increment", "n", 2),
        ("increment", "n", -3),
        ("increment", "n"),
        ("set", "digits", "-5"),
        ("increment", "digits", 2),
        ("get", "digits"),
        ("set", "text", "x"),
        ("increment", "text"),
        ("set", "yes", True),
        ("increment", "yes"),
    )
    assert answers[:7] == [2, -1, 0, True, -3, -3, True]
    for refusal, name in ((answers[7], "text"), (answers[9], "yes")):
        assert f'the value of "{name}" is no whole number' in str(refusal)


def test_a_swap_happens_only_from_the_expected_value(told: Callable[..., list[Value]]) -> None:
    *answers, _ = told(
        ("compare_swap", "k", "x", "y"),
        ("compare_swap", "k", None, {"a": 1.0}),
        ("compare_swap", "k", None, 2),
        ("compare_swap", "k", {"a": 1}, None),
        ("keys",),
        ("get", "k", "default"),
    )
    assert answers == [False, True, False, True, [], "default"]


def test_what_is_set_to_what_it_was_is_not_told(told: Callable[..., list[Value]]) -> None:
    wanted = [("set", "a", {"b": [1, 2.0]}), ("set", "c", 1), ("delete", "none")]
    again = [("set", "a", {"b": [1, 2]}), ("set", "c", 1.0), ("set", "none", None)]
    *answers, events = told(*wanted, *again, ("keys", "a"))
    assert answers == [True, True, False, True, True, True, ["a"]]
    assert events == [("a", "created"), ("c", "created")]


def test_what_json_cannot_hold_is_refused(told: Callable[..., list[Value]]) -> None:
    [refusal, keys, events] = told(("set", "k", float("nan")), ("keys",))
    assert 'the value of "k" cannot be kept' in str(refusal)
    assert (keys, events) == ([], [])
