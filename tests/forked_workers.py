"""Ray's workers as forks of one process that has imported torch: much of the suite would be imports otherwise.

A worker takes four seconds of a core to start, three of them for torch and pandas, and the suite starts hundreds. So
Ray is told of a Python of ours: for a worker it asks the server of this module for a fork, in which Ray's own program
then runs; all else it leaves to the real one. What tests start by commands, and clusters of several nodes, have
ordinary workers.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

IMPORTED = ("torch._dynamo", "pandas", "pyarrow.fs", "gymnasium", "pydantic")
"""Not Ray: it connects to nothing in a fork of a process that has imported it."""
PYTHON = """#!{python} -IS
import json, os, socket, sys

script = next((i for i, word in enumerate(sys.argv) if word.endswith("default_worker.py")), None)
words = sys.argv[script:] if script else []
# A worker with a runtime_env is made by a program of Ray's, which takes these two, sets variables, and starts Python.
of_setup = dict(word.split("=", 1) for word in words if word.startswith(("--language=", "--serialized-runtime-env")))
context = json.loads(of_setup.get("--serialized-runtime-env-context", "{{}}"))
variables = context.get("env_vars") or {{}}
of_its_own = context.get("command_prefix") or context.get("override_worker_entrypoint")
of_its_own = of_its_own or context.get("py_executable", "{python}") != "{python}"
of_its_own = of_its_own or any(name.startswith("PYTHON") for name in variables)  # read when Python starts
if script is None or of_its_own:
    os.execv("{python}", ["{python}", *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect("{address}")
words = [word for word in words if word.split("=", 1)[0] not in of_setup]
told = json.dumps([words, {{**os.environ, **variables}}, os.getcwd()]).encode()
socket.send_fds(server, [len(told).to_bytes(8, "big")], [0, 1, 2])
server.sendall(told)
server.recv(1)  # nothing is said: it ends with the worker, and so does this
"""


@contextmanager
def forked_workers(variables: Mapping[str, str]) -> Iterator[str]:
    """Runs the server.

    Args:
        variables: Of the environment, for what is read when modules are imported.

    Yields:
        The Python for Ray (``sys.executable`` when it is started): the real one but on Linux.
    """
    if sys.platform != "linux":  # forks are not to be trusted
        yield sys.executable
        return
    with tempfile.TemporaryDirectory(prefix="wa-") as folder:
        address, python = f"{folder}/server", Path(folder) / "python"
        python.write_text(PYTHON.format(python=sys.executable, address=address), encoding="utf-8")
        python.chmod(0o755)
        command = [sys.executable, __file__, address]
        with subprocess.Popen(command, env=os.environ | variables, stdin=subprocess.PIPE) as server:
            yield str(python)
            server.terminate()


def serve(address: str) -> None:
    """Forks a worker for each who asks, until the standard input ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        for name in IMPORTED:
            importlib.import_module(name)
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is gone
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            asking, _ = listener.accept()
            header, files, *_ = socket.recv_fds(asking, 8, 3)
            if os.fork() == 0:
                listener.close()
                become(asking, int.from_bytes(header, "big"), files)
                return  # who asked is held on to until then
            for file in (asking.detach(), *files):
                os.close(file)


def become(asking: socket.socket, size: int, files: list[int]) -> None:
    """Is a worker from here on."""
    with asking.makefile("rb") as told:
        arguments, environment, folder = json.loads(told.read(size))
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    np.random.seed()  # noqa: NPY002  (NumPy's own, shared by forks otherwise; Python's random sees to itself)
    sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
    # No frame of runpy's: RLlib inspects the stack often, and for a frame without a file all modules are searched.
    program = compile(Path(arguments[0]).read_bytes(), arguments[0], "exec")
    exec(program, {"__name__": "__main__", "__file__": arguments[0]})


if __name__ == "__main__":
    serve(sys.argv[1])
