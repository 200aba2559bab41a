"""Every error that a person can meet, in one tree.

    SlothError
      UsageError          wrong input; nothing was touched            exit 2
        ParamError        a parameter of a call
        WorkflowError     the workflow: graph, names
          SyntaxMistake   what is no Lua
      TaskError           something failed while it was being done     exit 1
        CommandFailed     a command ended with another code than 0
        NotConverged      applied, looked again, and it does not match
        PluginFailed      a type of a plug-in raised what no type is to raise
        Refused           it would harm what is there, so it was not begun
        HostError         a file or process operation on a host failed
          ReadOnly        a write where only looking is allowed
      Unreachable         a host does not answer                       exit 4
      Locked              another run holds the stack                  exit 5
      RecordError         the record is damaged or newer than we are   exit 6
      PlanStale           the world moved since the plan was made      exit 7
      Cancelled           stopped cleanly, or declined                 exit 8
      TimedOut            a deadline passed                            exit 9

A title is constant and never holds data; ``detail`` says what happened with the values.
"""

from typing import ClassVar

from msgspec import Struct

from sloth_runner.core.values import Value


class Location(Struct, frozen=True):
    """A place in a Lua file; ``line`` counts from 1."""

    file: str
    line: int

    @classmethod
    def parse(cls, text: str) -> "Location":
        """Returns the place that ``str`` wrote."""
        file, _, line = text.rpartition(":")
        return cls(file, int(line))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class SlothError(Exception):
    """The base: a constant title, the facts, and what to do next.

    ``facts`` are labelled lines in the order to show them (host, command, exit code ...);
    ``effects`` say what was and was not changed.
    """

    title: ClassVar[str] = "something went wrong"
    code: ClassVar[str] = "SR9001"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        detail: str = "",
        *,
        hint: str = "",
        location: Location | None = None,
        facts: dict[str, Value] | None = None,
        effects: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.location = location
        self.facts = dict(facts or {})
        self.effects = effects
        self.traceback = ""

    @property
    def said(self) -> str:
        """What happened, for whoever knows already where."""
        return f"{self.title}: {self.detail}" if self.detail else self.title

    def __str__(self) -> str:
        return f"{self.location}: {self.said}" if self.location else self.said


class UsageError(SlothError):
    title = "wrong input"
    code = "SR1000"
    exit_code = 2


class ParamError(UsageError):
    title = "wrong parameter"
    code = "SR1203"

    def of_call(self, function: str, location: Location | None) -> "ParamError":
        """Returns the same, as a mistake in a call of ``function``."""
        return ParamError(f"{function}: {self.detail}", location=location, hint=self.hint)


class WorkflowError(UsageError):
    title = "wrong workflow"
    code = "SR1300"


class SyntaxMistake(WorkflowError):
    title = "syntax error"
    code = "SR1001"


class ConflictError(UsageError):
    title = "two declarations of one thing"
    code = "SR1320"


class TaskError(SlothError):
    title = "the operation failed"
    code = "SR2000"


class PluginFailed(TaskError):
    """A type that does not come with the program raised what no type is to raise."""

    title = "a plug-in failed"
    code = "SR2900"

    @classmethod
    def of(cls, declared: type, error: Exception) -> "PluginFailed":
        """Returns what to say of an ``error`` of a type; one of ours is raised: it is a bug."""
        if declared.__module__.startswith("sloth_runner."):
            raise error
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        return cls(
            f"{declared.__module__}.{declared.__name__} raised {type(error).__name__}: {error}",
            hint="that is a mistake in the plug-in, not in sloth-runner: report it to its authors",
            facts={"raised at": place},
        )


class HostError(TaskError):
    """An operation on a host failed; ``errno_name`` is the symbolic errno (``EACCES``)."""

    title = "the host refused an operation"
    code = "SR2100"

    def __init__(self, detail: str = "", *, errno_name: str = "", **rest: Value) -> None:
        super().__init__(detail, **rest)
        self.errno_name = errno_name


class ReadOnly(HostError):
    title = "a write was attempted where only looking is allowed"
    code = "SR9100"


class CommandFailed(TaskError):
    title = "a command failed"
    code = "SR2101"


class ValidationRejected(TaskError):
    title = "the validation command rejected the new file"
    code = "SR2107"


class NotConverged(TaskError):
    title = "applied, but the machine does not match"
    code = "SR2201"


class Refused(TaskError):
    title = "refused, since it would harm what is there"
    code = "SR2302"


class SecretName(Refused):
    """Refuses a thing whose name may be a secret; ``shown`` is what may be told of the name."""

    title = "refused, since the name may be a secret"
    code = "SR2304"

    def __init__(self, detail: str = "", *, shown: str = "(sensitive)", **rest: Value) -> None:
        super().__init__(detail, **rest)
        self.shown = shown


class InUse(TaskError):
    title = "something else is using it"
    code = "SR2301"


class LuaFailure(TaskError):
    title = "the workflow ended with an error"
    code = "SR1900"


class Unreachable(SlothError):
    title = "a host cannot be reached"
    code = "SR3001"
    exit_code = 4


class Locked(SlothError):
    title = "the stack is locked"
    code = "SR4001"
    exit_code = 5


class RecordError(SlothError):
    title = "the record cannot be used"
    code = "SR6001"
    exit_code = 6


class PlanStale(SlothError):
    title = "the plan no longer matches"
    code = "SR7001"
    exit_code = 7


class Cancelled(SlothError):
    title = "cancelled"
    code = "SR8001"
    exit_code = 8


class TimedOut(SlothError):
    title = "a deadline passed"
    code = "SR9009"
    exit_code = 9


class TaskTimedOut(TaskError):
    title = "a deadline passed"
    code = "SR2009"
