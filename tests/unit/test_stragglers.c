/* SPDX-License-Identifier: MIT
 * Connects that lost a race, to real listeners on the loopback interface. */
#include "proxy/stragglers.h"

#include "tests/unit/racing.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { SHORT_MS = 100, LONG_MS = 20000 };

static struct racing racing;

/* Hands the attempt on backend 0 over, whose connect has MS left. */
static void hand_over(int64_t ms)
{
    struct upstream_route route;
    struct straggler *place = stragglers_reserve(racing.proxy.stragglers);
    ck_assert_ptr_nonnull(place);
    upstream_choose(&racing.proxy.upstreams[0], &route);
    dial_begin(&place->dial, &racing.proxy.upstreams[0], &route, deadline_after_ms(clock_mono(), ms));
    ck_assert_int_eq(place->dial.state, DIAL_PENDING);
    trial_make_late(&racing.trial, &racing.attempt, &racing.trial.last, &place->late);
    stragglers_add(racing.proxy.stragglers, place);
}

START_TEST(one_that_hangs_fails_at_its_deadline)
{
    racing_begin(&racing, RACING_HANGS, RACING_ANSWERS, SHORT_MS, 0);
    hand_over(SHORT_MS);
    ck_assert_uint_eq(stragglers_slots(racing.proxy.stragglers), 1);
    racing_settle(&racing);
    struct ledger_page page = racing_page(&racing, 0);
    ck_assert(page.attempts == 1 && page.error_connect == 1 && page.failures == 1 && page.in_flight == 0);
    racing_end(&racing);
}
END_TEST

START_TEST(one_that_is_answered_rests_and_is_taken_back)
{
    racing_begin(&racing, RACING_ANSWERS, RACING_ANSWERS, LONG_MS, 0);
    hand_over(LONG_MS);
    racing_settle(&racing);
    struct ledger_page page = racing_page(&racing, 0);
    ck_assert(page.attempts == 0 && page.failures == 0 && page.in_flight == 0);
    struct upstream_route route;
    struct upstream_tag tag;
    upstream_choose(&racing.proxy.upstreams[0], &route);
    int fd = upstream_take_idle(&racing.proxy.upstreams[0], &route, &tag);
    ck_assert_int_ne(fd, -1);
    close(fd);
    racing_end(&racing);
}
END_TEST

START_TEST(one_that_is_refused_fails)
{
    racing_begin(&racing, RACING_REFUSES, RACING_ANSWERS, LONG_MS, 0);
    hand_over(LONG_MS);
    racing_settle(&racing);
    ck_assert_uint_eq(racing_page(&racing, 0).error_connect, 1);
    struct evidence_page evidence;
    evidence_read(racing.proxy.evidence, 0, &evidence);
    ck_assert_uint_eq(evidence.counts[CAUSE_REFUSED], 1);
    racing_end(&racing);
}
END_TEST

START_TEST(a_reset_makes_a_late_failure_void)
{
    racing_begin(&racing, RACING_HANGS, RACING_ANSWERS, SHORT_MS, 0);
    hand_over(SHORT_MS);
    evidence_reset(racing.proxy.evidence, 0, ledger_reset(racing.proxy.ledger, 0));
    racing_settle(&racing);
    struct ledger_page page = racing_page(&racing, 0);
    ck_assert(page.attempts == 0 && page.error_connect == 0 && page.failures == 0 && page.in_flight == 0);
    struct evidence_page evidence;
    evidence_read(racing.proxy.evidence, 0, &evidence);
    ck_assert_uint_eq(evidence.total, 0);
    racing_end(&racing);
}
END_TEST

START_TEST(the_end_takes_back_what_hangs)
{
    racing_begin(&racing, RACING_HANGS, RACING_ANSWERS, LONG_MS, 0);
    hand_over(LONG_MS);
    mono_ns begun = clock_mono();
    stragglers_stop(racing.proxy.stragglers);
    racing.proxy.stragglers = NULL;
    ck_assert_int_lt(clock_mono() - begun, LONG_MS * NS_PER_MS / 2);
    struct ledger_page page = racing_page(&racing, 0);
    ck_assert(page.attempts == 0 && page.failures == 0 && page.in_flight == 0);
    racing_end(&racing);
}
END_TEST

START_TEST(places_are_bounded)
{
    static struct straggler *places[STRAGGLERS_MAX];
    struct stragglers *s = stragglers_start();
    ck_assert_ptr_nonnull(s);
    for (int i = 0; i < STRAGGLERS_MAX; i++) {
        places[i] = stragglers_reserve(s);
        ck_assert_ptr_nonnull(places[i]);
    }
    ck_assert_ptr_null(stragglers_reserve(s));
    stragglers_release(s, places[0]);
    places[0] = stragglers_reserve(s);
    ck_assert_ptr_nonnull(places[0]);
    for (int i = 0; i < STRAGGLERS_MAX; i++) {
        stragglers_release(s, places[i]);
    }
    stragglers_release(s, NULL);
    stragglers_stop(s);
    stragglers_stop(NULL);
}
END_TEST

START_TEST(few_descriptors_leave_no_place)
{
    struct stragglers *s = stragglers_start();
    ck_assert_ptr_nonnull(s);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 8; /* of which the last one is reserved */
    int fds[8], count = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (count < 8 && (fds[count] = dup(STDERR_FILENO)) != -1) {
        count++;
    }
    ck_assert_ptr_null(stragglers_reserve(s));
    while (count > 0) {
        close(fds[--count]);
    }
    stragglers_stop(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stragglers");
    TCase *all = tcase_create("all");
    tcase_add_test(all, one_that_hangs_fails_at_its_deadline);
    tcase_add_test(all, one_that_is_answered_rests_and_is_taken_back);
    tcase_add_test(all, one_that_is_refused_fails);
    tcase_add_test(all, a_reset_makes_a_late_failure_void);
    tcase_add_test(all, the_end_takes_back_what_hangs);
    tcase_add_test(all, places_are_bounded);
    tcase_add_test(all, few_descriptors_leave_no_place);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
