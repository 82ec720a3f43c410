# SPDX-License-Identifier: MIT
"""The rehearsal of a cloud's loss: see ../README.md."""
