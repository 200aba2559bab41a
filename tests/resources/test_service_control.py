"""Restarts and reloads: what is refused before a host is asked, the rest is in the stories."""

import pytest

from actions.bench import action
from sloth_runner.core.errors import ParamError


@pytest.mark.parametrize("function", ["systemd.restart", "systemd.reload"])
@pytest.mark.parametrize("name", ["", "a b", "*", "app@", "/dev/sda"])
def test_what_cannot_be_a_unit_is_refused(function: str, name: str) -> None:
    with pytest.raises(ParamError):
        action(function, name=name)


def test_one_unit_has_one_address() -> None:
    assert action("systemd.restart", name="nginx.service").title == "nginx"
    assert action("systemd.restart", name="nginx") == action(
        "systemd.restart", name="nginx.service"
    )


def test_a_preview_knows_that_it_would_have_succeeded() -> None:
    for function in ("systemd.restart", "systemd.reload"):
        assert action(function, name="nginx").predictable == {"success": True}
    assert action("systemd.daemon_reload").predictable == {"success": True}
