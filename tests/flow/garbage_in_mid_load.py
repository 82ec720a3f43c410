#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend sends what is no HTTP, in mid-load: no client notices."""
import harness
import mid_load

mid_load.no_client_notices(harness.garbage, "protocol")
