"""The hosts of one run: by name, connected once, with what is known of their files."""

import asyncio
from collections.abc import Mapping

from sloth_runner.core.address import LOCAL
from sloth_runner.core.errors import UsageError
from sloth_runner.core.host import Host
from sloth_runner.core.record import Digest
from sloth_runner.hosts.local import LocalHost


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
        if name == LOCAL:
            return self.controller
        looked = [self._inventory] if self._inventory else [f"{self._folder}/hosts.yaml"]
        raise UsageError(
            f"host {name!r} is not known",
            hint=(
                f'this version manages the machine it runs on, "{LOCAL}"; other hosts would be '
                f"looked for in {looked[0]} and in your OpenSSH configuration"
            ),
        )

    def lock(self, host: str, name: str) -> asyncio.Lock:
        """Returns the lock that keeps operations named ``name`` of a host apart."""
        return self._locks.setdefault((host, name), asyncio.Lock())

    def new_digests(self) -> dict[str, Digest]:
        """Returns the hashes of controller files that were computed in this run."""
        return self.controller.new_digests()

    def close(self) -> None:
        """Ends the hosts' threads."""
        self.controller.close()
