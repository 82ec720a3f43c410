#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The simulation of a fleet keeps the rules it is about, and the page has its figures."""
import os
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from fleet_model import PROBES, SHARED, Fleet, Simulation, deaths, median, wrong_ejections

INSTANT = 1e-9  # An attempt that fails before the next one comes.


class OneDeath(unittest.TestCase):
    def test_one_front_end_sees_eleven_failures(self):
        self.assertEqual([death.failed for death in deaths(Fleet(1, 1000, fail_ms=INSTANT))], [11] * 5)

    def test_each_front_end_sees_eleven_of_its_own(self):
        self.assertEqual(Simulation(Fleet(20, 1000, fail_ms=INSTANT), 1).run().failed, 20 * 11)

    def test_the_limit_is_the_one_given(self):
        self.assertEqual(Simulation(Fleet(20, 1000, fail_ms=INSTANT, eject_after=0), 1).run().failed, 20)

    def test_sharing_at_once_makes_it_eleven_in_all(self):
        fleet = Fleet(20, 1000, SHARED, fail_ms=INSTANT, share_ms=INSTANT)
        self.assertEqual([death.failed for death in deaths(fleet)], [11] * 5)

    def test_late_news_cost_what_is_sent_meanwhile(self):
        at_once = median(deaths(Fleet(100, 1000, SHARED, share_ms=INSTANT)), "failed")
        late = median(deaths(Fleet(100, 1000, SHARED, share_ms=100)), "failed")
        self.assertAlmostEqual(late - at_once, 0.1 * 500, delta=15)

    def test_news_that_never_come_leave_the_own_counters(self):
        own = Simulation(Fleet(5, 1000), 3).run()
        self.assertEqual(Simulation(Fleet(5, 1000, SHARED, share_ms=1e12), 3).run(), own)

    def test_attempts_under_way_fail_too(self):
        failed = median(deaths(Fleet(1, 1000, fail_ms=1000)), "failed")
        self.assertAlmostEqual(failed, 500 + 11, delta=60)

    def test_probes_bound_the_time(self):
        for death in deaths(Fleet(1000, 100, PROBES)):
            self.assertLessEqual(death.last_ms, 3 * 2000 + 1)

    def test_without_probes_a_trickle_takes_long(self):
        self.assertGreater(Simulation(Fleet(100, 100), 1).run().last_ms, 3 * 2000 + 1)

    def test_what_may_always_be_repeated_is_never_shown(self):
        self.assertEqual(Simulation(Fleet(100, 1000, unrepeatable=0), 1).run().shown, 0)

    def test_what_may_never_be_repeated_is_always_shown(self):
        death = Simulation(Fleet(100, 1000, unrepeatable=1), 1).run()
        self.assertEqual(death.shown, death.failed)


class WrongEjections(unittest.TestCase):
    def test_one_front_end_has_nobody_to_share_with(self):
        own, shared = (wrong_ejections(1, 0.5, how)[0] for how in (False, True))
        self.assertAlmostEqual(own / shared, 1, delta=0.01)

    def test_sharing_ejects_sooner_by_the_size_of_the_fleet(self):
        one, many = (wrong_ejections(size, 0.5, True, runs=2001)[0] for size in (1, 100))
        self.assertAlmostEqual(one / many, 100, delta=5)


class Page(unittest.TestCase):
    def test_the_page_has_the_figures_of_the_script(self):
        done = subprocess.run([os.path.join(HERE, "fleet"), "--check"], stderr=subprocess.PIPE, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
