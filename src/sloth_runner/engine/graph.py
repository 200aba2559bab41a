"""The workflow's graph: checked before anything runs, walked while it does."""

import graphlib
from collections.abc import Mapping, Sequence

from sloth_runner.core.errors import UsageError, WorkflowError
from sloth_runner.core.schema import meant
from sloth_runner.engine.program import MAIN, TaskSpec


class Graph:
    """The tasks of a workflow by name, with who depends on whom.

    Every task depends on ``main`` as well: the declared ones start when the body of the
    file has succeeded.
    """

    def __init__(self, tasks: Sequence[TaskSpec]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self._check()
        order = graphlib.TopologicalSorter({t.name: t.depends_on for t in tasks})
        place = {name: index for index, name in enumerate(self.tasks)}
        self.order = _stable(order, place)

    def _check(self) -> None:
        for task in self.tasks.values():
            for name in task.depends_on:
                if name not in self.tasks:
                    raise WorkflowError(
                        f"task {task.name!r} depends on {name!r}, which is not a task"
                        f"{meant(name, self.tasks)}",
                        location=task.location,
                    )
        try:
            graphlib.TopologicalSorter(
                {t.name: t.depends_on for t in self.tasks.values()}
            ).prepare()
        except graphlib.CycleError as cycle:
            names = list(reversed(cycle.args[1]))
            lines = [self.tasks[name].location for name in names[:-1]]
            raise WorkflowError(
                f"the tasks depend on each other in a circle: {' → '.join(names)}",
                location=lines[0],
                facts={"declared at": [str(line) for line in lines if line]},
            ) from None

    def selected(
        self, names: Sequence[str], tags: Sequence[str], *, partial: bool = False
    ) -> set[str]:
        """Returns the tasks that were asked for and all that they need; without a wish, all.

        Raises UsageError for a name or tag that no task has, unless the graph is only a
        ``partial`` one.
        """
        if not names and not tags:
            return set(self.tasks)
        for name in names:
            if name not in self.tasks and name != MAIN and not partial:
                raise UsageError(f"--task: there is no task {name!r}{meant(name, self.tasks)}")
        known = {tag for task in self.tasks.values() for tag in task.tags}
        for tag in tags:
            if tag not in known and not partial:
                raise UsageError(f"--tags: no task has the tag {tag!r}{meant(tag, known)}")
        waiting = [n for n in names if n in self.tasks]
        waiting += [t.name for t in self.tasks.values() if set(t.tags) & set(tags)]
        chosen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in chosen:
                chosen.add(name)
                waiting += self.tasks[name].depends_on
        return chosen

    def dependents(self, name: str) -> set[str]:
        """Returns the tasks that depend on ``name``, at any depth."""
        if name == MAIN:
            return set(self.tasks)
        found: set[str] = set()
        for task in self.order:
            if name in self.tasks[task].depends_on or found & set(self.tasks[task].depends_on):
                found.add(task)
        return found


def closed(tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    """Returns the tasks of which everything that they need, at any depth, is among ``tasks``."""
    kept = list(tasks)
    while True:
        names = {task.name for task in kept}
        whole = [task for task in kept if names.issuperset(task.depends_on)]
        if len(whole) == len(kept):
            return whole
        kept = whole


def _stable(sorter: "graphlib.TopologicalSorter[str]", place: Mapping[str, int]) -> list[str]:
    """Returns a topological order in which equals keep the order of the file."""
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return order
