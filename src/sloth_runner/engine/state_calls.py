"""``state.*``: keys and values that last, shared by all stacks or of one stack alone."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sloth_runner.core.errors import ParamError
from sloth_runner.core.schema import shown_value
from sloth_runner.core.values import Value
from sloth_runner.engine.context import Caller
from sloth_runner.engine.overlay import MISSING, Overlay
from sloth_runner.engine.program import Answer
from sloth_runner.state.journal import Journal
from sloth_runner.state.store import Store
from sloth_runner.state.value_tables import incremented

T = TypeVar("T")

WRITES = frozenset(
    f"{prefix}.{name}"
    for prefix in ("state", "stack.state")
    for name in ("set", "delete", "increment", "compare_swap")
)
"""The calls after which keys may be other than before."""

SHARED = ""
"""The keyspace of the database; a stack's own is named by the stack's id."""

UNBORN = "unborn"
"""The keyspace of a stack that is not recorded yet, in its first preview: nothing is there."""


class StateCalls:
    """The key-value calls of a program. In a preview, writes go to the overlay."""

    def __init__(self, journal: Journal, stack_id: str, preview: Overlay | None) -> None:
        self._journal = journal
        self._stack_id = stack_id or UNBORN
        self._preview = preview

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
        key, value = _key(caller, arguments), _argument(arguments, 1)
        await self._put(scope, key, value)
        return Answer(value=True)

    async def _get(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        value = await self._value(scope, _key(caller, arguments))
        return Answer(value=_argument(arguments, 1) if value is MISSING else value)

    async def _delete(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        key = _key(caller, arguments)
        if self._preview is not None:
            there = await self._value(scope, key) is not MISSING
            self._preview.kv[(scope, key)] = MISSING
            return Answer(value=there)
        return Answer(value=await self._journal.do(lambda store: store.kv_delete(scope, key)))

    async def _keys(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        prefix = str(_argument(arguments, 0) or "")
        listed = await self._journal.read(lambda store: store.kv_list(scope, prefix))
        keys = {key for key, *_ in listed}
        if self._preview is not None:
            for (where, key), value in self._preview.kv.items():
                if where == scope and key.startswith(prefix):
                    (keys.discard if value is MISSING else keys.add)(key)
        return Answer(value=sorted(keys))

    async def _increment(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        key, by = _key(caller, arguments), _argument(arguments, 1)
        by = 1 if by is None else by
        if not isinstance(by, int) or isinstance(by, bool):
            raise ParamError(
                f"{caller.function}: the step is a whole number, not {shown_value(by)}"
            )
        if self._preview is None:
            return Answer(
                value=await self._journal.do(lambda store: store.kv_increment(scope, key, by))
            )
        old = await self._value(scope, key)
        total = incremented(key, None if old is MISSING else old, by)
        self._preview.kv[(scope, key)] = total
        return Answer(value=total)

    async def _compare_swap(self, scope: str, caller: Caller, arguments: Sequence[Value]) -> Answer:
        key = _key(caller, arguments)
        expected, new = _argument(arguments, 1), _argument(arguments, 2)
        if self._preview is None:
            return Answer(
                value=await self._journal.do(
                    lambda store: store.kv_compare_swap(scope, key, expected, new)
                )
            )
        old = await self._value(scope, key)
        if (None if old is MISSING else old) != expected:
            return Answer(value=False)
        await self._put(scope, key, new)
        return Answer(value=True)

    async def _put(self, scope: str, key: str, value: Value) -> None:
        if self._preview is not None:
            self._preview.kv[(scope, key)] = MISSING if value is None else value
        elif value is None:
            await self._journal.do(lambda store: store.kv_delete(scope, key))
        else:
            await self._journal.do(lambda store: store.kv_set(scope, key, value))

    async def _value(self, scope: str, key: str) -> Value:
        if self._preview is not None and (scope, key) in self._preview.kv:
            return self._preview.kv[(scope, key)]
        return await self._journal.read(lambda store: _stored(store, scope, key))


def _stored(store: Store, scope: str, key: str) -> Value:
    try:
        return store.kv_get(scope, key)
    except LookupError:
        return MISSING


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
