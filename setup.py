"""The native build: every ``ext/<package>/<module>.pyx`` becomes the extension ``<package>.<module>``.

``FASTIM_BUILD`` picks the build; anything but ``release`` is for work on the native modules:

- ``release`` (default): optimised.
- ``portable``: release without a call or flag that only Linux has.
- ``annotate``: release, and an HTML page per module under ``build/cython/annotate/`` that shows where C calls Python.
- ``checked``: every check Cython has, C assertions, debug symbols.
- ``trace``: line tracing and profiling hooks, for coverage and profilers.
- ``sanitize``: AddressSanitizer and UndefinedBehaviorSanitizer. The interpreter must preload the ASan runtime:
  ``LD_PRELOAD="$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 python -m pytest tests/native``.

Generated C, objects and linked modules stay under ``build/``, one directory per build, so switching recompiles nothing.
"""

from __future__ import annotations

import filecmp
import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("ext")
BUILDS = ("release", "portable", "annotate", "checked", "trace", "sanitize")
BUILD = os.environ.get("FASTIM_BUILD") or "release"
if BUILD not in BUILDS:
    sys.exit(f"FASTIM_BUILD={BUILD} is not a build: use one of {', '.join(BUILDS)}")

DIRECTIVES: dict[str, bool | str] = {
    "language_level": "3",
    "boundscheck": True,
    "initializedcheck": True,
    "wraparound": False,
    "cdivision": False,
    "auto_pickle": False,
    "autotestdict": False,
}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
COMPILE = {
    "release": ["-O3"],
    "portable": ["-O3"],
    "annotate": ["-O3"],
    "checked": ["-O1", "-g", "-UNDEBUG"],
    "trace": ["-O1", "-g"],
    "sanitize": ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZERS],
}
LINK = {"sanitize": SANITIZERS}
MACROS: dict[str, list[tuple[str, str | None]]] = {
    "portable": [("FASTIM_PORTABLE", "1")],
    "trace": [("CYTHON_TRACE", "1")],
}
if BUILD == "checked":
    DIRECTIVES |= {"nonecheck": True, "overflowcheck": True}
elif BUILD == "trace":
    DIRECTIVES |= {"linetrace": True, "profile": True}


class BuildNative(build_ext):
    """Keeps the builds apart, and copies a module beside the package only when it differs from what is there."""

    def finalize_options(self) -> None:
        super().finalize_options()
        tag = f"{self.plat_name}-{sys.implementation.cache_tag}"
        self.build_temp = str(Path("build", "objects", BUILD, tag))
        if self.inplace:
            self.build_lib = str(Path("build", "native", BUILD, tag))

    def copy_extensions_to_source(self) -> None:
        # setuptools copies a newer file only; after a change of build the right file may be the older one.
        package_dirs = self.get_finalized_command("build_py")
        for extension in self.extensions:
            wanted, built = map(Path, self._get_inplace_equivalent(package_dirs, extension))
            if wanted.exists() and not filecmp.cmp(wanted, built, shallow=False):
                wanted.unlink()
        super().copy_extensions_to_source()


def extensions() -> list[Extension]:
    """One extension for every native source there is."""
    return [
        Extension(
            ".".join(source.relative_to(SOURCES).with_suffix("").parts),
            [source.as_posix()],
            define_macros=MACROS.get(BUILD, []),
            extra_compile_args=COMPILE[BUILD],
            extra_link_args=LINK.get(BUILD, []),
        )
        for source in sorted(SOURCES.rglob("*.pyx"))
    ]


# Cython looks at the sources only; another directive in this file makes what it generated out of date as well.
GENERATED = Path("build", "cython", BUILD)
OUTDATED = any(c.stat().st_mtime < Path(__file__).stat().st_mtime for c in GENERATED.rglob("*.c"))

setup(
    cmdclass={"build_ext": BuildNative},
    ext_modules=cythonize(
        extensions(),
        include_path=[str(SOURCES)],
        build_dir=str(GENERATED),
        force=OUTDATED,
        compiler_directives=DIRECTIVES,
        annotate=BUILD == "annotate",
    ),
)
