/* SPDX-License-Identifier: MIT
 * The watchdog over sockets of this process. That something is never cut can't be waited for; instead another
 * watch, with a later deadline, is waited for, which the watchdog only cuts after it has looked at the first
 * one too. */
#include "proxy/watchdog.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct pair {
    int ends[2];
};

static struct pair pair_new(void)
{
    struct pair pair;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.ends), 0);
    return pair;
}

static void pair_close(const struct pair *pair)
{
    close(pair->ends[0]);
    close(pair->ends[1]);
}

static mono_ns in_ms(int64_t ms)
{
    return deadline_after_ms(clock_mono(), ms);
}

/* Blocks on FD as a worker does; 0 when the watchdog has shut it down. */
static ssize_t block(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0);
}

static bool is_open(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
}

START_TEST(cuts_at_the_deadline)
{
    struct watchdog *w = watchdog_start(1, 1);
    struct watch *watch = watchdog_watch(w, 0);
    for (int ms = 0; ms <= 60; ms += 20) {
        struct pair pair = pair_new();
        mono_ns deadline = in_ms(ms);
        watch_arm(watch, pair.ends[0], deadline);
        ck_assert_int_eq(block(pair.ends[0]), 0);
        mono_ns now = clock_mono();
        ck_assert_int_ge(now, deadline);
        ck_assert_int_lt(now, deadline_after_ms(deadline, WATCHDOG_TICK_MS + 5000)); /* a busy machine */
        ck_assert_int_eq(watch_disarm(watch), WATCH_CUT_DEADLINE);
        ck_assert_int_eq(send(pair.ends[0], "x", 1, MSG_NOSIGNAL), -1); /* both directions */
        pair_close(&pair);
    }
    watchdog_stop(w);
}
END_TEST

START_TEST(a_deadline_in_the_past_cuts_too)
{
    struct watchdog *w = watchdog_start(1, 1);
    struct pair pair = pair_new();
    watch_arm(watchdog_watch(w, 0), pair.ends[0], 0);
    ck_assert_int_eq(block(pair.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_CUT_DEADLINE);
    pair_close(&pair);
    watchdog_stop(w);
}
END_TEST

/* Waits until the watchdog, which looks at watches in order, has made a whole round: on the last watch of W.
 */
static void await_round(struct watchdog *w, uint32_t last)
{
    for (int i = 0; i < 2; i++) {
        struct pair pair = pair_new();
        watch_arm(watchdog_watch(w, last), pair.ends[0], 0);
        ck_assert_int_eq(block(pair.ends[0]), 0);
        ck_assert_int_eq(watch_disarm(watchdog_watch(w, last)), WATCH_CUT_DEADLINE);
        pair_close(&pair);
    }
}

START_TEST(no_cut_before_the_deadline_or_after_disarm)
{
    struct watchdog *w = watchdog_start(3, 3);
    struct pair later = pair_new();
    struct pair disarmed = pair_new();
    watch_arm(watchdog_watch(w, 0), later.ends[0], in_ms(INT32_MAX));
    watch_arm(watchdog_watch(w, 1), disarmed.ends[0], in_ms(INT32_MAX));
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 1)), WATCH_NOT_CUT);
    watch_arm(watchdog_watch(w, 1), disarmed.ends[0], DEADLINE_NO);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 1)), WATCH_NOT_CUT);
    await_round(w, 2);
    ck_assert(is_open(later.ends[0]));
    ck_assert(is_open(disarmed.ends[0]));
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_NOT_CUT);
    pair_close(&later);
    pair_close(&disarmed);
    watchdog_stop(w);
}
END_TEST

/* Each watch has its own socket and its own deadline. */
START_TEST(cuts_the_due_one_of_many)
{
    enum { COUNT = 64, DUE = 17 };
    struct watchdog *w = watchdog_start(COUNT, COUNT);
    struct pair pairs[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        pairs[i] = pair_new();
        watch_arm(watchdog_watch(w, i), pairs[i].ends[0], i == DUE ? 0 : DEADLINE_NO);
    }
    ck_assert_int_eq(block(pairs[DUE].ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, DUE)), WATCH_CUT_DEADLINE);
    await_round(w, DUE);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i != DUE) {
            ck_assert(is_open(pairs[i].ends[0]));
            ck_assert_int_eq(watch_disarm(watchdog_watch(w, i)), WATCH_NOT_CUT);
        }
        pair_close(&pairs[i]);
    }
    watchdog_stop(w);
}
END_TEST

