"""``state.*``: keys and values that last, shared by all stacks or of one stack alone."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from sloth_runner.core.address import escaped
from sloth_runner.core.errors import ParamError, UsageError
from sloth_runner.core.events import Event
from sloth_runner.core.schema import shown_value
from sloth_runner.core.values import Value
from sloth_runner.engine.context import Caller
from sloth_runner.engine.overlay import Overlay
from sloth_runner.engine.program import Answer
from sloth_runner.engine.recorder import Recorder
from sloth_runner.engine.writes import ABSENT, KEY, STACK_KEY, Writes, same
from sloth_runner.state.store import Store

Change = Callable[[Value], tuple[Value, Value]]
"""Takes what a key holds; returns what it is to hold, and the answer. ABSENT: nothing."""

SHARED = ""
"""The keyspace of the database; a stack's own is named by the stack's id."""

UNBORN = "unborn"
"""The keyspace of a stack that is not recorded yet, in its first preview: nothing is there."""

_WHOLE = re.compile(r"-?[0-9]{1,15}")


class StateCalls:
    """The key-value calls of a program. In a preview, writes go to the overlay."""

    def __init__(self, recorder: Recorder, writes: Writes, overlay: Overlay) -> None:
        self._recorder = recorder
        self._writes = writes
        self._overlay = overlay
        self._stack_id = recorder.stack.id or UNBORN

    def functions(self) -> dict[str, Any]:
        """Returns the calls by name, for both keyspaces."""
        calls = {
            "set": self._set,
            "get": self._get,
            "delete": self._delete,
            "keys": self._keys,
            "increment": self._increment,
            "compare_swap": self._compare_swap,
        }
        return {
            f"{prefix}.{name}": _in_scope(scope, call)
            for prefix, scope in (("state", SHARED), ("stack.state", self._stack_id))
            for name, call in calls.items()
        }

    async def _set(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        new = _argument(arguments, 1)
        return await self._change(scope, caller, arguments, lambda _: (_kept(new), True))

    async def _get(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        value = await self._value(scope, _key(caller, arguments))
        return Answer(value=_argument(arguments, 1) if value is ABSENT else value)

    async def _delete(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        return await self._change(scope, caller, arguments, lambda old: (ABSENT, old is not ABSENT))

    async def _keys(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        prefix = str(_argument(arguments, 0) or "")
        listed = await self._recorder.journal.read(lambda store: store.kv_list(scope, prefix))
        keys = {key for key, *_ in listed}
        for (where, key), value in self._overlay.keys.items():
            if where == scope and key.startswith(prefix):
                (keys.discard if value is ABSENT else keys.add)(key)
        return Answer(value=sorted(keys))

    async def _increment(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        key, by = _key(caller, arguments), _argument(arguments, 1)
        step = 1 if by is None else by
        if not isinstance(step, int) or isinstance(step, bool):
            raise ParamError(
                f"{caller.function}: the step is a whole number, not {shown_value(by)}"
            )

        def change(old: Value) -> tuple[Value, Value]:
            total = incremented(key, old, step)
            return total, total

        return await self._change(scope, caller, arguments, change)

    async def _compare_swap(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        expected, new = _kept(_argument(arguments, 1)), _kept(_argument(arguments, 2))

        def change(old: Value) -> tuple[Value, Value]:
            found = same(_kept(None if old is ABSENT else old), expected)
            return (new, True) if found else (old, False)

        return await self._change(scope, caller, arguments, change)

    async def _change(
        self, scope: str, caller: Caller, arguments: Sequence[Value], change: Change
    ) -> Answer:
        """Changes what a key holds, in one step that no other run comes between."""
        key, kind = _key(caller, arguments), KEY if scope == SHARED else STACK_KEY
        if self._writes.preview is not None:
            old = await self._value(scope, key)
            new, answer = change(old)
            if not _same(key, old, new):
                self._overlay.keys[(scope, key)] = new
                self._writes.note(kind, key, caller, old, new)
            return Answer(value=answer)

        def write(store: Store) -> tuple[tuple[Value, Value, Value], Sequence[Event]]:
            old = _stored(store, scope, key)
            new, answer = change(old)
            if _same(key, old, new):
                return (answer, old, new), ()
            if new is ABSENT:
                store.kv_delete(scope, key)
            else:
                store.kv_set(scope, key, new)
            return (answer, old, new), (self._writes.event(kind, key, caller, old, new),)

        (answer, old, new), told = await self._recorder.write_and_tell(write)
        if told:
            self._writes.note(kind, key, caller, old, new)
        return Answer(value=answer)

    async def _value(self, scope: str, key: str) -> Value:
        if (scope, key) in self._overlay.keys:
            return self._overlay.keys[(scope, key)]
        return await self._recorder.journal.read(lambda store: _stored(store, scope, key))


def incremented(key: str, value: Value, by: int) -> int:
    """Returns what a key holds after ``by`` was added; no value counts as 0.

    The digits of a whole number are one, since that is how the command line writes them.
    Raises UsageError for anything else.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if value is ABSENT or value is None:
        return by
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(
            f'the value of "{escaped(key)}" is no whole number, so it cannot be incremented',
            hint="set it to a number first, or choose another key",
        )
    return value + by


def _kept(value: Value) -> Value:
    """Returns what a key holds that is set to ``value``: nothing, for nil."""
    return ABSENT if value is None else value


def _same(key: str, old: Value, new: Value) -> bool:
    """Whether a key stays as it is; raises UsageError for what it cannot hold."""
    try:
        return same(new, new) and same(old, new)
    except (ValueError, RecursionError) as error:
        raise UsageError(f'the value of "{escaped(key)}" cannot be kept: {error}') from error


def _stored(store: Store, scope: str, key: str) -> Value:
    try:
        return store.kv_get(scope, key)
    except LookupError:
        return ABSENT


def _in_scope(scope: str, call: Callable[..., Any]) -> Callable[..., Any]:
    async def bound(caller: Caller, _host: str, arguments: Sequence[Value]) -> Answer:
        answer: Answer = await call(scope, caller, arguments)
        return answer

    return bound


def _key(caller: Caller, arguments: Sequence[Value]) -> str:
    key = _argument(arguments, 0)
    if not isinstance(key, str) or not key:
        raise ParamError(
            f"{caller.function}: the key is a text that is not empty, not {shown_value(key)}",
            location=caller.location,
        )
    return key


def _argument(arguments: Sequence[Value], index: int) -> Value:
    return arguments[index] if len(arguments) > index else None
