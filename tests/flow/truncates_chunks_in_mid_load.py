#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend's chunked bodies end before their last chunk, in mid-load: no client gets half a response."""
import harness
import mid_load

mid_load.no_client_notices(harness.truncated_chunked, "reset")
