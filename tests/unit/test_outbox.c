/* SPDX-License-Identifier: MIT */
#include "proxy/outbox.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Byte I of what is sent. */
static char byte_at(size_t i)
{
    return (char)(i * 31 + i / 997);
}

/* Appends bytes FROM to TO of the pattern. */
static void append(struct outbox *o, size_t from, size_t to)
{
    char *bytes = malloc(to - from);
    for (size_t i = from; i < to; i++) {
        bytes[i - from] = byte_at(i);
    }
    struct iovec iov[2] = {{.iov_base = bytes, .iov_len = 1},
                           {.iov_base = bytes + 1, .iov_len = to - from - 1}};
    ck_assert(outbox_append(o, iov, 2));
    free(bytes);
}

/* Reads what is there; checks it against the pattern from *READ_ on. */
static void read_some(int fd, size_t *read_)
{
    char bytes[30000];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (ssize_t i = 0; i < got; i++) {
        ck_assert_int_eq(bytes[i], byte_at(*read_ + (size_t)i));
    }
    *read_ += got > 0 ? (size_t)got : 0;
}

static const struct {
    const char *where;
    size_t length;
} sizes[] = {{"in memory", 700000}, {"in a file", SPOOL_MEMORY_BYTES + 700000}};

START_TEST(all_of_it_arrives_in_order)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct outbox *o = outbox_new();
    append(o, 0, 1000);
    append(o, 1000, sizes[_i].length);
    size_t got = 0;
    enum outbox_progress progress = outbox_flush(o, pair[0]);
    ck_assert_msg(progress == OUTBOX_MORE, "%s: a socket took it all at once", sizes[_i].where);
    while (progress == OUTBOX_MORE) {
        read_some(pair[1], &got);
        progress = outbox_flush(o, pair[0]);
    }
    ck_assert_int_eq(progress, OUTBOX_EMPTY);
    close(pair[0]);
    while (got < sizes[_i].length) {
        size_t before = got;
        read_some(pair[1], &got);
        ck_assert_uint_gt(got, before);
    }
    ck_assert_uint_eq(got, sizes[_i].length);
    close(pair[1]);
    outbox_delete(o);
}
END_TEST

START_TEST(a_client_that_is_gone_fails)
{
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    struct outbox *o = outbox_new();
    append(o, 0, 100);
    ck_assert_int_eq(outbox_flush(o, pair[0]), OUTBOX_FAILED);
    close(pair[0]);
    outbox_delete(o);
}
END_TEST

START_TEST(an_empty_one_is_done)
{
    struct outbox *o = outbox_new();
    ck_assert_int_eq(outbox_flush(o, -1), OUTBOX_EMPTY);
    outbox_delete(o);
    outbox_delete(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outbox");
    TCase *tcase = tcase_create("outbox");
    tcase_add_loop_test(tcase, all_of_it_arrives_in_order, 0, 2);
    tcase_add_test(tcase, a_client_that_is_gone_fails);
    tcase_add_test(tcase, an_empty_one_is_done);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
