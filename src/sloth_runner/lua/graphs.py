"""Checks ``workflow`` and ``task`` calls: their keys, their values and the graph they draw."""

import graphlib
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from sloth_runner.core import schema
from sloth_runner.core.errors import Location
from sloth_runner.core.values import Value
from sloth_runner.engine import graph as engine_graph
from sloth_runner.engine.program import TaskSpec
from sloth_runner.lua.problems import meant
from sloth_runner.lua.scopes import Names, names_of
from sloth_runner.lua.syntax import UNKNOWN, Node, Source, argument_nodes, entries, literal

Report = Callable[..., None]
MAIN = "main"
"""The name of the file's body, which no task may have."""


def _is_text(value: Value) -> str | None:
    return None if isinstance(value, str) else "expected text"


def _is_name(value: Value) -> str | None:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return None
    return "expected a name: text of at least one character, in one line"


def _are_names(value: Value) -> str | None:
    items = [value] if isinstance(value, str) else value
    if items == {} or (isinstance(items, list) and not any(map(_is_name, items))):
        return None
    return "expected a name or a list of names"


def _is_duration(value: Value) -> str | None:
    try:
        schema.seconds(value)
    except schema.WrongValue as wrong:
        return str(wrong)
    return None


def _is_count(value: Value) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return None
    return "expected a whole number, 0 or more"


def _is_function(_: Value) -> str | None:
    return "expected a function"


def _anything(_: Value) -> str | None:
    return None


KEYS: Mapping[str, Mapping[str, Callable[[Value], str | None]]] = {
    "workflow": {"name": _is_name, "description": _is_text, "delegate_to": _is_name},
    "task": {
        "name": _is_name,
        "description": _is_text,
        "run": _is_function,
        "depends_on": _are_names,
        "delegate_to": _is_name,
        "timeout": _is_duration,
        "retries": _is_count,
        "retry_delay": _is_duration,
        "tags": _are_names,
        "when": _anything,
        "on_success": _is_function,
        "on_failure": _is_function,
    },
}
"""The keys of the two calls, each with what says why a literal value is wrong."""


class Graph(Struct):
    """The tasks that are written out; ``open`` when there may be more than those.

    ``needs`` are who, what and where; those of tasks that may not be declared are ``doubtful``.
    """

    tasks: dict[str, Node] = field(default_factory=dict)
    needs: list[tuple[str, str, Node]] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    open: bool = False


def refuse_broken(data: bytes, file: str) -> None:
    """Raises WorkflowError for a graph that can certainly not be run, before anything is."""
    drawn = _drawn(names_of(Source(data).root), _unsaid)
    needs: dict[str, tuple[str, ...]] = {}
    for name, needed, _ in drawn.needs:
        if name not in drawn.doubtful:
            needs[name] = (*needs.get(name, ()), needed)
    tasks = [
        TaskSpec(
            name=name,
            depends_on=needs.get(name, ()),
            location=Location(file, node.start_point[0] + 1),
        )
        for name, node in drawn.tasks.items()
    ]
    engine_graph.Graph(engine_graph.closed(tasks) if drawn.open else tasks)


def check_declarations(names: Names, report: Report) -> None:
    """Reports what is certainly wrong with the declarations of a file."""
    _check_graph(_drawn(names, report), report)


def _unsaid(*_: object) -> None:
    pass


def _drawn(names: Names, report: Report) -> Graph:
    """Returns the graph that a file draws, and reports what is wrong in the calls themselves."""
    declaring = [use for use in names.uses if use.name in KEYS]
    own = {use.name for use in declaring if use.name in names.written}
    graph, workflows = Graph(open=names.outside or bool(own)), 0
    for use in declaring:
        if use.name in own:
            continue
        if use.call is None:
            graph.open |= use.name == "task"
            continue
        arguments = argument_nodes(use.call)
        if not arguments or arguments[0].type != "table_constructor":
            graph.open |= use.name == "task"
            if arguments and literal(arguments[0]) is not UNKNOWN:
                message = f"{use.name} takes a table"
                report(arguments[0], "SR1204", message, f'{use.name}({{ name = "..." }})')
            continue
        if use.name == "task":
            _task(arguments[0], graph, report)
        else:
            workflows += 1
            _keys(arguments[0], "workflow", report)
            if workflows == 2 and not _is_doubtful(use.node):
                report(use.node, "SR1300", "a file declares one workflow", "")
    return graph


