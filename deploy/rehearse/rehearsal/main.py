# SPDX-License-Identifier: MIT
"""Performs the rehearsal. deploy/rehearse/run calls this as root, in namespaces of its own.

usage: python3 -m rehearsal.main NAME BINARY WORK_FOLDER REPORT_FOLDER full|quick
Exit status: 0 when no promise was broken, 1 otherwise.
"""
import contextlib
import pathlib
import sys
import time

from rehearsal import net, report, verdict
from rehearsal.plan import FULL, QUICK
from rehearsal.play import perform
from rehearsal.stage import Stage


def main(name, binary, work, folder, size):
    began = time.monotonic()
    out = pathlib.Path(folder)
    try:
        stage = Stage(QUICK if size == "quick" else FULL, binary, work, name)
    except (OSError, net.Failed) as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as at_end:
        at_end.callback(stage.stop)
        try:
            course = perform(stage)
            exit_status = stage.front.stop()
        except (OSError, RuntimeError, net.Failed) as error:
            print(f"run: {error}", file=sys.stderr)
            return 1
        crashed = [pod for cluster in stage.clusters.values() for pod in cluster.crashed]
        verdicts = verdict.judge(course, stage.seen, crashed, exit_status)
        report.write_data(stage, out)
        why_not = report.draw(stage, out)
        text = report.words(verdicts, course, stage, time.monotonic() - began)
        (out / "report.txt").write_text(text)
        print(f"\n{text}")
        print(f"Data and logs: {out}" + (f" (no timeline.svg: {why_not})" if why_not else ", and timeline.svg"))
    return 1 if any(one.kept is False for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
