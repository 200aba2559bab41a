"""The floor: plain Python that looks once at everything a workload is about, and no more.

Run as a program: ``python -I -S floor.py MANIFEST [write]``. It imports nothing but the
standard library, and stands alone so that nothing of ours is loaded beside it.
"""

# pathlib would cost as much as a third of what is measured.
# ruff: noqa: PTH120, PTH123, PTH104

import hashlib
import json
import os
import pwd
import subprocess
import sys


def read_all(manifest):
    """Hashes the files, searches the lines, asks dpkg, the accounts and systemd once each."""
    seen = []
    for path in manifest["files"]:
        with open(path, "rb") as file:
            seen.append((os.fstat(file.fileno()), hashlib.sha256(file.read()).hexdigest()))
    for path in manifest["edited"]:
        with open(path, "rb") as file:
            seen.append(file.read().split(b"\n"))
    if manifest["packages"]:
        query = ["dpkg-query", "--show", "--showformat", "${Package} ${Status} ${Version}\n"]
        seen.append(_output(query + manifest["packages"]))
    if manifest["users"]:
        accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
        seen.append([accounts[name] for name in manifest["users"]])
    if manifest["units"]:
        show = ["systemctl", "show", "--property", "Id,LoadState,ActiveState,UnitFileState"]
        seen.append(_output(show + manifest["units"]))
    return seen


def write_all(manifest):
    """Writes the files as durably as it has to be done: temp, fsync, rename, fsync folder."""
    for path, content in manifest["files"].items():
        folder = os.path.dirname(path)
        temp = path + ".tmp"
        fd = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        os.write(fd, content.encode())
        os.fchmod(fd, 0o644)
        os.fsync(fd)
        os.close(fd)
        os.rename(temp, path)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(fd)
        os.close(fd)


def _output(argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout


def main():
    with open(sys.argv[1]) as file:
        manifest = json.load(file)
    if sys.argv[2:] == ["write"]:
        write_all(manifest)
    else:
        read_all(manifest)


if __name__ == "__main__":
    main()
