"""
Builds the Debian 12 root that every test machine starts from, once, and keeps it in a cache.

The image's only package source is a repository of its own at `/opt/repo`, so that tests of
packages need no network and always meet the same versions.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
PYTHON = (3, 11)
DEFAULT_MIRROR = "http://deb.debian.org/debian"
INCLUDED = (
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
OFFERED = ("hello", "jq", "nginx", "tree")
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
)
TOOLS = {
    "apt-get": "apt",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "dpkg-scanpackages": "dpkg-dev",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
}


def obstacle() -> str | None:
    """Returns why no machine can be booted here and what to do about it, or None."""
    if sys.platform != "linux":
        return "they need Linux"
    if os.geteuid() != 0:
        return "they need root; try: sudo ./test machine"
    if packages := sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)}):
        return f"missing here; try: apt-get install {' '.join(packages)}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlayfs; try: modprobe overlay"
    if sys.base_prefix == "/usr" and sys.version_info[:2] != PYTHON:
        return (
            f"the machines have Python {PYTHON[0]}.{PYTHON[1]} in /usr; "
            "use that version, or a Python that lives elsewhere"
        )
    return None


def cache() -> Path:
    """Returns the folder, outside the checkout, that images are kept in."""
    return Path(os.environ.get("SLOTH_TEST_CACHE") or "/var/cache/sloth-runner-tests")


@contextmanager
def image() -> Iterator[Path]:
    """
    Yields the image's root, built first where it is not there yet.

    Holds a shared lock meanwhile, so that no process with another recipe prunes the image.
    """
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    cache().mkdir(mode=0o755, parents=True, exist_ok=True)
    root = cache() / key
    with (cache() / f"{key}.lock").open("w") as lock:
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if root.exists():
                break
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():
                _prune(key)
                _build(root)
        yield root


def _prune(key: str) -> None:
    """Removes what other recipes have left, except what a running process still uses."""
    for path in cache().glob("*.lock"):
        if path.stem == key:
            continue
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for leftover in cache().glob(f"{path.stem}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _build(root: Path) -> None:
    unfinished = root.with_suffix(".unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    mirror = _mirror()
    # In a mount namespace of its own, so that a killed build leaves nothing mounted.
    _run(
        "unshare",
        "--mount",
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(INCLUDED)}",
        SUITE,
        str(unfinished),
        mirror,
    )
    repository = unfinished / "opt/repo"
    repository.mkdir(mode=0o755)
    _fetch(unfinished, mirror)
    _make_packages(repository)
    _index(repository)
    _configure(unfinished)
    unfinished.rename(root)


def _fetch(root: Path, mirror: str) -> None:
    """
    Fills the image's repository with the packages on offer and all that they need.

    What the image itself is made of is there too, so that it can be removed and come back.
    """
    sources = root / "etc/apt/sources.list"
    keyring = root / "usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(f"deb [signed-by={keyring}] {mirror} {SUITE} main\n")
    # The host's apt does the fetching, since only it knows the way out (proxies, certificates).
    apt = (
        "apt-get",
        "--quiet",
        f"--option=Dir::Cache={root}/var/cache/apt",
        f"--option=Dir::Etc::SourceList={sources}",
        "--option=Dir::Etc::SourceParts=/dev/null",
        f"--option=Dir::State={root}/var/lib/apt",
        f"--option=Dir::State::status={root}/var/lib/dpkg/status",
        "--option=APT::Sandbox::User=root",
    )
    _run(*apt, "update")
    _run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *OFFERED)
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.rename(root / "opt/repo" / package.name)


def _make_packages(repository: Path) -> None:
    """Makes the packages that exist to be awkward: versions, a conflict, a conffile."""
    for version in ("1.0-1", "1.1-1", "1:2.0-1"):
        _package(repository, "sloth-pin", version, {"usr/share/sloth-pin/version": version})
    _package(repository, "sloth-conflict", "1.0-1", {}, "Conflicts: hello\n")
    for version in ("1.0-1", "2.0-1"):
        _package(repository, "sloth-conf", version, {"etc/sloth-conf.conf": f"from = {version}\n"})
    (original,) = repository.glob("hello_*.deb")
    tree = repository / "hello"
    _run("dpkg-deb", "--raw-extract", str(original), str(tree))
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+sloth1", control.read_text()))
    _pack(tree, repository)


def _package(
    repository: Path, name: str, version: str, files: dict[str, str], fields: str = ""
) -> None:
    tree = repository / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n{fields}"
        "Maintainer: sloth-runner contributors <nobody@example.org>\n"
        f"Description: {name}, for the tests of sloth-runner\n"
    )
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True)
        (tree / path).write_text(content)
    if conffiles := [f"/{path}\n" for path in files if path.startswith("etc/")]:
        (tree / "DEBIAN/conffiles").write_text("".join(conffiles))
    _pack(tree, repository)


def _pack(tree: Path, repository: Path) -> None:
    _run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(repository))
    shutil.rmtree(tree)


def _index(repository: Path) -> None:
    listing = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", "."],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (repository / "Packages").write_bytes(listing.stdout)


def _configure(root: Path) -> None:
    for lists in (root / "var/lib/apt/lists", root / "var/cache/apt"):
        shutil.rmtree(lists)
        lists.mkdir()
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/opt/repo ./\n")
    _run("chroot", str(root), "apt-get", "--quiet", "update")
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    _run("chroot", str(root), "systemctl", "enable", "ssh.service")
    # Each machine gets its own when it boots; debootstrap copied the last two from this host.
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)


def _mirror() -> str:
    """Returns the Debian archive that this host's own apt uses, or the public one."""
    folder = Path("/etc/apt/sources.list.d")
    files = [folder / "debian.sources", Path("/etc/apt/sources.list"), *sorted(folder.glob("*"))]
    for path in files:
        if path.suffix not in {".list", ".sources"} or not path.is_file():
            continue
        if found := _mirror_in(path.read_text(), deb822=path.suffix == ".sources"):
            return found
    return DEFAULT_MIRROR


def _mirror_in(text: str, *, deb822: bool) -> str | None:
    """Returns the first archive in a sources file that offers our suite's main component."""
    text = re.sub(r"(?m)^\s*#.*\n?", "", text)
    if not deb822:
        for line in text.splitlines():
            words = re.sub(r"\[.*?\]", "", line).split()
            if words[0:1] == ["deb"] and words[2:3] == [SUITE] and "main" in words[3:]:
                return words[1]
        return None
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {
            key.lower(): value.split() for key, value in re.findall(r"(?m)^(\S+?):(.*)$", stanza)
        }
        if SUITE in fields.get("suites", ()) and "main" in fields.get("components", ()):
            return fields["uris"][0]
    return None


def _run(*argv: str) -> None:
    """Runs a command in silence; if it fails, says all it said."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")


def main() -> None:
    """Builds the image where that is possible, so that no test has to wait for it."""
    if obstacle() is None:
        with image():
            pass


if __name__ == "__main__":
    main()
