"""setuptools, asking for the ``ziglang`` wheel as well where no C compiler is found."""

import os
import shlex
import shutil
import sys
import sysconfig

from setuptools.build_meta import *
from setuptools.build_meta import get_requires_for_build_editable as _editable
from setuptools.build_meta import get_requires_for_build_wheel as _wheel


def _compiler_wheel():
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    found = sys.platform == "win32" or shutil.which(command[0]) is not None
    return [] if found else ["ziglang>=0.14"]


def get_requires_for_build_wheel(config_settings=None):
    return _wheel(config_settings) + _compiler_wheel()


def get_requires_for_build_editable(config_settings=None):
    return _editable(config_settings) + _compiler_wheel()
