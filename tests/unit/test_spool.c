/* SPDX-License-Identifier: MIT
 * Bodies in memory and in files. TMPDIR is a folder of the test's own, so that a name left behind would be
 * seen. */
#include "common/spool.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { WHOLE_BUDGET = SPOOL_BUDGET_BYTES / SPOOL_MEMORY_BYTES }; /* bodies that fill the budget */

static char folder[] = "/tmp/holdfast-test-spool-XXXXXX";
static bool without_tmpfile; /* play a file system that has no O_TMPFILE */

/* Stands before the C library's: spool.c calls it. */
int open(const char *path, int flags, ...)
{
    if (without_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    va_list values;
    va_start(values, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(values, mode_t) : 0;
    va_end(values);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(setenv("TMPDIR", folder, 1), 0);
    without_tmpfile = false;
}

/* rmdir fails if there is a file. */
static void remove_folder(void)
{
    ck_assert_msg(rmdir(folder) == 0, "%s is not empty", folder);
}

enum { PATTERN_BYTES = 4 << 20 };

/* What bodies are made of; no two places look the same. */
static char pattern[PATTERN_BYTES];

static void make_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (char)(i * 31 + (i >> 10));
    }
}

static void append_pattern(struct spool *s, size_t count)
{
    ck_assert(spool_append(s, pattern + s->length_bytes, count));
}

/* Asserts that S holds LENGTH bytes of the pattern, all of them in one place. */
static void expect_pattern(const struct spool *s, uint64_t length)
{
    static char copy[PATTERN_BYTES];
    const char *body = s->memory;
    ck_assert_uint_eq(s->length_bytes, length);
    if (s->file != -1) {
        struct stat status;
        ck_assert_int_eq(fstat(s->file, &status), 0);
        ck_assert_int_eq(status.st_size, (off_t)length);
        ck_assert_uint_eq(status.st_nlink, 0);
        ck_assert_int_eq(status.st_mode & 0777, 0600);
        ck_assert_int_ne(fcntl(s->file, F_GETFD) & FD_CLOEXEC, 0);
        ck_assert_int_eq(pread(s->file, copy, sizeof copy, 0), (ssize_t)length);
        body = copy;
    }
    ck_assert(memcmp(body, pattern, length) == 0);
}

static const struct {
    size_t length, piece;
    bool in_file;
} sizes[] = {
    {1, 1, false},
    {1000, 1, false},
    {(16 << 10) - 1, 4096, false},
    {16 << 10, 4096, false},
    {(16 << 10) + 1, 4096, false},
    {70000, 7, false},
    {SPOOL_MEMORY_BYTES - 1, 65536, false},
    {SPOOL_MEMORY_BYTES, SPOOL_MEMORY_BYTES, false},
    {SPOOL_MEMORY_BYTES, 4099, false},
    {SPOOL_MEMORY_BYTES + 1, 4096, true},
    {SPOOL_MEMORY_BYTES + 1, SPOOL_MEMORY_BYTES, true},
    {SPOOL_MEMORY_BYTES + 1, SPOOL_MEMORY_BYTES + 1, true},
    {SPOOL_MEMORY_BYTES + SPOOL_PIECE_BYTES + 1, 1000, true},
    {3 * SPOOL_MEMORY_BYTES + 77, 3 * SPOOL_MEMORY_BYTES, true},
};

START_TEST(holds_every_size)
{
    struct spool s;
    spool_init(&s);
    ck_assert_int_eq(s.file, -1);
    for (int round = 0; round < 2; round++) { /* the second time with what spool_clear() kept */
        size_t left = sizes[_i].length;
        while (left > 0) {
            size_t count = left < sizes[_i].piece ? left : sizes[_i].piece;
            bool taken = spool_append(&s, pattern + s.length_bytes, count);
            left -= count;
            if (!taken || (s.file == -1 && s.capacity > SPOOL_MEMORY_BYTES)) {
                ck_abort_msg("%zu bytes are left", left);
            }
        }
        ck_assert((s.file != -1) == sizes[_i].in_file);
        expect_pattern(&s, sizes[_i].length);
        int file = s.file;
        bool large = s.capacity > SPOOL_PIECE_BYTES;
        spool_clear(&s);
        ck_assert_uint_eq(s.length_bytes, 0);
        ck_assert_int_eq(s.file, -1);
        ck_assert(file == -1 || (fcntl(file, F_GETFD) == -1 && errno == EBADF));
        ck_assert((s.memory == NULL) == large); /* else kept: the budget is far */
    }
    spool_release(&s);
    ck_assert_ptr_null(s.memory);
    ck_assert_uint_eq(s.capacity, 0);
}
END_TEST

