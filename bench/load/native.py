"""The C parts of the benchmarks: compiled when they are first needed, into ``build/bench/``, and called by ctypes."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = _CHECKOUT / "bench" / "native"
BUILT = _CHECKOUT / "build" / "bench"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC")


def library(name: str) -> ctypes.CDLL:
    """``bench/native/NAME.c`` as a library, compiled again only when it has changed.

    Raises:
        SystemExit: There is no C compiler (``cc``, or what ``CC`` names), or it does not take the source.
    """
    source = SOURCES / f"{name}.c"
    compiler = os.environ.get("CC", "cc")
    told = f"{compiler} {FLAGS} ".encode() + source.read_bytes()
    built = BUILT / f"{name}-{hashlib.sha256(told).hexdigest()[:16]}.so"
    if not built.exists():
        if shutil.which(compiler) is None:
            raise SystemExit(f"this benchmark compiles {source.name} and needs a C compiler; there is no {compiler}")
        BUILT.mkdir(parents=True, exist_ok=True)
        fresh = built.with_suffix(f".{os.getpid()}")
        done = subprocess.run([compiler, *FLAGS, "-o", fresh, source], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{compiler} does not take {source}:\n{done.stderr}")
        fresh.rename(built)
    return ctypes.CDLL(str(built), use_errno=True)
