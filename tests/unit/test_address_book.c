/* SPDX-License-Identifier: MIT
 * The published addresses: a reader sees a whole list, never parts of two. */
#include "common/address_book.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

static struct address_book book;
static _Atomic bool done;

/* A list in which everything tells which one it is. */
static struct net_addresses list_of(uint32_t number)
{
    struct net_addresses list = {.count = 1 + number % NET_ADDRESSES_MAX};
    for (uint32_t i = 0; i < list.count; i++) {
        list.list[i].in =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {number}, .sin_port = (in_port_t)i};
    }
    return list;
}

START_TEST(what_was_published_is_read)
{
    struct net_addresses got = {.count = 7};
    ck_assert_uint_eq(address_book_read(&book, &got), 0);
    ck_assert_uint_eq(got.count, 0);
    for (uint32_t i = 1; i < 200; i++) {
        struct net_addresses list = list_of(i);
        address_book_publish(&book, &list);
        ck_assert_uint_eq(address_book_read(&book, &got), i);
        ck_assert_uint_eq(address_book_version(&book), i);
        ck_assert(net_same(&got, &list));
    }
}
END_TEST

static void *read_often(void *argument)
{
    uint64_t *wrong = argument;
    uint32_t last = 0;
    while (!done) {
        struct net_addresses got;
        uint32_t version = address_book_read(&book, &got);
        struct net_addresses want = list_of(version);
        *wrong += version < last || (version != 0 && !net_same(&got, &want));
        last = version;
    }
    return NULL;
}

START_TEST(no_list_is_torn)
{
    enum { READERS = 4, LISTS = 20000 };
    pthread_t threads[READERS];
    uint64_t wrong[READERS] = {0};
    for (int i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_often, &wrong[i]), 0);
    }
    for (uint32_t i = 1; i <= LISTS; i++) {
        struct net_addresses list = list_of(i);
        address_book_publish(&book, &list);
    }
    done = true;
    for (int i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_uint_eq(wrong[i], 0);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("address_book");
    tcase_add_test(tests, what_was_published_is_read);
    tcase_add_test(tests, no_list_is_torn);
    Suite *suite = suite_create("address_book");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
