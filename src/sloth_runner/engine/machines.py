"""The hosts of one run: by name, connected once, with what is known of their files."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from sloth_runner.core.address import LOCAL
from sloth_runner.core.errors import UsageError
from sloth_runner.core.host import Host
from sloth_runner.core.record import Digest
from sloth_runner.hosts.local import LocalHost


def check_hosts(names: Iterable[str], inventory: str | None, folder: str) -> None:
    """Raises UsageError for a name that is nowhere described, saying where was looked.

    ``inventory`` is the file that was given, ``folder`` the workflow's.
    """
    if inventory is not None and not Path(inventory).is_file():
        raise UsageError(f"there is no inventory {inventory}")
    for name in names:
        if name != LOCAL:
            raise UsageError(
                f"host {name!r} is not known",
                hint=f'this version manages the machine it runs on, "{LOCAL}"; other hosts would '
                f"be looked for in {inventory or f'{folder}/hosts.yaml'} and in your OpenSSH "
                "configuration",
            )


class Machines:
    """Gives the host of a name; the controller is the machine that this program runs on."""

    def __init__(
        self,
        digests: Mapping[str, Digest],
        *,
        rehash: bool = False,
        inventory: str | None = None,
        workflow_folder: str = "",
    ) -> None:
        self.controller = LocalHost(known=digests, rehash=rehash)
        self._inventory = inventory
        self._folder = workflow_folder
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    def host(self, name: str) -> Host:
        """Returns the host called ``name``.

        Raises UsageError for one that is nowhere described, saying where was looked.
        """
        check_hosts((name,), self._inventory, self._folder)
        return self.controller

    def lock(self, host: str, name: str) -> asyncio.Lock:
        """Returns the lock that keeps operations named ``name`` of a host apart."""
        return self._locks.setdefault((host, name), asyncio.Lock())

    def new_digests(self) -> dict[str, Digest]:
        """Returns the hashes of controller files that were computed in this run."""
        return self.controller.new_digests()

    def close(self) -> None:
        """Ends the hosts' threads."""
        self.controller.close()
