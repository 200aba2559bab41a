"""kill -9 from inside, at one exact step: armed in the process of the command itself."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sloth_runner.core.host import LOOKING, Command, CommandResult, Request
from sloth_runner.hosts.local import LocalHost
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.journal import Journal


def arm(*, at: str, step: int, by: int = signal.SIGKILL) -> None:
    """Kills the process at the given step: around commits, or around changes of the machine.

    A commit has a step before it only where the machine was changed since the last one:
    before any other, nothing is different from after that. Further steps are after contents
    were "saved", and after an "unlink". ``by`` may be another signal: SIGSTOP, say.
    """
    left = [step]
    acted = [True]

    def burn() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), by)

    commit, perform, run = Journal._batch, LocalHost.perform, LocalHost.run
    publish, unlink = Blobs._publish, Path.unlink

    def batch(self: Journal, connection: Any, jobs: Any) -> Any:
        counts = at == "commit" and any(job.writes for job in jobs)
        if counts and acted[0]:
            burn()
        acted[0] = acted[0] and not counts
        answers = commit(self, connection, jobs)
        if counts:
            burn()
        return answers

    async def performed(self: LocalHost, requests: Sequence[Request]) -> list[Any]:
        acts = any(request.verb not in LOOKING for request in requests)
        acted[0] = acted[0] or acts
        if at == "write" and acts:
            burn()
        answers = await perform(self, requests)
        if at == "write" and acts:
            burn()
        return answers

    async def started(self: LocalHost, command: Command, **watched: Any) -> CommandResult:
        acts = watched.get("on_started") is not None
        acted[0] = acted[0] or acts
        if at == "write" and acts:
            burn()
        result = await run(self, command, **watched)
        if at == "write" and acts:
            burn()
        return result

    def published(self: Blobs, ready: list[tuple[str, str]]) -> None:
        publish(self, ready)
        if at == "saved":
            burn()

    def unlinked(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        if at == "unlink":
            burn()

    Blobs._publish = published  # type: ignore[method-assign]
    Path.unlink = unlinked  # type: ignore[method-assign]
    Journal._batch = batch  # type: ignore[method-assign]
    LocalHost.perform = performed  # type: ignore[method-assign]
    LocalHost.run = started  # type: ignore[assignment]
