"""Writes the reference pages from what the program itself declares.

``python -m sloth_runner.docs [FOLDER]`` writes them (to ``docs/reference``); ``--check``
writes nothing and fails where a page is not what it would write.
"""

import contextlib
import inspect
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sloth_runner.core import errors, events, forms, schema, values
from sloth_runner.core.errors import SlothError
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Declared, Function, Resource
from sloth_runner.core.values import Value
from sloth_runner.lua.problems import TITLES
from sloth_runner.lua.templates import TemplateFailed
from sloth_runner.views.jsonl import ALWAYS, LONGEST

FOLDER = "docs/reference"
GENERATED = "<!-- Written by `python -m sloth_runner.docs`; edit the declarations instead. -->\n"

EXIT_CODES = (
    (0, "everything is as it should be, or was made so"),
    (1, "something failed, or `state get` found no such key"),
    (2, "wrong input, or a question that nobody could answer; nothing was touched"),
    (3, "there are changes, or drift; only with `--detailed-exitcode`"),
    (4, "hosts cannot be reached, and nothing else is wrong"),
    (5, "another process holds the stack"),
    (6, "the record is damaged, or from a newer version"),
    (7, "the plan no longer matches the machine"),
    (8, "cancelled cleanly: Ctrl-C, SIGTERM, SIGHUP, or a *no* to the plan"),
    (9, "the time of `--timeout` is over"),
    (70, "a mistake of the program itself"),
    (130, "ended at once by a second Ctrl-C"),
    (143, "ended at once by a second SIGTERM"),
)

ENVELOPE = (
    ("`v`", "the version of this format, now 1"),
    ("`seq`", "1, 2, 3 and so on, without gaps"),
    ("`ts`", "the moment, in UTC"),
    ("`run`", "the number of the run, null in a plan"),
    ("`type`", "one of those below"),
)

KINDS = {
    "Resource": "A resource: it has a state that is observed, recorded and compared.",
    "Action": "An action: it is done when the workflow reaches it, and never drifts.",
    "Query": "A query: it only looks, and nothing is recorded.",
}

PLAUSIBLE: Mapping[str, Value] = {
    "text": "sloth",
    "absolute path": "/sloth",
    "whole number": 4200,
    "boolean": True,
    "octal mode": "0600",
    "name or number": "sloth",
    "list of text": ["sloth"],
}
"""A value for each kind of parameter, to see what follows from giving one."""

WORDS = {
    r"tuple\[(\w+), \.\.\.\]": r"array of \1",
    r"dict\[.*\]": "object",
    r"\bstr\b": "text",
    r"\bint\b": "whole number",
    r"\bfloat\b": "number",
    r"\bbool\b": "true or false",
    r"\bNone\b": "null",
    r"\bAny\b": "any value",
    r"\bChangeItem\b": "[change](#a-change)",
}
"""What the fields of events hold, in the words of JSON."""

Functions = Mapping[str, tuple[type[Declared], Function]]


def pages() -> dict[str, str]:
    """Returns every page of the reference by its file name."""
    functions = registry().functions
    modules: dict[str, list[str]] = {}
    for name in sorted(functions):
        module = name.partition(".")[0] if "." in name else "functions"
        modules.setdefault(module, []).append(name)
    found = {f"{module}.md": _module(module, names, functions) for module, names in modules.items()}
    found["commands.md"] = _commands()
    found["events.md"] = _events()
    found["errors.md"] = _errors()
    found["exit-codes.md"] = _exit_codes()
    found["README.md"] = _index(modules, functions)
    return {name: GENERATED + page for name, page in found.items()}


def stale(folder: Path) -> list[str]:
    """Returns the names of pages in ``folder`` that are missing, other or too many."""
    wanted = pages()
    there = {path.name: path.read_text() for path in folder.glob("*.md")}
    return sorted(n for n in {*wanted, *there} if wanted.get(n) != there.get(n))


