"""A place to try an action on this machine: what the engine does with one, spelled out."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sloth_runner.core import forms
from sloth_runner.core.registry import registry
from sloth_runner.core.resource import Action
from sloth_runner.core.values import Value
from sloth_runner.hosts.local import LocalHost


def action(function: str, **given: Value) -> Any:
    """Returns the action that a call of a Lua function with these parameters makes."""
    cls, how = registry().functions[function]
    return forms.build(
        cls,
        given,
        function=function,
        preset=how.preset,
        rename=how.rename,
        accepts=how.accepts,
    )


def do(made: Action) -> Mapping[str, Value]:
    """Does it, whatever its guard says."""
    return _with_host(lambda host: made.run(host))


def guarded(made: Action) -> str | None:
    """Returns why it need not be done now."""
    reason: str | None = _with_host(lambda host: made.guarded(host))
    return reason


def _with_host(use: Any) -> Any:
    host = LocalHost()
    try:
        return asyncio.run(use(host))
    finally:
        host.close()
