"""What a server does not load, and what works nevertheless."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import pyarrow as pa
from tapeflow.app.lean import without_pandas
without_pandas()
pa.array([1.5, None])
assert "pandas" not in sys.modules
without_pandas()
is_there = __import__("importlib.util").util.find_spec("pandas") is not None
assert not is_there or list(pa.table({"a": [1]}).to_pandas()["a"]) == [1]
"""


def test_arrays_do_not_load_pandas_and_data_frames_still_can_be_made() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