/* What request_room() relies on: at least one byte, never more than is wanted, so that what is pipelined
 * behind a body stays in the socket. */
START_TEST(room_is_within_what_is_wanted)
{
    static const uint64_t bodies[] = {
        1, 10, 16384, 16385, 100000, SPOOL_MEMORY_BYTES, SPOOL_MEMORY_BYTES + 1, 2 * SPOOL_MEMORY_BYTES + 5};
    for (int i = 0; i < ROWS(bodies); i++) {
        struct spool s;
        spool_init(&s);
        while (s.length_bytes < bodies[i]) {
            uint64_t want = bodies[i] - s.length_bytes;
            size_t room = 0;
            char *at = spool_room(&s, want, &room);
            ck_assert_ptr_nonnull(at);
            ck_assert_uint_ge(room, 1);
            ck_assert_uint_le(room, want);
            ck_assert(s.file == -1 || room == want || room >= SPOOL_PIECE_BYTES);
            size_t count = room < 5000 ? room : 5000; /* as a socket gives: less than there is room for */
            memcpy(at, pattern + s.length_bytes, count);
            ck_assert(spool_commit(&s, count));
        }
        expect_pattern(&s, bodies[i]);
        spool_release(&s);
    }
}
END_TEST

START_TEST(a_body_that_is_known_to_be_large_goes_to_a_file_at_once)
{
    struct spool s;
    size_t room = 0;
    spool_init(&s);
    ck_assert_ptr_nonnull(spool_room(&s, SPOOL_MEMORY_BYTES + 1, &room));
    ck_assert_int_ne(s.file, -1);
    ck_assert_uint_le(s.capacity, SPOOL_PIECE_BYTES);
    spool_release(&s);
}
END_TEST

/* O_TMPFILE does not work everywhere: then the file has a name for a moment. */
START_TEST(without_tmpfile_the_name_is_removed)
{
    struct spool s;
    without_tmpfile = true;
    spool_init(&s);
    append_pattern(&s, SPOOL_MEMORY_BYTES + 5);
    ck_assert_int_ne(s.file, -1);
    expect_pattern(&s, SPOOL_MEMORY_BYTES + 5);
    DIR *listing = opendir(folder);
    ck_assert_ptr_nonnull(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        ck_assert_msg(entry->d_name[0] == '.', "%s has a name", entry->d_name);
    }
    closedir(listing);
    spool_release(&s);
}
END_TEST

START_TEST(an_empty_tmpdir_means_tmp)
{
    struct spool s;
    ck_assert_int_eq(setenv("TMPDIR", "", 1), 0);
    spool_init(&s);
    append_pattern(&s, SPOOL_MEMORY_BYTES + 5);
    expect_pattern(&s, SPOOL_MEMORY_BYTES + 5);
    spool_release(&s);
}
END_TEST

/* Appends to S, which is over what memory holds, and returns the errno of the failure, 0 for none. */
static int failure_of_append(struct spool *s, size_t count)
{
    static char bytes[2 * SPOOL_MEMORY_BYTES];
    errno = 0;
    return spool_append(s, bytes, count) ? 0 : errno;
}

START_TEST(a_folder_that_is_not_there)
{
    static const char *const folders[] = {"/nonexistent/folder", "/dev/null"};
    static const int failures[] = {ENOENT, ENOTDIR};
    for (int i = 0; i < ROWS(folders); i++) {
        struct spool s;
        ck_assert_int_eq(setenv("TMPDIR", folders[i], 1), 0);
        spool_init(&s);
        ck_assert_int_eq(failure_of_append(&s, SPOOL_MEMORY_BYTES + 1), failures[i]);
        /* The next body, which fits into memory, does not suffer. */
        spool_clear(&s);
        append_pattern(&s, 5000);
        expect_pattern(&s, 5000);
        spool_release(&s);
    }
}
END_TEST

static void limit(int resource, rlim_t value)
{
    struct rlimit limits;
    ck_assert_int_eq(getrlimit((__rlimit_resource_t)resource, &limits), 0);
    limits.rlim_cur = value;
    ck_assert_int_eq(setrlimit((__rlimit_resource_t)resource, &limits), 0);
}

