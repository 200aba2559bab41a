"""Errors: constant titles, codes of their own, frozen exit codes."""

import pytest

from sloth_runner.core import errors
from sloth_runner.core.errors import HostError, Location, SlothError, TaskError, UsageError


def every_error() -> list[type[SlothError]]:
    return [
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, SlothError)
    ]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_an_error_tells_title_detail_and_place(cls: type[SlothError]) -> None:
    error = cls("nginx is not known", location=Location("web.lua", 7), hint="look", effects=("no",))
    assert str(error) == f"web.lua:7: {cls.title}: nginx is not known"
    assert str(cls()) == cls.title
    assert (error.hint, error.effects) == ("look", ("no",))


def test_codes_are_their_own() -> None:
    codes = [cls.code for cls in every_error()]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 6 and code.startswith("SR") and code[2:].isdigit() for code in codes)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ParamError", 2),
        ("WorkflowError", 2),
        ("ConflictError", 2),
        ("TaskError", 1),
        ("CommandFailed", 1),
        ("NotConverged", 1),
        ("TaskTimedOut", 1),
        ("Unreachable", 4),
        ("Locked", 5),
        ("RecordError", 6),
        ("PlanStale", 7),
        ("Cancelled", 8),
        ("TimedOut", 9),
    ],
)
def test_exit_codes_are_frozen(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_facts_are_the_errors_own() -> None:
    facts = {"host": "local"}
    error = TaskError("x", facts=facts)
    error.facts["more"] = 1
    assert facts == {"host": "local"}


def test_a_host_error_knows_the_symbolic_errno() -> None:
    assert HostError("no", errno_name="EACCES", hint="sudo").errno_name == "EACCES"
    assert not issubclass(HostError, UsageError)
