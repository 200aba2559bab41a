"""The hosts that the conformance suite runs on."""

from collections.abc import Iterator

import pytest

from sloth_runner.core.host import Host
from sloth_runner.hosts.local import LocalHost


@pytest.fixture(params=["local"])
def host() -> Iterator[Host]:
    """A host of each kind, whose files the test can also see directly."""
    local = LocalHost()
    yield local
    local.close()
