/* SPDX-License-Identifier: MIT
 * The log as it comes out of standard error, which is a pipe in packet mode here (O_DIRECT, pipe(2)): each
 * read gives what one write(2) wrote, so that a line written in two pieces would show. */
#include "common/log.h"

#include <check.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

enum { LINE_BYTES = 2048, STAMP_BYTES = sizeof "1994-11-06T08:49:37.123Z" - 1 };

static int ends[2] = {-1, -1}; /* of the pipe that is standard error */
static int real_stderr = -1;

static void capture(void)
{
    ck_assert_int_eq(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
    real_stderr = dup(STDERR_FILENO);
    ck_assert_int_ne(dup2(ends[1], STDERR_FILENO), -1);
}

static void end_capture(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(ends[0]);
    close(ends[1]);
    plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
}

/* What the next write wrote, as text without its newline; "" for nothing. */
static const char *next_line(void)
{
    static char line[4 * LINE_BYTES];
    ssize_t got = read(ends[0], line, sizeof line - 1);
    if (got <= 0) {
        return "";
    }
    ck_assert_int_le(got, LINE_BYTES);
    ck_assert_int_eq(line[got - 1], '\n');
    line[got - 1] = '\0';
    ck_assert_msg(strlen(line) == (size_t)got - 1, "a NUL in a line");
    ck_assert_msg(strchr(line, '\n') == NULL, "two lines in one");
    return line;
}

/* The next line, which is logfmt, behind its time. */
static const char *next_behind_time(void)
{
    const char *line = next_line();
    ck_assert_int_eq(strncmp(line, "time=", 5), 0);
    ck_assert_int_eq(line[5 + STAMP_BYTES], ' ');
    return line + 5 + STAMP_BYTES + 1;
}

START_TEST(info_and_logfmt_until_configured)
{
    plog(CONFIG_LOG_INFO, "listening on %s, %d workers", "[::]:80", 256);
    ck_assert_str_eq(next_behind_time(), "level=info msg=\"listening on [::]:80, 256 workers\"");
    plog(CONFIG_LOG_DEBUG, "not shown");
    ck_assert_str_eq(next_line(), "");
}
END_TEST

START_TEST(levels_are_a_ladder)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int configured = 0; configured < ROWS(names); configured++) {
        plog_configure((enum config_log_level)configured, CONFIG_LOG_LOGFMT);
        for (int level = 0; level < ROWS(names); level++) {
            char want[64];
            snprintf(want, sizeof want, "level=%s msg=x", names[level]);
            ck_assert(plog_enabled((enum config_log_level)level) == (level <= configured));
            plog((enum config_log_level)level, "x");
            if (level <= configured) {
                ck_assert_str_eq(next_behind_time(), want);
            }
            plog_pairs((enum config_log_level)level, "x", NULL);
            if (level <= configured) {
                ck_assert_str_eq(next_behind_time(), want);
            }
            ck_assert_str_eq(next_line(), "");
        }
    }
}
END_TEST

START_TEST(time_is_now)
{
    struct timespec before, after; /* time(2) goes by a coarser clock, which may be behind */
    clock_gettime(CLOCK_REALTIME, &before);
    plog(CONFIG_LOG_INFO, "x");
    clock_gettime(CLOCK_REALTIME, &after);
    const char *line = next_line();
    struct tm t;
    ck_assert_ptr_nonnull(strptime(line, "time=%Y-%m-%dT%H:%M:%S.", &t));
    time_t stamp = timegm(&t);
    ck_assert_int_ge(stamp, before.tv_sec);
    ck_assert_int_le(stamp, after.tv_sec);
}
END_TEST

