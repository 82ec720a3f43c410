/* SPDX-License-Identifier: MIT
 * A thread as it is started, and a wait that ends in time. */
#include "common/thread.h"

#include "common/condition.h"

#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>

enum { STACK_BYTES = 256 << 10, SHORT_MS = 20, LONG_MS = 20000 };

struct seen {
    sigset_t blocked;
    size_t stack_bytes;
};

static void *see(void *argument)
{
    struct seen *seen = argument;
    pthread_attr_t attributes;
    MUST_0(pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked));
    MUST_0(pthread_getattr_np(pthread_self(), &attributes));
    MUST_0(pthread_attr_getstacksize(&attributes, &seen->stack_bytes));
    MUST_0(pthread_attr_destroy(&attributes));
    return seen;
}

static const size_t stacks[] = {0, STACK_BYTES};

START_TEST(signals_are_for_others)
{
    pthread_t thread;
    struct seen seen;
    void *returned = NULL;
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR2);
    MUST_0(pthread_sigmask(SIG_SETMASK, &own, NULL));
    ck_assert_int_eq(thread_start(&thread, stacks[_i], see, &seen), 0);
    ck_assert_int_eq(pthread_join(thread, &returned), 0);
    ck_assert_ptr_eq(returned, &seen);
    static const int some[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        ck_assert_int_eq(sigismember(&seen.blocked, some[i]), 1);
    }
    MUST_0(pthread_sigmask(SIG_SETMASK, NULL, &own));
    ck_assert_int_eq(sigismember(&own, SIGUSR2), 1);
    ck_assert_int_eq(sigismember(&own, SIGTERM), 0);
    /* A sanitizer adds what it needs itself. */
    ck_assert_msg(stacks[_i] == 0 || seen.stack_bytes < stacks[_i] + (1 << 20), "%zu", seen.stack_bytes);
    ck_assert_uint_ge(seen.stack_bytes, stacks[_i]);
}
END_TEST

START_TEST(what_can_t_be_started_is_told)
{
    pthread_t thread;
    ck_assert_int_eq(thread_start(&thread, SIZE_MAX / 4, see, NULL), EAGAIN);
}
END_TEST

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static bool said;

static void *say(void *argument)
{
    MUST_0(pthread_mutex_lock(&mutex));
    said = true;
    MUST_0(pthread_cond_signal(&changed));
    MUST_0(pthread_mutex_unlock(&mutex));
    return argument;
}

START_TEST(a_wait_ends_by_a_signal_or_in_time)
{
    pthread_t thread;
    condition_init(&changed);
    MUST_0(pthread_mutex_lock(&mutex));
    mono_ns begun = clock_mono(), deadline = deadline_after_ms(begun, SHORT_MS);
    while (condition_wait(&changed, &mutex, deadline)) { /* nobody says anything */
    }
    ck_assert_int_ge(clock_mono(), deadline);
    ck_assert(!condition_wait(&changed, &mutex, begun)); /* has passed before */
    deadline = deadline_after_ms(clock_mono(), LONG_MS);
    ck_assert_int_eq(thread_start(&thread, STACK_BYTES, say, NULL), 0);
    while (!said) {
        ck_assert(condition_wait(&changed, &mutex, deadline));
    }
    MUST_0(pthread_mutex_unlock(&mutex));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    MUST_0(pthread_cond_destroy(&changed));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tcase = tcase_create("thread");
    tcase_add_loop_test(tcase, signals_are_for_others, 0, (int)(sizeof stacks / sizeof stacks[0]));
    tcase_add_test(tcase, what_can_t_be_started_is_told);
    tcase_add_test(tcase, a_wait_ends_by_a_signal_or_in_time);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
