/* SPDX-License-Identifier: MIT
 * The thread that writes the access log, before files, pipes that nobody reads, and a disk that is full. */
#include "proxy/access_writer.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS = 20000, MANY = 40000 };

static char folder[] = "/tmp/test_access_writer.XXXXXX";
static char paths[3][sizeof folder + 8];
static struct access_writer *writer;

static void begin(void)
{
    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* as in the program */
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", folder, i);
    }
    writer = access_writer_start();
    ck_assert_ptr_nonnull(writer);
}

static void end(void)
{
    access_writer_stop(writer);
    for (int i = 0; i < 3; i++) {
        unlink(paths[i]);
    }
    rmdir(folder);
}

static void direct(const char *path)
{
    int fd = access_open(path);
    ck_assert_int_ne(fd, -1);
    access_writer_direct(writer, fd);
}

/* Adds the lines FIRST to FIRST + COUNT - 1. */
static void add(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "line %08u, as long as one of them may well be\n", i);
        access_writer_add(writer, (struct slice){line, (size_t)length}, clock_mono());
    }
}

/* What is in the file at PATH; the caller frees it. */
static char *content(const char *path)
{
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    struct stat kind;
    ck_assert_int_eq(fstat(fileno(file), &kind), 0);
    char *text = calloc(1, (size_t)kind.st_size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t)kind.st_size, file), (size_t)kind.st_size);
    ck_assert_int_eq(fclose(file), 0);
    return text;
}

/* The number of the line at TEXT, which must be whole; *NEXT_ is the one behind it. */
static unsigned read_line(const char *text, const char **next_)
{
    static const char tail[] = ", as long as one of them may well be\n";
    char *end;
    ck_assert_msg(strncmp(text, "line ", 5) == 0, "torn: %.80s", text);
    unsigned long number = strtoul(text + 5, &end, 10);
    ck_assert_msg(end == text + 13 && strncmp(end, tail, sizeof tail - 1) == 0, "torn: %.80s", text);
    *next_ = end + sizeof tail - 1;
    return (unsigned)number;
}

/* How many lines TEXT has, all whole and in order, from FIRST on. */
static unsigned count_lines(const char *text, unsigned first)
{
    unsigned count = 0;
    for (; *text != '\0'; count++) {
        ck_assert_uint_eq(read_line(text, &text), first + count);
    }
    return count;
}

static void expect_lines(const char *path, unsigned first, unsigned count)
{
    mono_ns deadline = deadline_after_ms(clock_mono(), WAIT_MS);
    for (;;) {
        char *text = content(path);
        unsigned got = count_lines(text, first);
        free(text);
        if (got == count) {
            return;
        }
        ck_assert_msg(got < count && clock_mono() < deadline, "%u lines of %u", got, count);
        poll(NULL, 0, 5);
    }
}

static uint64_t dropped(void)
{
    struct access_counts counts;
    access_writer_count(writer, &counts);
    return counts.dropped;
}

START_TEST(lines_reach_the_file_by_themselves)
{
    direct(paths[0]);
    add(0, 1);
    expect_lines(paths[0], 0, 1);
    add(1, 500);
    expect_lines(paths[0], 0, 501);
    struct stat kind;
    ck_assert_int_eq(stat(paths[0], &kind), 0);
    ck_assert_uint_eq(kind.st_mode & 07137, 0);
    ck_assert_uint_eq(dropped(), 0);
}
END_TEST

START_TEST(a_stop_writes_what_waits)
{
    direct(paths[0]);
    add(0, 1000);
    access_writer_stop(writer);
    writer = NULL;
    expect_lines(paths[0], 0, 1000);
}
END_TEST

START_TEST(it_appends)
{
    direct(paths[0]);
    add(0, 5);
    expect_lines(paths[0], 0, 5);
    add(5, 5);
    access_writer_direct(writer, -1);
    expect_lines(paths[0], 0, 10); /* written before it was switched off */
    direct(paths[0]);
    add(10, 10);
    expect_lines(paths[0], 0, 20);
}
END_TEST

START_TEST(another_file_loses_nothing)
{
    direct(paths[0]);
    unsigned added = 0;
    for (int turn = 0; turn < 50; turn++) {
        add(added, 100);
        added += 100;
        direct(paths[turn % 2]);
    }
    access_writer_stop(writer);
    writer = NULL;
    unsigned lines = 0;
    for (int i = 0; i < 2; i++) {
        char *text = content(paths[i]);
        for (const char *c = text; *c != '\0'; c++) {
            lines += *c == '\n';
        }
        free(text);
    }
    ck_assert_uint_eq(lines, added);
}
END_TEST

START_TEST(what_a_full_disk_does_not_take_is_kept)
{
    direct("/dev/full");
    add(0, 1000);
    poll(NULL, 0, 200); /* it has tried meanwhile, most likely */
    direct(paths[0]);
    expect_lines(paths[0], 0, 1000);
    ck_assert_uint_eq(dropped(), 0);
}
END_TEST

START_TEST(a_stop_before_a_full_disk_counts_what_is_lost)
{
    direct("/dev/full");
    add(0, 1000);
    mono_ns begun = clock_mono();
    access_writer_stop(writer);
    writer = NULL;
    ck_assert_int_lt(clock_mono() - begun, 5 * NS_PER_S);
}
END_TEST