static const struct {
    const char *rule;
    struct slice value;
    const char *logfmt;
    const char *json; /* between the quotes */
} values[] = {
    {"a plain word stands bare", RAW("gcp-1.a:80/x?y&z"), "gcp-1.a:80/x?y&z", "gcp-1.a:80/x?y&z"},
    {"nothing is shown", RAW(""), "\"\"", ""},
    {"a space", RAW("a b"), "\"a b\"", "a b"},
    {"= would begin a pair", RAW("a=b"), "\"a=b\"", "a=b"},
    {"a quote", RAW("a\"b"), "\"a\\\"b\"", "a\\\"b"},
    {"a backslash", RAW("a\\nb"), "\"a\\\\nb\"", "a\\\\nb"},
    {"a newline can't begin a line", RAW("a\ntime=1 level=error"), "\"a\\x0atime=1 level=error\"",
     "a\\u000atime=1 level=error"},
    {"nor a CR", RAW("a\rb"), "\"a\\x0db\"", "a\\u000db"},
    {"a NUL does not end the value", RAW("a\0b"), "\"a\\x00b\"", "a\\u0000b"},
    {"an escape sequence reaches no terminal", RAW("\x1b[2J"), "\"\\x1b[2J\"", "\\u001b[2J"},
    {"DEL", RAW("\x7f"), "\"\\x7f\"", "\\u007f"},
    {"a byte that is not ASCII", RAW("\x80\xff"), "\"\\x80\\xff\"", "\\u0080\\u00ff"},
    {"a tab", RAW("\t"), "\"\\x09\"", "\\u0009"},
};

START_TEST(escapes_values)
{
    const struct plog_pair pairs[] = {{"one", values[_i].value}, {"two", SLICE("2")}, {NULL, {NULL, 0}}};
    char want[256];
    plog_pairs(CONFIG_LOG_WARN, "msg", pairs);
    snprintf(want, sizeof want, "level=warn msg=msg one=%s two=2", values[_i].logfmt);
    ck_assert_msg(strcmp(next_behind_time(), want) == 0, "%s", values[_i].rule);

    plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_JSON);
    plog_pairs(CONFIG_LOG_WARN, "msg", pairs);
    const char *line = next_line();
    ck_assert_int_eq(strncmp(line, "{\"time\":\"", 9), 0);
    snprintf(want, sizeof want, "\",\"level\":\"warn\",\"msg\":\"msg\",\"one\":\"%s\",\"two\":\"2\"}",
             values[_i].json);
    ck_assert_msg(strcmp(line + 9 + STAMP_BYTES, want) == 0, "%s: %s", values[_i].rule, line);
}
END_TEST

/* Parses a JSON line, which must have KEY as a text. */
static json_t *parse(const char *line, const char *key)
{
    json_error_t error;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    ck_assert_msg(json != NULL, "%s: a line of %zu bytes that ends in %s", error.text, strlen(line),
                  line + (strlen(line) > 40 ? strlen(line) - 40 : 0));
    ck_assert_msg(json_is_string(json_object_get(json, key)), "no %s: %s", key, line);
    return json;
}

START_TEST(every_byte_comes_back_from_json)
{
    plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_JSON);
    for (int byte = 0; byte < 256; byte++) {
        const char raw[] = {'<', (char)byte, '>'};
        const struct plog_pair pairs[] = {{"v", {raw, 3}}, {NULL, {NULL, 0}}};
        plog_pairs(CONFIG_LOG_INFO, "m", pairs);
        json_t *json = parse(next_line(), "v");
        const char *text = json_string_value(json_object_get(json, "v"));
        /* A byte of 0x80 or more is shown as the code point of that number, 2 bytes in UTF-8. */
        ck_assert_uint_eq(json_string_length(json_object_get(json, "v")), byte < 0x80 ? 3 : 4);
        int shown = byte < 0x80 ? (unsigned char)text[1]
                                : ((unsigned char)text[1] & 0x1f) << 6 | ((unsigned char)text[2] & 0x3f);
        ck_assert_int_eq(shown, byte);
        json_decref(json);
    }
}
END_TEST

START_TEST(a_formatted_message_is_escaped_too)
{
    plog(CONFIG_LOG_INFO, "%s", "a\nb \"c\"");
    ck_assert_str_eq(next_behind_time(), "level=info msg=\"a\\x0ab \\\"c\\\"\"");
}
END_TEST

