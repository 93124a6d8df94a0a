"""The compiled kernel and the page. Everything else about the package is in pyproject.toml.

Both are optional: where the kernel cannot be built the package works all the same, on the portable path; where the page
cannot, a plain one stands in its place.
"""

import importlib.util
import os
import runpy
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SOURCES = ("binance", "book", "intake", "module", "number", "seen", "split", "symbols", "text", "windows")


class BuildKernel(build_ext):
    """Compiles with the system's compiler, else with the one of the ``ziglang`` wheel."""

    def build_extensions(self) -> None:
        if not has_compiler() and importlib.util.find_spec("ziglang"):
            zig = [sys.executable, "-m", "ziglang", "cc"]
            self.compiler.set_executables(
                compiler=zig, compiler_so=[*zig, "-fPIC"], compiler_cxx=zig, linker_so=[*zig, "-shared"], linker_exe=zig
            )
        super().build_extensions()


class BuildPage(build_py):
    """Builds the page of `web/` into the package, then gathers the package's files."""

    def run(self) -> None:
        if Path("web/build.py").is_file():
            try:
                runpy.run_path("web/build.py")["build"]()
            except (RuntimeError, OSError) as error:
                if os.environ.get("TAPEFLOW_PAGE") == "required":
                    raise
                self.warn(f"the page is left out: {error}")
        super().run()


def has_compiler() -> bool:
    """True where the compiler that Python was built with, or any ``cc``, is on the path."""
    if sys.platform == "win32":
        return True
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    return shutil.which(command[0]) is not None


kernel = Path("src/tapeflow/engine/kernel")
setup(
    ext_modules=[
        Extension(
            "tapeflow.engine._kernel",
            sources=[str(kernel / f"{name}.c") for name in SOURCES],
            depends=[str(kernel / "kernel.h")],
            py_limited_api=True,
            extra_compile_args=["-O3", "-std=gnu11", "-fno-strict-aliasing"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernel, "build_py": BuildPage},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