/* Bodies leave the last eighth of the descriptors to others. */
START_TEST(some_descriptors_are_not_for_bodies)
{
    enum { LIMIT = 80, RESERVE = LIMIT / 8 };
    struct spool spools[LIMIT];
    int opened = 0, spare = 0;
    limit(RLIMIT_NOFILE, LIMIT);
    for (;; opened++) {
        spool_init(&spools[opened]);
        append_pattern(&spools[opened], SPOOL_MEMORY_BYTES);
        if (failure_of_append(&spools[opened], 1) != 0) {
            break;
        }
    }
    ck_assert_int_eq(errno, EMFILE);
    ck_assert_int_gt(opened, 0);
    int others[LIMIT];
    while ((others[spare] = dup(STDIN_FILENO)) != -1) {
        spare++;
    }
    ck_assert_int_le(spare, RESERVE);
    ck_assert_int_gt(spare, RESERVE / 2); /* some may be inherited */
    limit(RLIMIT_NOFILE, 1024);
    for (int i = 0; i < spare; i++) {
        close(others[i]);
    }
    for (int i = 0; i <= opened; i++) {
        spool_release(&spools[i]);
    }
}
END_TEST

START_TEST(no_descriptor_is_left)
{
    struct spool s;
    spool_init(&s);
    append_pattern(&s, SPOOL_MEMORY_BYTES);
    limit(RLIMIT_NOFILE, 0);
    ck_assert_int_eq(failure_of_append(&s, 1), EMFILE);
    expect_pattern(&s, SPOOL_MEMORY_BYTES); /* what was there is not lost by that */
    size_t room = 0;
    ck_assert_ptr_null(spool_room(&s, 1, &room));
    ck_assert_int_eq(errno, EMFILE);
    limit(RLIMIT_NOFILE, 1024);
    append_pattern(&s, 1);
    expect_pattern(&s, SPOOL_MEMORY_BYTES + 1);
    spool_release(&s);
}
END_TEST

/* A full disk, played by a limit on the size of files (which needs no disk to fill): once when memory is
 * moved to the file, once when a piece is written to it. The descriptor must not be lost. */
START_TEST(no_disk_is_left)
{
    static const rlim_t disks[] = {SPOOL_MEMORY_BYTES / 2, SPOOL_MEMORY_BYTES + SPOOL_PIECE_BYTES + 100};
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    int first_free = dup(STDIN_FILENO);
    close(first_free);
    for (int i = 0; i < ROWS(disks); i++) {
        struct spool s;
        limit(RLIMIT_FSIZE, disks[i]);
        spool_init(&s);
        append_pattern(&s, SPOOL_MEMORY_BYTES);
        ck_assert_int_eq(failure_of_append(&s, SPOOL_MEMORY_BYTES), EFBIG);
        spool_clear(&s);
        limit(RLIMIT_FSIZE, RLIM_INFINITY);
        append_pattern(&s, SPOOL_MEMORY_BYTES + 9);
        expect_pattern(&s, SPOOL_MEMORY_BYTES + 9);
        spool_release(&s);
        int free_now = dup(STDIN_FILENO);
        ck_assert_int_eq(free_now, first_free);
        close(free_now);
    }
}
END_TEST

/* Takes memory for a body of SPOOL_MEMORY_BYTES, without touching it. */
static void fill(struct spool *s)
{
    while (s->length_bytes < SPOOL_MEMORY_BYTES) {
        size_t room = 0;
        ck_assert_ptr_nonnull(spool_room(s, SPOOL_MEMORY_BYTES - s->length_bytes, &room));
        if (s->file != -1) {
            return;
        }
        ck_assert(spool_commit(s, room));
    }
}

/* How many bodies of full size fit into the budget now. */
static int fitting(void)
{
    static struct spool bodies[WHOLE_BUDGET + 1];
    int count = 0;
    for (int i = 0; i <= WHOLE_BUDGET; i++) {
        spool_init(&bodies[i]);
        fill(&bodies[i]);
        count += bodies[i].file == -1;
    }
    for (int i = 0; i <= WHOLE_BUDGET; i++) {
        spool_release(&bodies[i]);
    }
    return count;
}

START_TEST(the_budget_is_exact_and_comes_back)
{
    ck_assert_int_eq(fitting(), WHOLE_BUDGET);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET);
    struct spool one;
    spool_init(&one);
    append_pattern(&one, 1);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET - 1);
    spool_clear(&one); /* keeps its memory */
    ck_assert_int_eq(fitting(), WHOLE_BUDGET - 1);
    spool_release(&one);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET);
    append_pattern(&one, SPOOL_MEMORY_BYTES + 1); /* in a file: its memory counts all the same */
    ck_assert_int_ne(one.file, -1);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET - 1);
    spool_release(&one);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET);
}
END_TEST