/* Bytes that need 1, 2, 4 and 6 bytes in the line, and mixtures, so that the cut falls on each place of an
 * escape. */
static const char *const fillers[] = {"x", "\"", "\\", "\n", "\x80", "x\"", "xx\"", "\n\"", "\\\nx", "x x"};

/* Whether TEXT, what stands between the quotes of a logfmt value, is made of whole bytes and whole escapes.
 */
static bool is_well_escaped(const char *text, const char *end)
{
    while (text < end) {
        if (*text == '"') {
            return false;
        }
        size_t length = 1;
        if (*text == '\\') {
            length = text[1] == 'x' ? 4 : 2;
        }
        if (length > (size_t)(end - text)) {
            return false;
        }
        text += length;
    }
    return true;
}

/* However long values are, a line is at most 2048 bytes and well-formed, and what it shows is a beginning. */
START_TEST(long_lines_are_cut_and_stay_well_formed)
{
    static char value[3000];
    size_t filler = strlen(fillers[_i]);
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = fillers[_i][i % filler];
    }
    for (size_t length = 200; length < 2100; length += 7) { /* 7: the cut falls on each place of an escape */
        const struct plog_pair pairs[] = {{"first", {value, length}},
                                          {"last", {value, 30}},
                                          {NULL, {NULL, 0}}};
        plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_JSON);
        plog_pairs(CONFIG_LOG_INFO, "m", pairs);
        json_decref(parse(next_line(), "first"));

        plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
        plog_pairs(CONFIG_LOG_INFO, "m", pairs);
        const char *first = strstr(next_behind_time(), "first=") + 6;
        const char *last = strstr(first, " last=");
        const char *end = last == NULL ? first + strlen(first) : last;
        if (*first == '"') {
            ck_assert_msg(end - first >= 2 && end[-1] == '"' && is_well_escaped(first + 1, end - 1),
                          "length %zu: ends in %s", length, end - 20);
        }
    }
}
END_TEST

START_TEST(what_a_cut_line_shows_is_a_beginning)
{
    static char value[3000];
    char shown[sizeof value];
    plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_JSON);
    for (size_t padding = 1; padding < 20; padding++) {
        memset(value, '\n', sizeof value);
        memset(value, 'p', padding);
        memset(value + sizeof value - 700, 'z', 700); /* short ones behind escapes that did not fit */
        const struct plog_pair pairs[] = {{"v", {value, sizeof value}}, {NULL, {NULL, 0}}};
        plog_pairs(CONFIG_LOG_INFO, "m", pairs);
        json_t *json = parse(next_line(), "v");
        const json_t *v = json_object_get(json, "v");
        size_t length = json_string_length(v);
        ck_assert_uint_gt(length, 300);
        memcpy(shown, json_string_value(v), length);
        ck_assert(memcmp(shown, value, length) == 0);
        json_decref(json);
    }
}
END_TEST

START_TEST(many_pairs_are_cut)
{
    struct plog_pair pairs[201];
    for (int i = 0; i < 200; i++) {
        pairs[i] = (struct plog_pair){"k", SLICE("a value")};
    }
    pairs[200] = (struct plog_pair){NULL, {NULL, 0}};
    plog_pairs(CONFIG_LOG_INFO, "m", pairs);
    ck_assert_int_gt((int)strlen(next_line()), LINE_BYTES - 100);
    plog_configure(CONFIG_LOG_INFO, CONFIG_LOG_JSON);
    plog_pairs(CONFIG_LOG_INFO, "m", pairs);
    const char *line = next_line();
    json_t *json = json_loads(line, 0, NULL);
    ck_assert_msg(json != NULL, "%s", line);
    json_decref(json);
}
END_TEST

START_TEST(a_lost_standard_error_is_borne)
{
    close(ends[0]);
    ends[0] = open("/dev/null", O_RDONLY);
    close(STDERR_FILENO);
    plog(CONFIG_LOG_ERROR, "nobody hears it");
    ck_assert_int_ne(dup2(ends[1], STDERR_FILENO), -1);
}
END_TEST

