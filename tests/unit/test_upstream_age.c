/* SPDX-License-Identifier: MIT
 * The life of a backend connection. */
#include "tests/unit/dialled.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

/* Its life goes on while it is at rest and while it is lent; a new one begins another. */
START_TEST(one_that_has_lived_for_its_time_is_not_kept)
{
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    struct upstream u = upstream_of(8, 1, &a);
    struct upstream_tag tag, next;
    mono_ns begun = clock_mono();
    int fd = dial(&u, in_ms(5000), &tag);
    ck_assert_int_ge(tag.retire_at, begun + LIFE_MS / 2 * NS_PER_MS);
    ck_assert_int_le(tag.retire_at, clock_mono() + (LIFE_MS + LIFE_MS / 2) * NS_PER_MS);
    mono_ns nearly = tag.retire_at - 1, over = tag.retire_at;
    for (int i = 0; i < 3; i++) {
        struct upstream_route route;
        upstream_give_back(&u, fd, tag, nearly);
        upstream_choose(&u, &route);
        ck_assert_int_eq(upstream_take_idle(&u, &route, &tag), fd);
        ck_assert_int_eq(tag.retire_at, over);
    }
    upstream_give_back(&u, fd, tag, over);
    ck_assert(is_closed(fd));
    ck_assert_int_eq(take(&u), -1);
    fd = dial(&u, in_ms(5000), &next);
    ck_assert_int_gt(next.retire_at, over); /* lives differ: the first one's is the shortest */
    upstream_give_back(&u, fd, next, over);
    ck_assert(!is_closed(fd));
    upstream_release(&u);
    close(listener);
}
END_TEST

/* Also when the list of addresses has changed meanwhile. */
START_TEST(a_new_list_makes_no_connection_younger)
{
    union net_address list[2];
    int listeners[2], fds[2];
    struct upstream_tag tags[2];
    for (int i = 0; i < 2; i++) {
        listeners[i] = listen_on("127.0.0.1", 16, &list[i]);
    }
    struct upstream u = upstream_of(8, 1, &list[1]);
    for (int i = 0; i < 2; i++) {
        fds[i] = dial(&u, in_ms(5000), &tags[i]);
    }
    upstream_give_back(&u, fds[0], tags[0], 0);
    struct net_addresses now = {.count = 2, .list = {list[0], list[1]}};
    upstream_move(&u, &now);
    upstream_trim_gone(&u);
    for (int i = 0; i < 2; i++) {
        struct upstream_tag tag;
        struct upstream_route route = {.order[0] = 1};
        route.version = address_book_read(&u.book, &route.addresses);
        ck_assert_int_eq(upstream_take_idle(&u, &route, &tag), i == 0 ? fds[0] : -1);
        ck_assert(i > 0 || tag.retire_at == tags[0].retire_at);
        ck_assert(i > 0 || tag.address != tags[0].address);
    }
    upstream_give_back(&u, fds[0], tags[0], tags[0].retire_at); /* by its old tag */
    ck_assert(is_closed(fds[0]));
    upstream_give_back(&u, fds[1], tags[1], tags[1].retire_at - 1);
    ck_assert(!is_closed(fds[1]));
    upstream_release(&u);
    close(listeners[0]);
    close(listeners[1]);
}
END_TEST

int main(void)
{
    TCase *upstream = tcase_create("upstream_age");
    tcase_add_test(upstream, one_that_has_lived_for_its_time_is_not_kept);
    tcase_add_test(upstream, a_new_list_makes_no_connection_younger);
    Suite *suite = suite_create("upstream_age");
    suite_add_tcase(suite, upstream);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
