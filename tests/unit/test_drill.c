/* SPDX-License-Identifier: MIT
 * Drills: what runs when, and that connections meet the fault. What becomes of requests: flow/drill. */
#include "healthd/drill.h"

#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { LONG_MS = 3600000, WAIT_MS = 20000 };

static void begin(struct drills *d, uint32_t slot, enum drill_mode mode, uint32_t for_ms)
{
    struct drill_order order = {.mode = mode, .status = 503, .for_ms = for_ms, .name = "gcp"};
    ck_assert_int_eq(drill_begin(d, slot, &order), 0);
}

START_TEST(one_for_each_backend_until_it_ends)
{
    union net_address address;
    struct drill_view view;
    struct drills *d = drills_start();
    ck_assert_ptr_nonnull(d);
    ck_assert(!drill_diverts(NULL, 3, &address));
    ck_assert(!drill_view(NULL, 3, &view));
    ck_assert(!drill_diverts(d, 3, &address));
    ck_assert(!drill_end(d, 3));
    begin(d, 3, DRILL_STATUS, LONG_MS);
    ck_assert(drill_diverts(d, 3, &address));
    ck_assert(!drill_diverts(d, 2, &address));
    ck_assert(drill_view(d, 3, &view));
    ck_assert_int_eq(view.mode, DRILL_STATUS);
    ck_assert_uint_eq(view.status, 503);
    ck_assert_uint_le(view.remaining_ms, LONG_MS);
    ck_assert_uint_gt(view.remaining_ms, LONG_MS - WAIT_MS);
    begin(d, 3, DRILL_RESET, LONG_MS); /* takes its place */
    ck_assert(drill_view(d, 3, &view));
    ck_assert_int_eq(view.mode, DRILL_RESET);
    ck_assert_uint_eq(view.status, 0);
    ck_assert(drill_end(d, 3));
    ck_assert(!drill_end(d, 3));
    ck_assert(!drill_diverts(d, 3, &address));
    begin(d, 63, DRILL_REFUSE, 1);
    mono_ns end = deadline_after_ms(clock_mono(), WAIT_MS);
    while (drill_view(d, 63, &view)) {
        ck_assert_msg(clock_mono() < end, "it does not end by itself");
    }
    ck_assert(!drill_diverts(d, 63, &address));
    begin(d, 0, DRILL_BLACKHOLE, LONG_MS); /* ends with the rest */
    drills_stop(d);
    drills_stop(NULL);
}
END_TEST

/* Connects to the drill and asks. What a read finds: bytes, 0, or -1 with errno. */
static ssize_t ask(struct drills *d, enum drill_mode mode, char *bytes, size_t room, int *connect_error_)
{
    union net_address address;
    begin(d, 0, mode, LONG_MS);
    ck_assert(drill_diverts(d, 0, &address));
    int fd = net_connect(&address, deadline_after_ms(clock_mono(), mode == DRILL_BLACKHOLE ? 100 : WAIT_MS));
    *connect_error_ = fd == -1 ? errno : 0;
    if (fd == -1) {
        return 0;
    }
    struct iovec iov = {.iov_base = "GET / HTTP/1.1\r\n\r\n", .iov_len = 18};
    ck_assert_int_eq(net_send_all(fd, &iov, 1, 0), 0);
    ssize_t got = net_recv(fd, bytes, room, MSG_WAITALL);
    int kept = errno;
    close(fd);
    errno = kept;
    return got;
}

START_TEST(connections_meet_the_fault)
{
    char bytes[4096];
    int error;
    struct drills *d = drills_start();
    ask(d, DRILL_REFUSE, bytes, sizeof bytes, &error);
    ck_assert_int_eq(error, ECONNREFUSED);
    ask(d, DRILL_BLACKHOLE, bytes, sizeof bytes, &error);
    ck_assert_int_eq(error, ETIMEDOUT);
    ck_assert_int_eq(ask(d, DRILL_RESET, bytes, sizeof bytes, &error), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    ssize_t got = ask(d, DRILL_STATUS, bytes, sizeof bytes, &error);
    ck_assert_int_gt(got, 12);
    ck_assert_mem_eq(bytes, "HTTP/1.1 503", 12);
    got = ask(d, DRILL_TRUNCATE, bytes, sizeof bytes, &error);
    ck_assert_int_gt(got, 26);
    ck_assert_mem_eq(bytes, "HTTP/1.1 200", 12);
    drills_stop(d);
}
END_TEST

static void *look(void *argument)
{
    struct drills *d = argument;
    union net_address address;
    struct drill_view view;
    for (int i = 0; i < 2000; i++) {
        if (drill_diverts(d, (uint32_t)i % 2, &address)) {
            ck_assert_int_eq(address.base.sa_family, AF_INET);
        }
        if (drill_view(d, (uint32_t)i % 2, &view)) {
            ck_assert_uint_ge(view.remaining_ms, 1);
        }
    }
    return NULL;
}

START_TEST(others_may_look_meanwhile)
{
    pthread_t threads[4];
    struct drills *d = drills_start();
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, look, d), 0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        begin(d, i % 2, (enum drill_mode)(i % DRILL_MODES), 1 + i % 3);
        if (i % 5 == 0) {
            drill_end(d, i % 2);
        }
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    drills_stop(d);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_test(all, one_for_each_backend_until_it_ends);
    tcase_add_test(all, connections_meet_the_fault);
    tcase_add_test(all, others_may_look_meanwhile);
    Suite *suite = suite_create("drill");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