/* Now, and each watch that is armed later. */
START_TEST(cut_all_cuts_now_and_from_now_on)
{
    struct watchdog *w = watchdog_start(2, 2);
    struct pair first = pair_new();
    struct pair second = pair_new();
    watch_arm(watchdog_watch(w, 0), first.ends[0], DEADLINE_NO);
    watchdog_cut_all(w);
    ck_assert_int_eq(block(first.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_CUT_STOP);
    watch_arm(watchdog_watch(w, 1), second.ends[0], in_ms(INT32_MAX));
    ck_assert_int_eq(block(second.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 1)), WATCH_CUT_STOP);
    pair_close(&first);
    pair_close(&second);
    watchdog_stop(w);
}
END_TEST

/* What was cut for does not stick to the next arming. */
START_TEST(a_cut_is_forgotten_by_the_next_arming)
{
    struct watchdog *w = watchdog_start(2, 2);
    struct watch *watch = watchdog_watch(w, 0);
    struct pair pair = pair_new();
    watch_arm(watch, pair.ends[0], 0);
    ck_assert_int_eq(block(pair.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watch), WATCH_CUT_DEADLINE);
    struct pair next = pair_new();
    watch_arm(watch, next.ends[0], DEADLINE_NO);
    await_round(w, 1);
    ck_assert(is_open(next.ends[0]));
    ck_assert_int_eq(watch_disarm(watch), WATCH_NOT_CUT);
    pair_close(&pair);
    pair_close(&next);
    watchdog_stop(w);
}
END_TEST

/* ---- The judge: ends waits before their deadline ---- */

struct court {
    _Atomic int calls;
    _Atomic int other_calls; /* about another subject than the one expected */
    struct watch_subject expected;
    _Atomic enum watch_cut answer;
    bool asks;
    _Atomic int asked;
};

static void ask(void *owner, const struct watch_subject *subject)
{
    struct court *court = owner;
    ck_assert_int_eq(subject->client_fd, court->expected.client_fd);
    court->asked++;
}

static enum watch_cut judge(void *owner, const struct watch_subject *subject, bool *ask_)
{
    struct court *court = owner;
    bool same = subject->judged && subject->client_slot == court->expected.client_slot &&
                subject->backend == court->expected.backend &&
                subject->may_leave == court->expected.may_leave;
    *(same ? &court->calls : &court->other_calls) += 1;
    *ask_ = court->asks;
    return court->answer;
}

static const struct {
    struct watch_subject subject;
    enum watch_cut answer;
} judged[] = {
    {{.judged = true, .client_slot = 7, .backend = 0, .may_leave = false}, WATCH_CUT_CLIENT},
    {{.judged = true, .client_slot = 0, .backend = 63, .may_leave = true}, WATCH_CUT_BACKEND},
    {{.judged = true, .client_slot = UINT32_MAX, .backend = 31, .may_leave = true}, WATCH_CUT_CLIENT},
};

START_TEST(the_judge_is_told_of_whom_and_cuts)
{
    struct court court = {.expected = judged[_i].subject, .answer = judged[_i].answer};
    struct watchdog *w = watchdog_start(1, 1);
    struct pair pair = pair_new();
    watchdog_set_judge(w, judge, ask, &court);
    watch_arm_for(watchdog_watch(w, 0), pair.ends[0], DEADLINE_NO, &judged[_i].subject);
    ck_assert_int_eq(block(pair.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), judged[_i].answer);
    ck_assert_int_eq(court.calls, 1);
    ck_assert_int_eq(court.other_calls, 0);
    pair_close(&pair);
    watchdog_stop(w);
}
END_TEST

