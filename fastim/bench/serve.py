"""``fastim serve`` for a run, which it does not outlive: python -m fastim.bench.serve DIRECTORY serve ...

Whoever started it holds the other end of its standard input, a pipe that nothing is ever written to. When that end is
closed, as the system does for a run that was killed and could end nothing itself, server and directory go too.
"""

import os
import runpy
import shutil
import sys
import threading


def main() -> None:
    """Be ``fastim`` with the arguments that follow the directory."""
    directory = sys.argv.pop(1)
    threading.Thread(target=_end_with_the_run, args=(directory,), name="run", daemon=True).start()
    runpy.run_module("fastim", run_name="__main__", alter_sys=True)


def _end_with_the_run(directory: str) -> None:
    os.read(sys.stdin.fileno(), 1)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
