# SPDX-License-Identifier: MIT
"""The fixtures of backends.py. Tests import what else they need from there: in one run with the tests of other
folders there are several modules called conftest, and the name finds any of them."""

from backends import folder, backend  # noqa: F401 (pytest finds them here)