static int make_fifo(void)
{
    ck_assert_int_eq(mkfifo(paths[1], 0600), 0);
    ck_assert_int_eq(access_open(paths[1]), -1); /* a log that nobody can read is none */
    ck_assert_int_eq(errno, ENXIO);
    int reader = open(paths[1], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ne(reader, -1);
    return reader;
}

START_TEST(a_pipe_that_nobody_reads_holds_up_nobody)
{
    int reader = make_fifo();
    direct(paths[1]);
    unsigned added = 0;
    while (dropped() == 0) { /* 2 MiB and what is in the pipe */
        add(added, MANY / 10);
        added += MANY / 10;
        ck_assert_uint_lt(added, UINT64_C(100) * MANY);
    }
    uint64_t lost = dropped();
    struct access_counts counts;
    access_writer_count(writer, &counts);
    ck_assert_uint_eq(counts.lines + lost, added);

    /* Its reader goes away, in the middle of a line. Whoever comes next gets whole lines. */
    char some[1000];
    struct pollfd there = {.fd = reader, .events = POLLIN};
    ck_assert_int_eq(poll(&there, 1, WAIT_MS), 1);
    ck_assert_int_eq(read(reader, some, sizeof some), sizeof some);
    close(reader);
    direct(paths[0]);
    mono_ns deadline = deadline_after_ms(clock_mono(), WAIT_MS);
    access_writer_stop(writer);
    writer = NULL;
    ck_assert_int_lt(clock_mono(), deadline);
    char *text = content(paths[0]);
    const char *next;
    unsigned first = read_line(text, &next);
    unsigned lines = count_lines(text, first);
    ck_assert_uint_gt(first, 0); /* some are in the pipe that is gone */
    ck_assert_uint_eq(first + lines, counts.lines);
    free(text);
}
END_TEST

/* The pipe ends in the middle of a line. The next file begins with that line, all of it. */
START_TEST(a_line_that_was_written_in_part_is_whole_in_the_next_file)
{
    int reader = make_fifo();
    add(0, 4000); /* more than the pipe holds, and less than a buffer: one write(2) fills it */
    direct(paths[1]);
    struct pollfd there = {.fd = reader, .events = POLLIN};
    ck_assert_int_eq(poll(&there, 1, WAIT_MS), 1);
    direct(paths[0]);
    access_writer_stop(writer);
    writer = NULL;
    static char piped[1 << 18];
    size_t length = 0;
    ssize_t got;
    while ((got = read(reader, piped + length, sizeof piped - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(reader);
    piped[length] = '\0';
    char *torn = strrchr(piped, '\n') + 1;
    ck_assert_msg(*torn != '\0', "no line was torn: this test shows nothing");
    *torn = '\0';
    unsigned lines = count_lines(piped, 0);
    char *text = content(paths[0]);
    ck_assert_uint_eq(lines + count_lines(text, lines), 4000);
    free(text);
}
END_TEST

START_TEST(a_stop_does_not_wait_for_a_reader)
{
    int reader = make_fifo();
    direct(paths[1]);
    add(0, MANY);
    mono_ns begun = clock_mono();
    access_writer_stop(writer);
    writer = NULL;
    ck_assert_int_lt(clock_mono() - begun, 5 * NS_PER_S);
    close(reader);
}
END_TEST

START_TEST(a_reader_that_comes_back_gets_lines_again)
{
    int reader = make_fifo();
    direct(paths[1]);
    add(0, 1);
    close(reader);
    add(1, 1); /* it may be that one of the two, or both, went to the reader that is gone */
    poll(NULL, 0, 200);
    reader = open(paths[1], O_RDONLY | O_CLOEXEC);
    ck_assert_int_ne(reader, -1);
    add(2, 1);
    char text[256] = "";
    size_t length = 0;
    while (strstr(text, "line 00000002") == NULL) {
        ssize_t got = read(reader, text + length, sizeof text - 1 - length);
        ck_assert_int_gt(got, 0);
        length += (size_t)got;
    }
    close(reader);
}
END_TEST

enum { THREADS = 8, EACH = 5000 };

static void *add_many(void *unused)
{
    add(0, EACH);
    return unused;
}

START_TEST(lines_of_8_threads_never_mix)
{
    pthread_t threads[THREADS];
    direct(paths[0]);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        if (i == THREADS / 2) {
            direct(paths[1]);
        }
    }
    struct access_counts counts;
    access_writer_count(writer, &counts);
    ck_assert_uint_eq(counts.lines + counts.dropped, (uint64_t)THREADS * EACH);
    access_writer_stop(writer);
    writer = NULL;
    uint64_t lines = 0;
    for (int i = 0; i < 2; i++) {
        char *text = content(paths[i]);
        for (const char *line = text; *line != '\0'; lines++) {
            ck_assert_uint_lt(read_line(line, &line), EACH);
        }
        free(text);
    }
    ck_assert_uint_eq(lines, counts.lines);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("access_writer");
    tcase_add_checked_fixture(tests, begin, end);
    tcase_set_timeout(tests, 10);
    tcase_add_test(tests, lines_reach_the_file_by_themselves);
    tcase_add_test(tests, a_stop_writes_what_waits);
    tcase_add_test(tests, it_appends);
    tcase_add_test(tests, another_file_loses_nothing);
    tcase_add_test(tests, what_a_full_disk_does_not_take_is_kept);
    tcase_add_test(tests, a_stop_before_a_full_disk_counts_what_is_lost);
    tcase_add_test(tests, a_pipe_that_nobody_reads_holds_up_nobody);
    tcase_add_test(tests, a_line_that_was_written_in_part_is_whole_in_the_next_file);
    tcase_add_test(tests, a_stop_does_not_wait_for_a_reader);
    tcase_add_test(tests, a_reader_that_comes_back_gets_lines_again);
    tcase_add_test(tests, lines_of_8_threads_never_mix);
    Suite *suite = suite_create("access_writer");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
