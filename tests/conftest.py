"""Profiles of the property tests: TAPEFLOW_HYPOTHESIS=quick finds a failure and does not shrink it."""

from __future__ import annotations

import os

from hypothesis import Phase, settings

settings.register_profile("quick", phases=(Phase.explicit, Phase.generate), derandomize=True, print_blob=False)
if profile := os.environ.get("TAPEFLOW_HYPOTHESIS"):
    settings.load_profile(profile)
