# SPDX-License-Identifier: MIT
"""The Playground: a small web service that runs a piece of Python and returns what it printed."""
