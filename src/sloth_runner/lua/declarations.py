"""What a file declares: ``workflow({...})`` and ``task({...})``, checked at their line."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from sloth_runner.core import schema
from sloth_runner.core.errors import ConflictError, Location, WorkflowError
from sloth_runner.core.values import Value
from sloth_runner.engine.program import MAIN, TaskSpec, WorkflowSpec


class Declared(Struct, frozen=True, kw_only=True):
    """A task: its specification, its functions by the name of their parameter, and ``when``."""

    spec: TaskSpec
    hooks: Mapping[str, int]
    when: bool | None = None


class Declarations(Struct):
    """Everything that the file has declared so far; ``open`` while its body runs."""

    open: bool = True
    workflow: WorkflowSpec = field(default_factory=WorkflowSpec)
    tasks: dict[str, Declared] = field(default_factory=dict)

    def add(self, declared: Mapping[str, Value], location: Location | None) -> None:
        """Takes a call of ``workflow`` or ``task``; raises WorkflowError at its line."""
        what, spec = declared["what"], declared["spec"]
        if not isinstance(spec, dict):
            raise WorkflowError(
                f"{what} takes names with values, not a list",
                location=location,
                hint=f'{what}({{ name = "..." }})',
            )
        if not self.open:
            raise WorkflowError(
                f"{what}() was called after the file's body had ended",
                location=location,
                hint="declare every task in the body of the file; inside a task call functions, "
                "or goroutine.spawn for work side by side",
            )
        fields = _checked(what, spec, declared["hooks"], location)
        if what == "workflow":
            self._workflow(fields, location)
        else:
            self._task(fields, declared["hooks"], location)

    def _workflow(self, fields: dict[str, Value], location: Location | None) -> None:
        first = self.workflow.location
        if first is not None:
            raise ConflictError(
                f"workflow was declared at {first} already",
                location=location,
                hint="a file declares one workflow",
            )
        self.workflow = WorkflowSpec(**fields, location=location)

    def _task(
        self, fields: dict[str, Value], hooks: Mapping[str, int], location: Location | None
    ) -> None:
        name = fields.get("name")
        if not name:
            raise WorkflowError("a task needs a name", location=location)
        if name == MAIN:
            raise WorkflowError(
                f"a task cannot be named {MAIN!r}",
                location=location,
                hint=f"{MAIN!r} is the body of the file, which runs first; choose another name",
            )
        if name in self.tasks:
            first = self.tasks[name].spec.location
            raise ConflictError(
                f"task {name!r} is declared at {location} and was at {first} already",
                location=location,
                hint="every task has a name of its own",
            )
        when = fields.pop("when", None)
        spec = TaskSpec(**fields, on_failure="on_failure" in hooks, location=location)
        self.tasks[name] = Declared(spec=spec, hooks=dict(hooks), when=when)


class _Wrong(ValueError):
    pass


def _text(value: Value) -> str:
    if isinstance(value, str) and "\0" not in value:
        return value
    raise _Wrong("expected text")


def _name(value: Value) -> str:
    name = _text(value)
    if not name.strip() or any(ord(char) < 32 for char in name):
        raise _Wrong("expected a name: text of at least one character, in one line")
    return name


def _names(value: Value) -> tuple[str, ...]:
    if value == {}:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise _Wrong("expected a name or a list of names")
    return tuple(dict.fromkeys(_name(item) for item in items))


def _seconds(value: Value) -> float:
    try:
        return schema.seconds(value)
    except schema.WrongValue as wrong:
        raise _Wrong(str(wrong)) from None


def _positive(value: Value) -> float:
    seconds = _seconds(value)
    if seconds > 0:
        return seconds
    raise _Wrong("expected more than 0 seconds")


def _count(value: Value) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _Wrong("expected a whole number, 0 or more")


def _boolean(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise _Wrong("expected true, false or a function")


_FIELDS: Mapping[str, Mapping[str, Callable[[Value], Any]]] = {
    "workflow": {"name": _name, "description": _text, "delegate_to": _name},
    "task": {
        "name": _name,
        "description": _text,
        "depends_on": _names,
        "delegate_to": _name,
        "timeout": _positive,
        "retries": _count,
        "retry_delay": _seconds,
        "tags": _names,
        "when": _boolean,
    },
}
_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "workflow": (),
    "task": ("run", "on_success", "on_failure"),
}


def _checked(
    what: str, spec: Mapping[str, Value], hooks: Mapping[str, int], location: Location | None
) -> dict[str, Value]:
    """Returns the fields of a declaration; all problems are reported at once."""
    known, fields, problems = _FIELDS[what], {}, []
    written = (*known, *_FUNCTIONS[what])
    for key, value in spec.items():
        if key not in known:
            problems.append(schema.unknown_name(key, written))
            continue
        try:
            fields[key] = known[key](value)
        except _Wrong as wrong:
            problems.append(f"parameter {key!r}: {wrong}")
    if what == "task" and "run" not in hooks and not fields.get("depends_on") and not problems:
        problems.append("parameter 'run' is required, the function that does the work")
    if problems:
        named = spec.get("name")
        which = f"{what} {named!r}" if isinstance(named, str) else what
        raise WorkflowError(
            f"{which}: {'; '.join(problems)}",
            location=location,
            hint=f"{what} takes: {', '.join(written)}",
        )
    return fields
