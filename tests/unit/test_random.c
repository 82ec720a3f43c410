/* SPDX-License-Identifier: MIT
 * Random bytes: none is given out twice, by no thread, and they look random as far as a test can tell. */
#include "common/random.h"

#include "common/panic.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* So many bytes are drawn that a batch does not end where a draw does; the last of them are the id. */
enum { DRAWN_BYTES = 24, ID_BYTES = 8, IDS_PER_THREAD = 5000, THREADS = 4 };

typedef unsigned char id[ID_BYTES];

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ID_BYTES);
}

static void *make_ids(void *out)
{
    id *ids = out;
    for (int i = 0; i < IDS_PER_THREAD; i++) {
        unsigned char drawn[DRAWN_BYTES];
        random_bytes(drawn, DRAWN_BYTES);
        memcpy(ids[i], drawn + DRAWN_BYTES - ID_BYTES, ID_BYTES);
    }
    return NULL;
}

START_TEST(no_id_comes_twice)
{
    enum { COUNT = THREADS * IDS_PER_THREAD };
    pthread_t threads[THREADS];
    id *ids = calloc(COUNT, sizeof(id));
    ck_assert_ptr_nonnull(ids);
    for (int i = 0; i < THREADS; i++) {
        MUST_0(pthread_create(&threads[i], NULL, make_ids, ids + (size_t)i * IDS_PER_THREAD));
    }
    for (int i = 0; i < THREADS; i++) {
        MUST_0(pthread_join(threads[i], NULL));
    }
    qsort(ids, COUNT, sizeof(id), compare);
    for (int i = 1; i < COUNT; i++) {
        ck_assert_int_ne(memcmp(ids[i - 1], ids[i], ID_BYTES), 0);
    }
    free(ids);
}
END_TEST

/* Each size that may be asked for, over and over, so that batches end in the middle of a request. Exactly the
 * bytes asked for are written, and the last of them is as random as the first: not always the same. */
START_TEST(fills_exactly_what_is_asked_for)
{
    for (size_t count = 0; count <= 64; count++) {
        unsigned char seen_or = 0;
        unsigned char seen_and = 0xff;
        for (int round = 0; round < 100; round++) {
            unsigned char bytes[66];
            memset(bytes, 0x5a, sizeof bytes);
            random_bytes(bytes + 1, count);
            ck_assert_uint_eq(bytes[0], 0x5a);
            ck_assert_uint_eq(bytes[count + 1], 0x5a);
            seen_or |= bytes[count];
            seen_and &= bytes[count];
        }
        if (count > 0) { /* wrong once in 2^90 runs */
            ck_assert_uint_eq(seen_or, 0xff);
            ck_assert_uint_eq(seen_and, 0);
        }
    }
}
END_TEST

/* Half of all bits are set: of 1.6 million, within 10 standard deviations. */
START_TEST(half_of_the_bits_are_set)
{
    enum { ROUNDS = 3125, BYTES = 64, BITS = ROUNDS * BYTES * 8, SLACK = 6325 };
    int set = 0;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[BYTES];
        random_bytes(bytes, BYTES);
        for (int i = 0; i < BYTES; i++) {
            set += __builtin_popcount(bytes[i]);
        }
    }
    ck_assert_int_gt(set, BITS / 2 - SLACK);
    ck_assert_int_lt(set, BITS / 2 + SLACK);
}
END_TEST

START_TEST(hex_is_lower_case_and_uses_every_digit)
{
    unsigned seen[2] = {0, 0}; /* the upper digits of bytes, the lower ones */
    for (int round = 0; round < 100; round++) {
        char text[130];
        memset(text, '#', sizeof text);
        random_hex(text + 1, 64);
        ck_assert_int_eq(text[0], '#');
        ck_assert_int_eq(text[129], '#');
        for (int i = 1; i <= 128; i++) {
            static const char digits[] = "0123456789abcdef#";
            const char *digit = strchr(digits, text[i]); /* '#' was not written over */
            ck_assert_ptr_nonnull(digit);
            seen[i % 2] |= 1U << (digit - digits);
        }
    }
    ck_assert_uint_eq(seen[0], 0xffff);
    ck_assert_uint_eq(seen[1], 0xffff);
}
END_TEST

START_TEST(asking_for_too_much_is_a_panic)
{
    unsigned char bytes[128];
    random_bytes(bytes, _i == 0 ? 65 : sizeof bytes);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("random");
    tcase_add_test(tests, no_id_comes_twice);
    tcase_add_test(tests, fills_exactly_what_is_asked_for);
    tcase_add_test(tests, half_of_the_bits_are_set);
    tcase_add_test(tests, hex_is_lower_case_and_uses_every_digit);
    tcase_add_loop_test_raise_signal(tests, asking_for_too_much_is_a_panic, SIGABRT, 0, 2);
    Suite *suite = suite_create("random");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