/* Stands for poll(2) in the whole program. While a thief is at work, the room that the first poll(2) found is
 * taken before it can be used, and there is some again when the second one is asked. */
static _Atomic int thefts = -1; /* polls since it began; -1: there is no thief */

int poll(struct pollfd *entries, nfds_t count, int wait_ms)
{
    int (*real)(struct pollfd *, nfds_t, int) = NULL;
    void *symbol = dlsym(RTLD_NEXT, "poll");
    memcpy(&real, &symbol, sizeof real);
    char dropped[LINE_BYTES];
    if (thefts == 1) {
        ck_assert_int_gt(read(ends[0], dropped, sizeof dropped), 0);
    }
    int ready = real(entries, count, wait_ms);
    if (thefts == 0) {
        while (write(ends[1], "stolen\n", 7) == 7) {
        }
    }
    if (thefts >= 0) {
        thefts++;
    }
    return ready;
}

START_TEST(who_finds_the_room_taken_waits_on)
{
    thefts = 0;
    plog(CONFIG_LOG_INFO, "x");
    ck_assert_int_eq(thefts, 2);
    thefts = -1;
    const char *line = next_line();
    while (strcmp(line, "stolen") == 0) {
        line = next_line();
    }
    ck_assert_msg(strstr(line, "level=info msg=x") != NULL, "the line is lost");
}
END_TEST

/* All lines of a round have room in the pipe, a page for each. With less, one that waits for longer than the
 * log's patience is lost, and on a busy machine it does. */
enum { THREADS = 8, ROUNDS = 8, PIPE_BYTES = 1 << 20 /* pipe(7): as much as everybody may have */ };

static int lines_each; /* of a thread, in a round */

static void *log_many(void *argument)
{
    char letter = *(const char *)argument;
    char value[1500];
    memset(value, letter, sizeof value);
    const struct plog_pair pairs[] = {{"v", {value, sizeof value}}, {NULL, {NULL, 0}}};
    for (int i = 0; i < lines_each; i++) {
        plog_pairs(CONFIG_LOG_INFO, "m", pairs);
    }
    return NULL;
}

START_TEST(lines_of_8_threads_never_mix)
{
    static char letters[] = "abcdefgh";
    pthread_t threads[THREADS];
    lines_each = fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) / (int)sysconf(_SC_PAGESIZE) / THREADS;
    ck_assert_int_ge(lines_each, 1);
    for (int round = 0; round < ROUNDS; round++) {
        int counts[THREADS] = {0};
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, &letters[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        }
        for (int i = 0; i < THREADS * lines_each; i++) {
            const char *value = strstr(next_behind_time(), " v=") + 3;
            ck_assert_uint_eq(strspn(value, (char[]){value[0], '\0'}), 1500);
            ck_assert_uint_eq(strlen(value), 1500);
            counts[value[0] - 'a']++;
        }
        ck_assert_str_eq(next_line(), "");
        for (int i = 0; i < THREADS; i++) {
            ck_assert_int_eq(counts[i], lines_each);
        }
    }
}
END_TEST

int main(void)
{
    TCase *log = tcase_create("log");
    tcase_add_checked_fixture(log, capture, end_capture);
    tcase_add_test(log, info_and_logfmt_until_configured);
    tcase_add_test(log, levels_are_a_ladder);
    tcase_add_test(log, time_is_now);
    tcase_add_loop_test(log, escapes_values, 0, ROWS(values));
    tcase_add_test(log, every_byte_comes_back_from_json);
    tcase_add_test(log, a_formatted_message_is_escaped_too);
    tcase_add_loop_test(log, long_lines_are_cut_and_stay_well_formed, 0, ROWS(fillers));
    tcase_add_test(log, what_a_cut_line_shows_is_a_beginning);
    tcase_add_test(log, many_pairs_are_cut);
    tcase_add_test(log, a_lost_standard_error_is_borne);
    tcase_add_test(log, who_finds_the_room_taken_waits_on);
    tcase_add_test(log, lines_of_8_threads_never_mix);
    Suite *suite = suite_create("log");
    suite_add_tcase(suite, log);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
