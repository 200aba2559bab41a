"""What apt prints is understood: its answers here are literal, from apt 2.6."""

import pytest

from sloth_runner.core.errors import InUse, TaskError
from sloth_runner.core.host import CommandResult
from sloth_runner.resources import _apt

POLICY = """\
nginx:
  Installed: (none)
  Candidate: 1.22.1-9+deb12u2
  Version table:
     1.22.1-9+deb12u2 500
        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
     1.22.1-9 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
sloth-pin:
  Installed: 1.1-1
  Candidate: 1.0-1
  Package pin: 1.0-1
  Version table:
     1:2.0-1 -10
        500 file:/opt/repo ./ Packages
 *** 1.1-1 1001
        100 /var/lib/dpkg/status
     1.0-1 1001 (phased 20%)
        500 file:/opt/repo ./ Packages
awk:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


def ended(stderr: str = "", stdout: str = "", exit_code: int = 100) -> CommandResult:
    return CommandResult(("apt-get", "install"), exit_code, stdout, stderr, 0.1)


def test_versions_are_those_that_an_archive_has_newest_first() -> None:
    policies = _apt.parse_policy(POLICY)
    assert policies["nginx"] == _apt.Policy("1.22.1-9+deb12u2", ("1.22.1-9+deb12u2", "1.22.1-9"))
    assert policies["sloth-pin"] == _apt.Policy("1.0-1", ("1:2.0-1", "1.0-1"))
    assert policies["awk"] == _apt.Policy(None, ())
    assert "nosuch" not in policies


def test_the_candidate_wins_over_a_newer_version_that_matches_too() -> None:
    policy = _apt.Policy("1.1-1", ("1:2.0-1", "1.2-1", "1.1-1", "1.0-1"))
    assert policy.choose("1.*") == "1.1-1"
    assert policy.choose("1.2") == "1.2-1"
    assert policy.choose("2.0") == "1:2.0-1"
    assert policy.choose("1.0-1") == "1.0-1"
    assert policy.choose("3.*") is None


def test_what_a_simulation_would_do_is_read_off_its_lines() -> None:
    simulation = _apt.parse_simulation(
        "Reading package lists...\n"
        "Remv hello [2.10-3+sloth1]\n"
        "Purg old [1.0]\n"
        "Inst sloth-conflict (1.0-1 localhost [all])\n"
        "Inst libc6:i386 [2.36-9] (2.36-10 Debian:12/stable [i386]) []\n"
        "Inst down [2.0-1] (1.0-1 localhost [all])\n"
        "Conf sloth-conflict (1.0-1 localhost [all])\n"
    )
    assert simulation.removes == ("hello", "old")
    assert simulation.installs == {
        "sloth-conflict": (None, "1.0-1"),
        "libc6:i386": ("2.36-9", "2.36-10"),
        "down": ("2.0-1", "1.0-1"),
    }
    assert simulation.removed_beside(["old"]) == ["hello"]
    assert simulation.removed_beside(["old:amd64", "hello"]) == []
    assert simulation.downgraded_beside(["sloth-conflict"]) == ["down"]
    assert simulation.downgraded_beside(["down"]) == []


@pytest.mark.parametrize(
    ("stderr", "holder"),
    [
        (
            "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 42 (apt)\n"
            "E: Unable to lock directory /var/cache/apt/archives/\n",
            "by process 42 (apt)",
        ),
        (
            "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), "
            "is another process using it?\n",
            "",
        ),
        ("dpkg: error: dpkg frontend lock was locked by another process with pid 7\n", "process 7"),
        (
            "E: Could not get lock /var/lib/dpkg/lock - open (11: Resource temporarily "
            "unavailable)\n",
            "",
        ),
        ("E: Could not get lock /var/lib/dpkg/lock. It is held by process 0\n", "is locked"),
    ],
)
def test_a_lock_is_told_from_other_failures_and_its_holder_named(stderr: str, holder: str) -> None:
    result = ended(stderr)
    assert _apt.is_locked(result)
    error = _apt.explain(result, host="web1")
    assert isinstance(error, InUse)
    assert holder in error.detail
    assert "process 0" not in error.detail


def test_missing_rights_are_not_taken_for_a_lock() -> None:
    result = ended(
        "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n"
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), "
        "are you root?\n"
    )
    assert not _apt.is_locked(result)
    assert "root" in _apt.explain(result, host="local").detail


@pytest.mark.parametrize(
    ("stdout", "stderr", "says"),
    [
        (
            "The following held packages will be changed:\n  sloth-pin nginx\n"
            "The following packages will be upgraded:\n  sloth-pin\n",
            "E: Held packages were changed and -y was used without --allow-change-held-packages.\n",
            "on hold: sloth-pin, nginx",
        ),
        (
            "WARNING: The following essential packages will be removed.\n"
            "This should NOT be done unless you know exactly what you are doing!\n"
            "  coreutils grep\n"
            "0 upgraded, 0 newly installed, 2 to remove and 2 not upgraded.\n",
            "E: Essential packages were removed and -y was used without "
            "--allow-remove-essential.\n",
            "cannot do without: coreutils, grep",
        ),
        (
            "The following packages will be REMOVED:\n  hello other*\n"
            "The following NEW packages will be installed:\n  sloth-conflict\n",
            "E: Packages need to be removed but remove is disabled.\n",
            "remove other packages: hello, other",
        ),
        ("", "E: Unable to locate package nosuch\n", "no package named nosuch"),
        (
            "The following packages have unmet dependencies:\n"
            " sloth-conflict : Conflicts: hello but 2.10-3+sloth1 is to be installed\n"
            " grep : Depends: dpkg (>= 1.15.4) but it is not going to be installed or\n"
            "                 install-info but it is not installable\n",
            "E: Unable to correct problems, you have held broken packages.\n",
            "grep : Depends: dpkg (>= 1.15.4) but it is not going to be installed or "
            "install-info but it is not installable",
        ),
        ("", "E: Failed to fetch http://x/y.deb  404  Not Found\n", "could not be fetched"),
        (
            "Setting up nginx (1.22.1-9) ...\n",
            "bind() to 0.0.0.0:80 failed (98: Address already in use)\n"
            "dpkg: error processing package nginx (--configure):\n"
            " installed nginx package post-installation script subprocess returned error exit "
            "status 1\n"
            "dpkg: error processing archive /var/cache/apt/archives/other_2_all.deb (--unpack):\n"
            " trying to overwrite '/usr/bin/x', which is also in package hello 2.10-3\n"
            "E: Sub-process /usr/bin/dpkg returned an error code (1)\n",
            "nginx: installed nginx package post-installation script subprocess returned error "
            "exit status 1; other: trying to overwrite '/usr/bin/x', which is also in package "
            "hello 2.10-3",
        ),
    ],
)
def test_a_refusal_of_apt_is_explained(stdout: str, stderr: str, says: str) -> None:
    error = _apt.explain(ended(stderr, stdout), host="web1")
    assert says in error.detail
    assert error.facts["host"] == "web1"
    assert error.facts["exit code"] == 100


def test_what_is_not_understood_is_shown_as_it_is() -> None:
    error = _apt.explain(ended("E: the moon is in the way\n"), host="web1")
    assert isinstance(error, TaskError)
    assert error.facts["stderr"] == "E: the moon is in the way"


def test_a_source_that_did_not_answer_is_a_problem_even_if_apt_only_warns() -> None:
    warned = ended(
        "W: Failed to fetch http://x/InRelease  Could not connect\n"
        "W: Some index files failed to download. They have been ignored.\n"
        "W: The repository 'http://y ./ Release' does not have a Release file.\n",
        exit_code=0,
    )
    assert _apt.fetch_problems(warned) == ["Failed to fetch http://x/InRelease  Could not connect"]
    unsigned = ended("E: The repository 'http://y x InRelease' is not signed.\n")
    assert _apt.fetch_problems(unsigned) == ["The repository 'http://y x InRelease' is not signed."]
