"""Runs commands in turn, round after round, and says what each run of each cost.

Run as a program where the commands are to run: ``python -I -S meter.py < JOB``; JOB and the
answer are JSON. Taking turns keeps what else happens on the machine from favouring anyone.
"""

import json
import os
import sys
import time


def measure(argv, env, cwd):
    """Runs ``argv`` to its end; returns wall and CPU seconds, peak MB, the exit code."""
    began = time.perf_counter()
    # vfork, so that the peak is that of the command and not of a copy of this process.
    null = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    null += [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    os.chdir(cwd)
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=null)
    _, status, usage = os.wait4(pid, 0)
    return {
        "wall": time.perf_counter() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mb": usage.ru_maxrss / 1024,
        "exit": os.waitstatus_to_exitcode(status),
    }


def main():
    job = json.load(sys.stdin)
    runs = {name: [] for name in job["commands"]}
    for number in range(job["warmup"] + job["rounds"]):
        for name, command in job["commands"].items():
            for before in job["before"].get(name, []):
                done = measure(before, job["env"], job["cwd"])
                if done["exit"]:
                    sys.exit(f"{before} ended with {done['exit']}")
            run = measure(command, job["env"], job["cwd"])
            if number >= job["warmup"]:
                runs[name].append(run)
    json.dump(runs, sys.stdout)


if __name__ == "__main__":
    main()