/* It is asked again and again while the wait lasts, and of no wait that has no subject. */
START_TEST(the_judge_may_let_a_wait_go_on)
{
    struct watch_subject subject = {.judged = true, .client_slot = 3, .backend = 1, .may_leave = true};
    struct court court = {.expected = subject, .answer = WATCH_NOT_CUT};
    struct watchdog *w = watchdog_start(3, 3);
    struct pair with = pair_new();
    struct pair without = pair_new();
    watchdog_set_judge(w, judge, ask, &court);
    watch_arm_for(watchdog_watch(w, 0), with.ends[0], DEADLINE_NO, &subject);
    watch_arm(watchdog_watch(w, 1), without.ends[0], DEADLINE_NO);
    await_round(w, 2);
    await_round(w, 2);
    ck_assert(is_open(with.ends[0]));
    ck_assert(is_open(without.ends[0]));
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_NOT_CUT);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 1)), WATCH_NOT_CUT);
    ck_assert_int_ge(court.calls, 2);
    ck_assert_int_eq(court.other_calls, 0);
    /* The next arming of the same watch has no subject any more. */
    int calls = court.calls;
    watch_arm(watchdog_watch(w, 0), with.ends[0], DEADLINE_NO);
    await_round(w, 2);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_NOT_CUT);
    ck_assert_int_le(court.calls, calls + 1); /* one look may have been under way */
    pair_close(&with);
    pair_close(&without);
    watchdog_stop(w);
}
END_TEST

/* While the judge wants its client asked, the wait goes on as before, and can be ended at any moment. */
START_TEST(a_client_is_asked_while_its_wait_goes_on)
{
    struct watch_subject subject = {.judged = true, .client_slot = 3, .client_fd = 77, .backend = 1};
    struct court court = {.expected = subject, .answer = WATCH_NOT_CUT, .asks = true};
    struct watchdog *w = watchdog_start(3, 3);
    struct pair pair = pair_new();
    watchdog_set_judge(w, judge, ask, &court);
    watch_arm_for(watchdog_watch(w, 0), pair.ends[0], DEADLINE_NO, &subject);
    await_round(w, 2);
    await_round(w, 2);
    ck_assert_int_ge(court.asked, 1);
    ck_assert(is_open(pair.ends[0]));
    court.answer = WATCH_CUT_CLIENT;
    ck_assert_int_eq(block(pair.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_CUT_CLIENT);
    pair_close(&pair);
    watchdog_stop(w);
}
END_TEST

START_TEST(a_deadline_and_the_end_come_before_the_judge)
{
    struct watch_subject subject = {.judged = true};
    struct court court = {.expected = subject, .answer = WATCH_CUT_CLIENT};
    struct watchdog *w = watchdog_start(1, 1);
    struct pair late = pair_new();
    struct pair last = pair_new();
    watchdog_set_judge(w, judge, ask, &court);
    watch_arm_for(watchdog_watch(w, 0), late.ends[0], 0, &subject);
    ck_assert_int_eq(block(late.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_CUT_DEADLINE);
    watchdog_cut_all(w);
    watch_arm_for(watchdog_watch(w, 0), last.ends[0], DEADLINE_NO, &subject);
    ck_assert_int_eq(block(last.ends[0]), 0);
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_CUT_STOP);
    ck_assert_int_eq(court.calls, 0);
    pair_close(&late);
    pair_close(&last);
    watchdog_stop(w);
}
END_TEST

/* A judge that is slow: it waits, between two looks of the watchdog at the watch, until the watch is armed
 * for another wait. That one must not be cut for what was found out about the first. */
struct slow_court {
    _Atomic bool asked, armed_anew;
};

static enum watch_cut judge_slowly(void *owner, const struct watch_subject *subject, bool *ask_)
{
    struct slow_court *court = owner;
    *ask_ = false;
    if (subject->client_slot != 1) {
        return WATCH_NOT_CUT;
    }
    court->asked = true;
    while (!court->armed_anew) {
        sched_yield();
    }
    return WATCH_CUT_CLIENT;
}

START_TEST(a_verdict_hits_the_arming_that_was_judged)
{
    struct slow_court court = {.asked = false};
    struct watch_subject first = {.judged = true, .client_slot = 1};
    struct watch_subject second = {.judged = true, .client_slot = 2};
    struct watchdog *w = watchdog_start(2, 2);
    struct pair pair = pair_new();
    watchdog_set_judge(w, judge_slowly, NULL, &court);
    watch_arm_for(watchdog_watch(w, 0), pair.ends[0], DEADLINE_NO, &first);
    while (!court.asked) {
        sched_yield();
    }
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_NOT_CUT);
    watch_arm_for(watchdog_watch(w, 0), pair.ends[0], DEADLINE_NO, &second);
    court.armed_anew = true;
    await_round(w, 1);
    ck_assert(is_open(pair.ends[0]));
    ck_assert_int_eq(watch_disarm(watchdog_watch(w, 0)), WATCH_NOT_CUT);
    pair_close(&pair);
    watchdog_stop(w);
}
END_TEST

