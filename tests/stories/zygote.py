"""Starts the real command without the cost of starting Python: forks it from a warm process.

What runs is ``sloth_runner.cli.main`` with its own process, process group, standard streams
and exit code; only the imports are shared. Asked over a socket: one message is one command.
"""

import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from typing import Any, NoReturn

KILLS = "stories.kills"


def serve(channel: socket.socket) -> None:
    """Forks a command for every message: its streams and a pipe for its fate come with it."""
    _warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        message, files, _, _ = socket.recv_fds(channel, 1 << 20, 4)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            _wait_for(json.loads(message), files)
        for number in files:
            os.close(number)


def _warm_up() -> None:
    import sloth_runner

    for info in pkgutil.walk_packages(sloth_runner.__path__, "sloth_runner."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)


def _wait_for(request: dict[str, Any], files: list[int]) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        _become(request, files)
    fate = files[3]
    os.write(fate, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(fate, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever started the tests may ignore it
    for target, number in enumerate(files[:3]):
        os.dup2(number, target)
    os.closerange(3, 256)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", errors="surrogateescape")
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["sloth-runner", *request["argv"]]
    try:
        if request["kill"]:
            importlib.import_module(KILLS).arm(**request["kill"])
        from sloth_runner.cli import main

        main()
    finally:
        # Only what went wrong comes here: ``main`` ends the process itself.
        sys.stderr.flush()
        os._exit(70)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
