"""setuptools, asking for the ``ziglang`` wheel where no C compiler is found, and for node's where there is no node."""

import os
import runpy
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools.build_meta import *
from setuptools.build_meta import get_requires_for_build_editable as _editable
from setuptools.build_meta import get_requires_for_build_wheel as _wheel


def _compiler_wheel():
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    found = sys.platform == "win32" or shutil.which(command[0]) is not None
    return [] if found else ["ziglang>=0.14"]


def _node_wheel():
    if not Path("web/build.py").is_file():
        return []
    page = runpy.run_path("web/build.py")
    return [] if page["is_current"]() or page["node"]() else [page["WHEEL"]]


def get_requires_for_build_wheel(config_settings=None):
    return _wheel(config_settings) + _compiler_wheel() + _node_wheel()


def get_requires_for_build_editable(config_settings=None):
    return _editable(config_settings) + _compiler_wheel() + _node_wheel()