/* A shutdown(2) that takes long. Its worker must wait for it: a descriptor that is closed and used again
 * meanwhile would be shut down for somebody else. */
static _Atomic bool hold_shutdown;
static _Atomic bool in_shutdown;

/* Stands before the C library's: watchdog.c calls it. */
int shutdown(int fd, int how)
{
    in_shutdown = true;
    while (hold_shutdown) {
        sched_yield();
    }
    return (int)syscall(SYS_shutdown, fd, how);
}

static _Atomic int disarmed = -1;

static void *disarm(void *argument)
{
    disarmed = (int)watch_disarm(argument);
    return NULL;
}

START_TEST(disarming_waits_for_the_cut_to_be_over)
{
    struct watchdog *w = watchdog_start(1, 1);
    struct pair pair = pair_new();
    pthread_t worker;
    hold_shutdown = true;
    watch_arm(watchdog_watch(w, 0), pair.ends[0], 0);
    while (!in_shutdown) {
        sched_yield();
    }
    ck_assert_int_eq(pthread_create(&worker, NULL, disarm, watchdog_watch(w, 0)), 0);
    for (int i = 0; i < 2000; i++) { /* time enough for one that does not wait */
        sched_yield();
    }
    ck_assert_int_eq(disarmed, -1);
    hold_shutdown = false;
    ck_assert_int_eq(pthread_join(worker, NULL), 0);
    ck_assert_int_eq(disarmed, WATCH_CUT_DEADLINE);
    ck_assert(!is_open(pair.ends[0]));
    pair_close(&pair);
    watchdog_stop(w);
}
END_TEST

START_TEST(a_sleep_ends_by_an_alarm_or_by_a_cut)
{
    struct watchdog *w = watchdog_start(1, 1);
    struct watch *watch = watchdog_watch(w, 0);
    const struct watch_subject nobody = {.judged = false};
    watch_arm_for(watch, -1, DEADLINE_NO, &nobody);
    watch_wake(watch);
    watch_wake(watch);
    ck_assert(watch_sleep(watch));
    ck_assert_int_eq(watch_disarm(watch), WATCH_NOT_CUT);
    mono_ns deadline = in_ms(30);
    watch_arm_for(watch, -1, deadline, &nobody);
    ck_assert(!watch_sleep(watch)); /* the second alarm was for the sleep before */
    ck_assert_int_ge(clock_mono(), deadline);
    ck_assert_int_eq(watch_disarm(watch), WATCH_CUT_DEADLINE);
    watchdog_cut_all(w);
    watch_arm_for(watch, -1, DEADLINE_NO, &nobody);
    ck_assert(!watch_sleep(watch));
    ck_assert_int_eq(watch_disarm(watch), WATCH_CUT_STOP);
    watchdog_stop(w);
}
END_TEST

START_TEST(starts_and_stops)
{
    for (int i = 0; i < 20; i++) {
        watchdog_stop(watchdog_start(1, 1));
    }
    watchdog_stop(NULL);
}
END_TEST

