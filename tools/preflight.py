"""Say in one line what this machine lacks for building fastim, and exit 1; say nothing when it has everything.

make runs this before it makes the virtual environment, with the Python that the environment is to have, and again
inside it before it compiles. It has to parse under every Python 3, or the oldest would answer with a SyntaxError.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile

DEBIAN = "on Debian and Ubuntu: apt-get install "


def main() -> None:
    problem = python_problem() or venv_problem() or compiler_problem()
    if problem:
        sys.exit("fastim cannot be built here: " + problem)


def python_problem() -> str:
    current = sys.version_info >= (3, 11)
    if current:
        return ""
    return f"{sys.executable} is Python {version()}, and 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."


def venv_problem() -> str:
    inside = sys.prefix != sys.base_prefix
    if inside and importlib.util.find_spec("pip") is None:
        return f"{sys.prefix} has no pip; remove it, and make will set up another"
    if not inside and (importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None):
        return f"{sys.executable} cannot make virtual environments; {DEBIAN}python{version()}-venv"
    return ""


def compiler_problem() -> str:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"the C compiler {compiler[0]} is not installed; {DEBIAN}gcc libc6-dev, on macOS: xcode-select --install"
    headers = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(headers, "Python.h")):
        return f"Python's C headers are not in {headers}; {DEBIAN}python{version()}-dev"
    with tempfile.TemporaryDirectory() as scratch:
        source = os.path.join(scratch, "probe.c")
        with open(source, "w") as probe:
            probe.write("#include <Python.h>\n")
        command = [*compiler, "-I", headers, "-c", source, "-o", os.path.join(scratch, "probe.o")]
        compiled = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if compiled.returncode == 0:
        return ""
    said = compiled.stdout.decode(errors="replace").strip().splitlines() or ["no output"]
    return f"{compiler[0]} cannot compile against Python's headers: {said[0]}"


def version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


main()
