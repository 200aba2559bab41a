"""Rows for tests, complete and with everything that a store must keep."""

from typing import Any

from msgspec import structs

from sloth_runner.core.address import Address
from sloth_runner.core.record import Carry, Holder, Operation, ResourceRow
from sloth_runner.state.ids import new_id

HOSTILE = (
    "plain",
    'it\'s "quoted"; DROP TABLE stacks; --',
    "two\nlines\ttab",
    "\\x41 back\\slash \\",
    "nul\x00byte",
    "not utf-8 \udcff\udc80",
    "ünïcödé ☃ \U0001f9a5",
    "%_*?[a-z]",
    "-rf",
    "../../etc",
)


def a_row(name: str = "/etc/motd", **given: Any) -> ResourceRow:
    """A file that was created, seen and claimed by run 1."""
    row = ResourceRow(
        address=Address("local", "file", name),
        module="file_ops",
        registered=False,
        params={"path": name, "mode": "0644"},
        desired={"mode": "0644", "content": "sha256:12"},
        actual={"mode": "0644", "content": "sha256:12", "size": 12},
        checksum="c" * 64,
        state="applied",
        provenance="created",
        origin={"actual": None, "saved": {name: None}},
        task="main",
        location="deploy.lua:12",
        claimed_run=1,
        run=1,
        last_applied="2026-01-02T03:04:05.000006Z",
    )
    return structs.replace(row, **given)


def a_carry() -> Carry:
    """A change that is still owed."""
    return Carry(
        task="configure",
        run=new_id(),
        attempt=2,
        status="changed",
        diff=({"property": "mode", "old": "0600", "new": "0644"},),
    )


def an_operation(run: str, name: str = "/etc/motd", **given: Any) -> Operation:
    """An intent to change a file."""
    operation = Operation(
        id=new_id(),
        run=run,
        address=Address("local", "file", name),
        kind="change",
        task="main",
        attempt=1,
        ordinal=3,
        registered=False,
        row={"params": {"path": name}},
        previous={"actual": {"mode": "0600"}, "saved": {name: "ab" * 32}},
        diff=({"property": "mode", "old": "0600", "new": "0644"},),
        command=("chmod", "0644", name),
        location="deploy.lua:12",
    )
    return structs.replace(operation, **given)


def a_holder(pid: int = 4242, run: int = 7) -> Holder:
    """Someone who holds a stack."""
    return Holder(
        who="ana@host", pid=pid, since="2026-01-02T03:04:05.000006Z", command="run web", run=run
    )
