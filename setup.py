"""The compiled kernel. Everything else about the package is in pyproject.toml.

The extension is optional: where it cannot be built the package works all the same, on the portable path.
"""

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = ("binance", "book", "intake", "module", "number", "seen", "split", "symbols", "windows")


class BuildKernel(build_ext):
    """Compiles with the system's compiler, else with the one of the ``ziglang`` wheel."""

    def build_extensions(self) -> None:
        if not has_compiler() and importlib.util.find_spec("ziglang"):
            zig = [sys.executable, "-m", "ziglang", "cc"]
            self.compiler.set_executables(
                compiler=zig, compiler_so=[*zig, "-fPIC"], compiler_cxx=zig, linker_so=[*zig, "-shared"], linker_exe=zig
            )
        super().build_extensions()


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
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
