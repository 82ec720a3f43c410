/* SPDX-License-Identifier: MIT
 * What is kept of failures, alone and under several threads. */
#include "healthd/evidence.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void keep(struct evidence *e, enum evidence_cause cause, uint32_t attempt, bool ejected)
{
    evidence_keep(e, 1, &(struct evidence_note){.cause = cause, .attempt = attempt, .ejected = ejected});
}

START_TEST(the_last_twenty_are_kept_and_all_are_counted)
{
    static struct evidence_page page;
    struct evidence *e = evidence_new(2);
    for (uint32_t i = 1; i <= 50; i++) {
        keep(e, i % 2 == 0 ? CAUSE_5XX : CAUSE_REFUSED, i, i == 11);
    }
    evidence_read(e, 1, &page);
    ck_assert_uint_eq(page.total, 50);
    ck_assert_uint_eq(page.counts[CAUSE_5XX], 25);
    ck_assert_uint_eq(page.counts[CAUSE_REFUSED], 25);
    for (uint32_t i = 0; i < EVIDENCE_FAILURES; i++) {
        ck_assert_uint_eq(page.failures[(page.total - 1 - i) % EVIDENCE_FAILURES].attempt, 50 - i);
    }
    ck_assert(page.has_ejected); /* though it is no longer among the last */
    ck_assert_uint_eq(page.ejected.attempt, 11);
    ck_assert_int_eq(page.last[CAUSE_5XX].tv_sec,
                     page.failures[(page.total - 1) % EVIDENCE_FAILURES].when.tv_sec);
    evidence_read(e, 0, &page);
    ck_assert_uint_eq(page.total, 0);
    evidence_reset(e, 1, 1);
    evidence_read(e, 1, &page);
    ck_assert_uint_eq(page.total, 0);
    ck_assert_uint_eq(page.counts[CAUSE_5XX], 0);
    ck_assert(!page.has_ejected);
    evidence_delete(e);
    evidence_delete(NULL);
}
END_TEST

START_TEST(an_attempt_from_before_a_reset_leaves_nothing)
{
    static struct evidence_page page;
    struct evidence *e = evidence_new(1);
    evidence_keep(e, 0, &(struct evidence_note){.cause = CAUSE_5XX, .epoch = 0});
    evidence_reset(e, 0, 1);
    evidence_keep(e, 0, &(struct evidence_note){.cause = CAUSE_5XX, .epoch = 0});
    evidence_read(e, 0, &page);
    ck_assert_uint_eq(page.total, 0);
    /* the ledger is at 2 already, evidence_reset() has not come yet */
    evidence_keep(e, 0, &(struct evidence_note){.cause = CAUSE_4XX, .epoch = 1});
    evidence_keep(e, 0, &(struct evidence_note){.cause = CAUSE_REFUSED, .epoch = 2});
    evidence_keep(e, 0, &(struct evidence_note){.cause = CAUSE_4XX, .epoch = 1});
    evidence_reset(e, 0, 2);
    evidence_read(e, 0, &page);
    ck_assert_uint_eq(page.total, 1);
    ck_assert_uint_eq(page.counts[CAUSE_REFUSED], 1);
    evidence_delete(e);
}
END_TEST

START_TEST(long_texts_are_cut)
{
    static struct evidence_page page;
    static char text[1000];
    memset(text, 'x', sizeof text);
    struct slice long_text = {text, sizeof text};
    struct evidence *e = evidence_new(1);
    evidence_keep(e, 0,
                  &(struct evidence_note){
                      .cause = CAUSE_4XX, .method = long_text, .path = long_text, .request_id = long_text});
    evidence_read(e, 0, &page);
    ck_assert_uint_eq(page.failures[0].method_bytes, EVIDENCE_METHOD_BYTES);
    ck_assert_uint_eq(page.failures[0].path_bytes, EVIDENCE_PATH_BYTES);
    ck_assert_uint_eq(page.failures[0].request_id_bytes, EVIDENCE_REQUEST_ID_BYTES);
    ck_assert_mem_eq(page.failures[0].path, text, EVIDENCE_PATH_BYTES);
    evidence_delete(e);
}
END_TEST

START_TEST(every_cause_has_a_name_of_its_own)
{
    for (int i = 0; i < EVIDENCE_CAUSES; i++) {
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(evidence_cause_name((enum evidence_cause)i),
                             evidence_cause_name((enum evidence_cause)j));
        }
    }
    ck_assert_str_eq(evidence_cause_name(CAUSE_REFUSED), "refused");
    ck_assert_str_eq(evidence_cause_name(CAUSE_5XX), "5xx");
}
END_TEST

enum { CROWD = 8, EACH = 5000 };

static void *keep_many(void *argument)
{
    for (uint32_t i = 0; i < EACH; i++) {
        keep(argument, (enum evidence_cause)(i % EVIDENCE_CAUSES), i, false);
    }
    return NULL;
}

START_TEST(under_a_crowd_nothing_is_lost)
{
    static struct evidence_page page;
    struct evidence *e = evidence_new(2);
    pthread_t threads[CROWD];
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_many, e), 0);
    }
    do {
        uint64_t sum = 0;
        evidence_read(e, 1, &page);
        for (int i = 0; i < EVIDENCE_CAUSES; i++) {
            sum += page.counts[i];
        }
        ck_assert_uint_eq(sum, page.total);
    } while (page.total < CROWD * EACH);
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    evidence_delete(e);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("evidence");
    tcase_add_test(tests, the_last_twenty_are_kept_and_all_are_counted);
    tcase_add_test(tests, an_attempt_from_before_a_reset_leaves_nothing);
    tcase_add_test(tests, long_texts_are_cut);
    tcase_add_test(tests, every_cause_has_a_name_of_its_own);
    tcase_add_test(tests, under_a_crowd_nothing_is_lost);
    Suite *suite = suite_create("evidence");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