PERHAPS = frozenset(
    "function_definition function_declaration if_statement for_statement while_statement".split()  # noqa: SIM905
)
"""What may run its body never."""


def _is_doubtful(node: Node) -> bool:
    """Whether what stands at ``node`` may never run."""
    parent = node.parent
    while parent is not None:
        if parent.type in PERHAPS:
            return True
        parent = parent.parent
    return False


def _keys(table: Node, what: str, report: Report) -> tuple[dict[str, Node], bool]:
    """Reports wrong keys and values; returns the values by key, and whether these are all."""
    known, found, complete = KEYS[what], {}, True
    for entry in entries(table):
        if not isinstance(entry.key, str):
            complete = False
            continue
        found[entry.key] = entry.value
        if entry.key not in known:
            complete = False
            message = f'{what} has no parameter "{entry.key}"{meant(entry.key, known)}'
            report(entry.key_node, "SR1203", message, f"{what} takes: {', '.join(known)}")
            continue
        value = literal(entry.value)
        if value is UNKNOWN or value is None:
            continue
        wrong = known[entry.key](value)
        if wrong:
            report(entry.value, "SR1204", f'"{entry.key}": {wrong}', "")
    return found, complete


def _task(table: Node, graph: Graph, report: Report) -> None:
    found, complete = _keys(table, "task", report)
    if complete and "name" not in found:
        report(table, "SR1205", "a task needs a name", 'task({ name = "...", run = function() })')
    if complete and "run" not in found and "depends_on" not in found:
        report(table, "SR1205", 'a task needs "run", the function that does the work', "")
    name = literal(found["name"]) if "name" in found else UNKNOWN
    if not isinstance(name, str):
        graph.open = True
        return
    if name == MAIN:
        report(found["name"], "SR1300", f'no task can be called "{MAIN}": that is the body', "")
    elif name in graph.tasks and not _is_doubtful(table):
        line = graph.tasks[name].start_point[0] + 1
        report(found["name"], "SR1300", f'task "{name}" is declared in line {line} already', "")
    graph.tasks.setdefault(name, found["name"])
    if _is_doubtful(table):
        graph.doubtful.add(name)
    if "depends_on" in found:
        _needs(name, found["depends_on"], graph)


def _needs(name: str, node: Node, graph: Graph) -> None:
    nodes = [node]
    if node.type == "table_constructor":
        nodes = [entry.value for entry in entries(node) if entry.key is None]
    for one in nodes:
        needed = literal(one)
        if isinstance(needed, str):
            graph.needs.append((name, needed, one))


def _check_graph(graph: Graph, report: Report) -> None:
    edges: dict[str, set[str]] = {}
    for name, needed, node in graph.needs:
        if needed in graph.tasks and name not in graph.doubtful:
            edges.setdefault(name, set()).add(needed)
        elif needed not in graph.tasks and not graph.open:
            message = f'task "{name}" depends on "{needed}", which is not a task'
            report(node, "SR1300", f"{message}{meant(needed, graph.tasks)}", "")
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as cycle:
        names: Sequence[str] = list(reversed(cycle.args[1]))
        first = min(names[:-1], key=lambda name: graph.tasks[name].start_point)
        at = names.index(first)
        circle = [*names[at:-1], *names[:at], first]
        report(graph.tasks[first], "SR1310", f"{' → '.join(circle)}", "")
