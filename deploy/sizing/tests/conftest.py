# SPDX-License-Identifier: MIT
"""Lets the tests import what they test."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
sys.dont_write_bytecode = True