def write(folder: Path) -> None:
    """Makes ``folder`` hold the pages, and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, page in wanted.items():
        (folder / name).write_text(page)


def main(arguments: Sequence[str]) -> int:
    """Writes or checks the pages; returns the exit code."""
    checking = "--check" in arguments
    [folder] = [a for a in arguments if a != "--check"] or [FOLDER]
    if not checking:
        write(Path(folder))
        return 0
    wrong = stale(Path(folder))
    for name in wrong:
        sys.stderr.write(f"{folder}/{name} is stale; run: python -m sloth_runner.docs\n")
    return 1 if wrong else 0


def _index(modules: Mapping[str, list[str]], functions: Functions) -> str:
    rows = [
        (f"[`{name}`]({module}.md#{_anchor(functions[name][0].type)})", functions[name][1].doc)
        for module, names in modules.items()
        for name in names
    ]
    return (
        "# Reference\n\n"
        "Every page here is written from the declarations in the program. What Lua itself and the "
        "modules `stack`, `state`, `goroutine`, `json` and so on offer is in "
        "[Lua in a workflow](../lua.md).\n\n"
        "- [Commands and options](commands.md)\n"
        "- [Exit codes](exit-codes.md)\n"
        "- [Error codes](errors.md)\n"
        "- [Events](events.md), what `--json` writes\n\n"
        "Every function below also takes `delegate_to`, the host to work on, except those of `io` "
        "and `os`. A call may give its first parameter alone, as text: "
        '`pkg.install("nginx")`.\n\n' + _table(("Function", "What it does"), rows)
    )


def _module(module: str, names: Sequence[str], functions: Functions) -> str:
    rows = [
        (f"[`{name}`](#{_anchor(functions[name][0].type)})", functions[name][1].doc)
        for name in names
    ]
    by_type = sorted(names, key=lambda name: functions[name][0].type)
    groups = itertools.groupby(by_type, key=lambda name: functions[name][0])
    sections = [_type(cls, [(n, functions[n][1]) for n in group]) for cls, group in groups]
    title = "Functions" if module == "functions" else module
    return (
        f"# {title}\n\n" + _table(("Function", "What it does"), rows) + "\n" + "\n".join(sections)
    )


def _type(cls: type[Declared], functions: Sequence[tuple[str, Function]]) -> str:
    kind = next(base.__name__ for base in cls.__mro__ if base.__name__ in KINDS)
    parts = [f"## {cls.type}\n", inspect.getdoc(cls) or "", "", f"*{KINDS[kind]}*", ""]
    if issubclass(cls, Resource):
        parts += _compared(cls)
    for names, table in _parameters(cls, functions):
        title = ", ".join(f"`{name}`" for name in names)
        parts += [f"### {title}\n", table]
    return "\n".join(parts)


def _compared(cls: type[Resource]) -> list[str]:
    """Says which properties a run and a drift check compare, and what is kept for the way back."""
    built = list(_instances(cls))
    desired = {name for resource in built for name in resource.desired() or {}}
    tracked = {name for resource in built for name in resource.tracked} - desired
    lines = [f"Compared with the machine, where given: {_names(desired)}."] if desired else []
    if tracked:
        lines.append(f"A drift check also compares what was reached: {_names(tracked)}.")
    if cls.saves is not Resource.saves:
        lines.append("Before a change, the bytes that were there are kept beside the record.")
    elif cls.revert is not Resource.revert:
        lines.append("Before a change, the properties that were there are kept in the record.")
    return [" ".join(lines), ""] if lines else []


def _instances(cls: type[Resource]) -> Iterator[Resource]:
    """Yields the samples of a type, each also with every further parameter given."""
    for sample in cls.samples:
        yield forms.build(cls, sample, function=cls.type)
        for param in schema.params_of(cls).values():
            if param.name not in sample and param.kind in PLAUSIBLE:
                with contextlib.suppress(SlothError):  # parameters that do not go together
                    more = {**sample, param.name: PLAUSIBLE[param.kind]}
                    yield forms.build(cls, more, function=cls.type)


def _parameters(
    cls: type[Declared], functions: Sequence[tuple[str, Function]]
) -> Iterator[tuple[list[str], str]]:
    """Yields the functions that take the same parameters, each group with its table."""
    grouped: dict[str, list[str]] = {}
    for name, function in functions:
        grouped.setdefault(_parameter_table(cls, function), []).append(name)
    for table, names in grouped.items():
        yield names, table


def _parameter_table(cls: type[Declared], function: Function) -> str:
    params = schema.params_of(cls)
    rows = []
    order, written = list(params), function.form(cls).written.items()
    for name, param in sorted(written, key=lambda item: order.index(item[1].name)):
        kind = param.kind
        if name == function.source:
            kind = "path of a file of the controller, or from the workflow's folder"
        rows.append((f"`{name}`", kind, _default(param), _meaning(param)))
        if name == function.first and function.each:
            meaning = f"Instead of `{name}`: one resource for each."
            rows.append((f"`{function.each}`", f"list of {param.kind}", "", meaning))
    if function.template:
        rows.append(("`vars`", "table", "", "The variables of the template."))
    return (
        _table(("Parameter", "Value", "Default", "Meaning"), rows) if rows else "No parameters.\n"
    )


def _default(param: schema.Param) -> str:
    if param.required:
        return "**required**"
    if param.default is None or param.default == ():
        return ""
    default = list(param.default) if isinstance(param.default, tuple) else param.default
    return f"`{values.encode(default)}`"


def _meaning(param: schema.Param) -> str:
    marks = [" Part of the name."] if param.doc.key else []
    if param.doc.sensitive:
        marks.append(" Sensitive: never shown, and stored sealed only.")
    return param.doc.text + "".join(marks)


def _events() -> str:
    parts = [
        "# Events\n",
        "With `--json`, `run` and `plan` write one JSON object a line to standard output, and the "
        "last one is the `summary`. A field at its default is left out, except in the summary and "
        f"for {_names({*ALWAYS})}. A line that would be longer than {LONGEST // 1024} KiB has its "
        "texts shortened, and `truncated` set. "
        "Durable events are kept in the record, and `stack history` shows them.\n",
        "Every line begins with:\n",
        _table(("Field", "Value"), ENVELOPE),
        "Every event has:\n",
        _fields(events.Event, events.Event),
    ]
    for cls in _below(events.Event):
        tag = cls.__struct_config__.tag
        durable = "Durable." if cls.durable else "Not kept in the record."
        parts += [f"## {tag}\n", f"{inspect.getdoc(cls)} *{durable}*\n", _fields(cls, events.Event)]
    parts += [
        "## A change\n",
        f"{inspect.getdoc(events.ChangeItem)} These are the items of `changes`.\n",
        _fields(events.ChangeItem, None),
        "## Outcomes\n",
        ", ".join(f"`{outcome}`" for outcome in events.OUTCOMES) + ".\n",
    ]
    return "\n".join(parts)


def _fields(cls: Any, base: Any) -> str:
    own = set(cls.__struct_fields__) - (
        set(base.__struct_fields__) if base not in (cls, None) else set()
    )
    rows = [(f"`{name}`", _words(hint)) for name, hint in _annotations(cls).items() if name in own]
    return _table(("Field", "Value"), rows) if rows else ""


def _words(hint: Any) -> str:
    found = re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", inspect.formatannotation(hint))
    for pattern, words in WORDS.items():
        found = re.sub(pattern, words, found)
    return found.replace(" | ", " or ")


def _annotations(cls: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(inspect.get_annotations(base))
    return found


def _errors() -> str:
    rows = sorted(
        (f"`{cls.code}`", cls.title, str(cls.exit_code), f"`{cls.__name__}`")
        for cls in (SlothError, *_below(SlothError), TemplateFailed)
    )
    told = {cls.code for cls in _below(SlothError)}
    found = [(f"`{code}`", title) for code, title in TITLES.items() if code not in told]
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2].rpartition("\n\n")[0]
    return (
        "# Error codes\n\n"
        "A code and its title never change and never hold data; what happened, with its values, "
        "stands below the title.\n\n"
        + _table(("Code", "Title", "Exit code", "Class"), rows)
        + f"\n```text\n{tree}\n```\n\n"
        "## What only `validate` finds\n\n"
        "Of the codes above, it also reports `SR1001`, `SR1203` and `SR1300`. Those that begin "
        "with `SR14` are warnings, which leave the exit code at 0; any other makes it 2.\n\n"
        + _table(("Code", "Title"), found)
    )


def _exit_codes() -> str:
    rows = [(str(code), meaning) for code, meaning in EXIT_CODES]
    return "# Exit codes\n\nThey do not change.\n\n" + _table(("Code", "Meaning"), rows)


def _commands() -> str:
    from sloth_runner.cli.app import ROOT

    parts = ["# Commands and options\n", "Global options stand before or after the command.\n"]
    return "\n".join([*parts, *_command(ROOT, ("sloth-runner",))])


def _command(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    context = command.context_class(command, info_name=" ".join(path))
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    yield f"{'#' * min(4, len(path) + 1)} {' '.join(path)}\n"
    yield f"```text\n{usage}\n```\n"
    yield inspect.cleandoc(command.help or "").replace("\b\n", "") + "\n"
    options = [
        p.get_help_record(context) for p in command.params if not getattr(p, "hidden", False)
    ]
    rows = [(f"`{names}`", text) for names, text in filter(None, options)]
    if rows:
        yield _table(("Option", "Meaning"), rows)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, name)
        if not child.hidden:
            yield from _command(child, (*path, name))


def _below(cls: type[Any]) -> Iterator[Any]:
    """Yields the subclasses at any depth that the same module defines, in order."""
    for child in cls.__subclasses__():
        if child.__module__ == cls.__module__:
            yield child
            yield from _below(child)


def _names(found: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(found))


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", heading.lower().replace(" ", "-"))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |\n"
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
