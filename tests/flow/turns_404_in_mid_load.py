#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend turns to 404 in mid-load, as one whose application was deleted: no client notices."""
import harness
import mid_load

mid_load.no_client_notices(harness.answer(404), "non_200")
