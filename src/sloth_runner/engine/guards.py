"""When an action need not run, and what its call answers then."""

from sloth_runner.core.address import Address
from sloth_runner.core.host import Host
from sloth_runner.core.plugins import answer_of
from sloth_runner.core.resource import Action
from sloth_runner.engine.program import Answer


async def why_not(host: Host, action: Action) -> str | None:
    """Returns why ``action`` need not run now, or None."""
    guard = action.guard
    if guard.creates and await host.stat(guard.creates, follow=True) is not None:
        return f"{guard.creates} exists"
    return await answer_of(type(action), action.guarded(host))


def skipped(address: Address, reason: str) -> Answer:
    """Returns what the call of an action answers that was not run."""
    return Answer(
        value={
            "changed": False,
            "status": "skipped",
            "success": True,
            "reason": reason,
            "stdout": "",
            "stderr": "",
            "exit_code": 0,
            "address": str(address),
        },
        text="",
        skipped=True,
    )