/* ---- Many threads arm and disarm around deadlines that pass just then ---- */

enum { WORKERS = 8 };

struct crowd {
    struct watchdog *watchdog;
    mono_ns end;
    _Atomic int cuts, misses, wrong;
};

struct worker {
    struct crowd *crowd;
    uint32_t index;
    pthread_t thread;
};

/* One arming that is about to be due, one that never is, on sockets of their own whose numbers are used again
 * and again: a cut that hits the wrong arming or a closed descriptor's successor shows as one that was not
 * asked for. */
static void *arm_and_disarm(void *argument)
{
    const struct worker *worker = argument;
    struct crowd *crowd = worker->crowd;
    struct watch *watch = watchdog_watch(crowd->watchdog, worker->index);
    unsigned random = worker->index;
    while (clock_mono() < crowd->end) {
        int ends[2];
        random = random * 1664525 + 1013904223;
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
            crowd->wrong++;
            break;
        }
        watch_arm(watch, ends[0], clock_mono() + (random >> 8) % 20000);
        for (unsigned spins = (random >> 4) % 20000; spins > 0; spins--) {
            __asm__ volatile("" ::: "memory");
        }
        if ((random >> 20) == 0 && block(ends[0]) != 0) {
            crowd->wrong++;
        }
        bool open = is_open(ends[0]);
        bool cut = watch_disarm(watch) != WATCH_NOT_CUT;
        bool open_now = is_open(ends[0]);
        crowd->wrong += open_now == cut || (!open && !cut);
        *(cut ? &crowd->cuts : &crowd->misses) += 1;
        close(ends[0]);
        close(ends[1]);

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
            crowd->wrong++;
            break;
        }
        watch_arm(watch, ends[0], DEADLINE_NO);
        crowd->wrong += !is_open(ends[0]);
        crowd->wrong += watch_disarm(watch) != WATCH_NOT_CUT;
        crowd->wrong += !is_open(ends[0]);
        close(ends[0]);
        close(ends[1]);
    }
    return NULL;
}

START_TEST(no_cut_hits_another_arming)
{
    struct worker workers[WORKERS];
    struct crowd crowd = {.watchdog = watchdog_start(WORKERS, WORKERS), .end = in_ms(1000)};
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.crowd = &crowd, .index = i};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, arm_and_disarm, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
    }
    watchdog_stop(crowd.watchdog);
    ck_assert_int_eq(crowd.wrong, 0);
    ck_assert_int_gt(crowd.cuts, 0);
    ck_assert_int_gt(crowd.misses, 0);
}
END_TEST

int main(void)
{
    TCase *watchdog = tcase_create("watchdog");
    tcase_add_test(watchdog, cuts_at_the_deadline);
    tcase_add_test(watchdog, a_deadline_in_the_past_cuts_too);
    tcase_add_test(watchdog, no_cut_before_the_deadline_or_after_disarm);
    tcase_add_test(watchdog, cuts_the_due_one_of_many);
    tcase_add_test(watchdog, cut_all_cuts_now_and_from_now_on);
    tcase_add_test(watchdog, a_cut_is_forgotten_by_the_next_arming);
    tcase_add_loop_test(watchdog, the_judge_is_told_of_whom_and_cuts, 0,
                        (int)(sizeof judged / sizeof judged[0]));
    tcase_add_test(watchdog, the_judge_may_let_a_wait_go_on);
    tcase_add_test(watchdog, a_client_is_asked_while_its_wait_goes_on);
    tcase_add_test(watchdog, a_deadline_and_the_end_come_before_the_judge);
    tcase_add_test(watchdog, a_verdict_hits_the_arming_that_was_judged);
    tcase_add_test(watchdog, disarming_waits_for_the_cut_to_be_over);
    tcase_add_test(watchdog, a_sleep_ends_by_an_alarm_or_by_a_cut);
    tcase_add_test(watchdog, starts_and_stops);
    tcase_add_test(watchdog, no_cut_hits_another_arming);
    Suite *suite = suite_create("watchdog");
    suite_add_tcase(suite, watchdog);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
