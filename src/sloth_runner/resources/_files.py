"""What the types whose thing is a path share: its attributes, its kind, what is saved of it."""

import posixpath
from collections.abc import Hashable, Sequence
from typing import Any

from sloth_runner.core.errors import Refused
from sloth_runner.core.host import FileStat, Host
from sloth_runner.core.values import State

SAMPLES = "/tmp/sloth-sample"  # noqa: S108 - a placeholder that the laws replace
"""The folder below which the paths of samples are."""


SAVED = frozenset({"saved bytes"})
"""Named as sensitive, though no property: it makes what a type ``saves`` be kept encrypted."""
_CONTENT, _NOTHING = frozenset({"content"}), frozenset[str]()


def is_private(mode: str | None) -> bool:
    """Whether a file of this mode may not be read by everyone; False for an unknown mode."""
    return mode is not None and mode[-1] in "0123"


def is_hidden(hide: bool | None, *, private: bool) -> bool:
    """Whether a text is not to be shown or stored: as is said, or else where it is private."""
    return private if hide is None else hide


def hidden_content(hide: bool | None, *modes: str | None) -> frozenset[str]:
    """Returns what is sensitive of a file that has these modes, before or after."""
    return _CONTENT if is_hidden(hide, private=any(map(is_private, modes))) else _NOTHING


def is_number(account: str | None) -> bool:
    """Whether an owner or group is given by its number."""
    return account is not None and account.isdigit()


def attributes_of(stat: FileStat, owner: str | None, group: str | None) -> dict[str, str]:
    """Returns mode, owner and group, the latter as numbers where the wanted ones are."""
    return {
        "mode": stat.mode,
        "owner": str(stat.uid) if is_number(owner) else stat.owner,
        "group": str(stat.gid) if is_number(group) else stat.group,
    }


def numbers(owner: str | None, group: str | None) -> Hashable:
    """Returns what of the wanted accounts an observation depends on."""
    return (is_number(owner), is_number(group))


def set_only(**properties: str | None) -> dict[str, str]:
    """Returns the properties that are set: the others are unmanaged."""
    return {name: value for name, value in properties.items() if value is not None}


def described(stat: FileStat) -> str:
    """Returns what a path is, in words: "a directory", "a link to X"."""
    if stat.kind == "link":
        return f"a link to {stat.target}"
    return {"file": "a file", "directory": "a directory"}.get(stat.kind, "a special file")


def wrong_kind(path: str, found: str, wanted: str, hint: str) -> Refused:
    """Returns the refusal to put ``wanted`` where something of another kind is."""
    return Refused(f"{path} is {found}, not {wanted}", hint=hint)


def restored(actual: State) -> dict[str, Any]:
    """Returns the attributes of an observed state, to be set again."""
    return {name: actual[name] for name in ("mode", "owner", "group") if name in actual}


async def names_in(host: Host, path: str) -> list[str]:
    """Returns what a directory contains, and [] for what is not there."""
    listed: list[str] | None = await host.ask("list", path=path)
    return listed or []


def not_empty(path: str, names: Sequence[str], hint: str) -> Refused:
    """Returns the refusal to remove a directory, naming a few of its entries."""
    few = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return Refused(f"{path} is not empty: it contains {few}{more}", hint=hint)


async def real_path(host: Host, path: str) -> str:
    """Returns where the link at ``path`` leads in the end; ``path`` itself where it is none."""
    for _ in range(40):  # as many as Linux follows, path_resolution(7)
        stat = await host.stat(path)
        if stat is None or stat.target is None:
            return path
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), stat.target))
    return path
