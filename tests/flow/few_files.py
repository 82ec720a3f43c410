# SPDX-License-Identifier: MIT
"""For stories about a holdfast that may have few files open."""
import os


def limit_files(count):
    """From now on holdfast may have so many files open: a wrapper stands in its place."""
    wrapper = os.path.join(os.environ["TMPDIR"], "few-files")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nulimit -n {count} && exec "{os.environ["HOLDFAST"]}" "$@"\n')
    os.chmod(wrapper, 0o700)
    os.environ["HOLDFAST"] = wrapper