START_TEST(over_the_budget_bodies_go_to_files_from_their_first_byte)
{
    static struct spool bodies[WHOLE_BUDGET];
    for (int i = 0; i < WHOLE_BUDGET; i++) {
        spool_init(&bodies[i]);
        fill(&bodies[i]);
        ck_assert_int_eq(bodies[i].file, -1);
    }
    struct spool s;
    spool_init(&s);
    append_pattern(&s, 10);
    ck_assert_int_ne(s.file, -1);
    expect_pattern(&s, 10);
    append_pattern(&s, 200000);
    expect_pattern(&s, 200010);
    spool_clear(&s);
    ck_assert_ptr_null(s.memory); /* not kept: the budget is used up */
    spool_release(&bodies[0]);
    append_pattern(&s, 10);
    ck_assert_int_eq(s.file, -1);
    spool_release(&s);
    for (int i = 1; i < WHOLE_BUDGET; i++) {
        spool_clear(&bodies[i]);
        ck_assert_ptr_null(bodies[i].memory);
    }
    for (int i = 0; i < WHOLE_BUDGET; i++) { /* what the shelf kept is used, and counted once */
        fill(&bodies[i]);
        ck_assert_int_eq(bodies[i].file, -1);
    }
    for (int i = 0; i < WHOLE_BUDGET; i++) {
        spool_release(&bodies[i]);
    }
}
END_TEST

START_TEST(a_large_body_takes_the_memory_of_the_last_one)
{
    struct spool first, second, next;
    spool_init(&first);
    spool_init(&second);
    spool_init(&next);
    fill(&first);
    fill(&second);
    const char *latest = second.memory;
    spool_clear(&first);
    spool_clear(&second);
    append_pattern(&next, 1000);
    ck_assert_ptr_ne(next.memory, latest); /* a small one needs no such room */
    append_pattern(&next, SPOOL_MEMORY_BYTES - 1000);
    ck_assert_ptr_eq(next.memory, latest);
    expect_pattern(&next, SPOOL_MEMORY_BYTES);
    spool_clear(&next);
    spool_release(&next);
}
END_TEST

enum { THREADS = 8, ROUNDS = 200 };

static _Atomic int refusals;

static void *hammer(void *argument)
{
    unsigned random = *(const unsigned *)argument;
    struct spool s;
    spool_init(&s);
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        for (unsigned pieces = random >> 28; pieces > 0; pieces--) {
            refusals += !spool_append(&s, pattern, 1 + (random >> 8) % 70000);
        }
        if ((random >> 20 & 3) == 0) {
            spool_release(&s);
        } else {
            spool_clear(&s);
        }
    }
    spool_release(&s);
    return NULL;
}

START_TEST(the_budget_holds_under_8_threads)
{
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_eq(refusals, 0);
    ck_assert_int_eq(fitting(), WHOLE_BUDGET);
}
END_TEST

int main(void)
{
    make_pattern();
    TCase *spool = tcase_create("spool");
    tcase_add_checked_fixture(spool, make_folder, remove_folder);
    tcase_add_loop_test(spool, holds_every_size, 0, ROWS(sizes));
    tcase_add_test(spool, room_is_within_what_is_wanted);
    tcase_add_test(spool, a_body_that_is_known_to_be_large_goes_to_a_file_at_once);
    tcase_add_test(spool, without_tmpfile_the_name_is_removed);
    tcase_add_test(spool, an_empty_tmpdir_means_tmp);
    tcase_add_test(spool, a_folder_that_is_not_there);
    tcase_add_test(spool, some_descriptors_are_not_for_bodies);
    tcase_add_test(spool, no_descriptor_is_left);
    tcase_add_test(spool, no_disk_is_left);
    tcase_add_test(spool, the_budget_is_exact_and_comes_back);
    tcase_add_test(spool, over_the_budget_bodies_go_to_files_from_their_first_byte);
    tcase_add_test(spool, a_large_body_takes_the_memory_of_the_last_one);
    tcase_add_test(spool, the_budget_holds_under_8_threads);
    Suite *suite = suite_create("spool");
    suite_add_tcase(suite, spool);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
