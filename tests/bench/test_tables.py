#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the benchmark's scripts read out of other programs' tables, and the picture, without any load."""
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import calls
import hotspots
import plot
import report

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.02    0.123456           4     30000       120 recvfrom
 38.98    0.078901           3     20000           sendmsg
------ ----------- ----------- --------- --------- ----------------
100.00    0.202357           4     50000       120 total
"""
PERF = """\
# Samples: 368  of event 'cpu-clock'
# Overhead|Shared Object       |Symbol              |IPC   [IPC Coverage]
 50.00% |[kernel.kallsyms]     |[k] __schedule      |-      -
 20.00% |holdfast              |[.] exchange_run    |-      -
 10.00% |libc.so.6             |[.] recv            |-      -
"""


def sample(**figures):
    return [{"wrong": "", **figures}]


class Tables(unittest.TestCase):
    def test_counts_of_strace_with_and_without_errors(self):
        self.assertEqual(calls.strace_table(STRACE), {"recvfrom": 30000, "sendmsg": 20000})

    def test_rare_calls_stand_together_and_the_sum_is_whole(self):
        self.assertEqual(calls.syscall_rows([{"a": 2.0, "b": 0.001, "c": 0.002}]),
                         [["`a`", "2.00"], ["other", "0.00"], ["all", "2.00"]])

    def test_places_of_perf(self):
        entries = hotspots.parse_report(PERF, "holdfast")
        self.assertEqual([(entry[1], entry[3]) for entry in entries],
                         [("kernel", "__schedule"), ("own code", "exchange_run"), ("libraries", "recv")])
        self.assertEqual(hotspots.shares(entries), {"kernel": 62.5, "own code": 25.0, "libraries": 12.5})


class Picture(unittest.TestCase):
    def test_ratios_of_the_first_to_each_peer(self):
        results = {"row": {"holdfast": sample(rps=30), "one": sample(rps=20), "two": sample(rps=60)}}
        self.assertEqual(plot.panel_rows(results, "rps"), [("row", [1.5, 0.5])])

    def test_a_ratio_is_taken_within_a_round(self):
        mine = [{"wrong": "", "us": us} for us in (10, 20, 30)]
        other = [{"wrong": "", "us": us} for us in (5, 5, 30)]
        self.assertEqual(report.ratio(mine, other, "us"), 2)
        self.assertIsNone(report.ratio(mine, [*other[:2], {"wrong": "", "us": 0}], "us"))

    def test_failed_peers_and_rows_without_the_figure_are_left_out(self):
        results = {"row": {"holdfast": sample(rps=30), "one": [{"wrong": "ended"}], "two": sample(rps=60)},
                   "start": dict.fromkeys(("holdfast", "one", "two"), sample(start_ms=3))}
        self.assertEqual(plot.panel_rows(results, "rps"), [("row", [None, 0.5])])


if __name__ == "__main__":
    unittest.main()
