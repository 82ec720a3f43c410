#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend turns to 500 in mid-load: no client notices."""
import harness
import mid_load

mid_load.no_client_notices(harness.answer(500), "non_200")
