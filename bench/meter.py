"""Runs commands in turn, round after round, and says what each run of each cost.

Run as a program where the commands are to run: ``python -I -S meter.py < JOB``; JOB and the
answer are JSON. Taking turns keeps what else happens on the machine from favouring anyone.
"""

# ruff: noqa: PTH118, PTH123

import json
import os
import sys
import time

SAID = "said-by-the-last"


def measure(argv, env, cwd):
    """Runs ``argv`` to its end; returns wall and CPU seconds, peak MB, the exit code.

    What it says goes to a file, which is fetched when it ends badly.
    """
    said = os.path.join(cwd, SAID)
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    os.chdir(cwd)
    began = time.perf_counter()
    # vfork, so that the peak is that of the command and not of a copy of this process.
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=files)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code:
        with open(said, errors="replace") as file:
            sys.exit(f"{argv} ended with {code}: {file.read()[-2000:]}")
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mb": usage.ru_maxrss / 1024,
    }


def main():
    job = json.load(sys.stdin)
    runs = {name: [] for name in job["commands"]}
    for number in range(job["warmup"] + job["rounds"]):
        for name, command in job["commands"].items():
            for before in job["before"].get(name, []):
                measure(before, job["env"], job["cwd"])
            run = measure(command, job["env"], job["cwd"])
            if number >= job["warmup"]:
                runs[name].append(run)
    json.dump(runs, sys.stdout)


if __name__ == "__main__":
    main()
