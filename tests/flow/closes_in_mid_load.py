#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend takes requests and closes without an answer, in mid-load: no client notices."""
import harness
import mid_load

mid_load.no_client_notices(harness.close_unanswered, "reset")
