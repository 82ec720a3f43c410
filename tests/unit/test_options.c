/* SPDX-License-Identifier: MIT
 * The command line: what each line ends in, and what it prints where. The help page and the man page name the
 * same options. */
#include "proxy/options.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALL_OPTIONS                                                                                          \
    "--listen, --admin, --backend, --config, --eject-after, --workers, --check, --version or --help"
#define NO_BACKEND "no backend, expected at least one: --backend URL or the key \"backends\"\n"
#define NUMBER_N   "a number from 0 to 1000000\n"
#define NUMBER_W   "a number from 1 to 4096\n"

enum { ARGUMENTS_MAX = 80, PRINTED_BYTES = 8192 };

/* What one call of options_read() did. */
struct outcome {
    enum options_result result;
    struct options options;
    char out[PRINTED_BYTES], err[PRINTED_BYTES];
};

static struct outcome got;
#define CONFIG_TEMPLATE "/tmp/holdfast-test-XXXXXX"
static char config_path[sizeof(CONFIG_TEMPLATE)];

/* Reads the ARGUMENTS, ended by NULL, into got. */
static void read_arguments(const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 2] = {(char *)"holdfast"};
    int argc = 1;
    for (; *arguments != NULL; arguments++) {
        ck_assert_int_le(argc, ARGUMENTS_MAX);
        argv[argc++] = (char *)*arguments;
    }
    memset(&got, 0, sizeof(got));
    FILE *out = fmemopen(got.out, sizeof(got.out), "w");
    FILE *err = fmemopen(got.err, sizeof(got.err), "w");
    ck_assert(out != NULL && err != NULL);
    got.result = options_read(argc, argv, &got.options, out, err);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_int_eq(fclose(err), 0);
}

#define READ(...) read_arguments((const char *const[]){__VA_ARGS__, NULL})

/* Makes the config file hold TEXT. */
static void write_config(const char *text)
{
    FILE *f = fopen(config_path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void make_config(void)
{
    memcpy(config_path, CONFIG_TEMPLATE, sizeof(CONFIG_TEMPLATE));
    int fd = mkstemp(config_path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
}

static void remove_config(void)
{
    ck_assert_int_eq(unlink(config_path), 0);
}

/* A line that is refused; ERROR is all that is printed, without "holdfast: ". */
struct wrong {
    const char *arguments[5];
    const char *error;
};

static const struct wrong wrongs[] = {
    {{NULL}, NO_BACKEND},
    {{"--check"}, NO_BACKEND},
    {{"--workers", "0"}, "--workers: \"0\" is not " NUMBER_W},
    {{"-w", "4097"}, "--workers: \"4097\" is not " NUMBER_W},
    {{"-w8x"}, "--workers: \"8x\" is not " NUMBER_W},
    {{"-w", ""}, "--workers: \"\" is not " NUMBER_W},
    {{"-w", "-1"}, "--workers: \"-1\" is not " NUMBER_W},
    {{"-w", "1.5"}, "--workers: \"1.5\" is not " NUMBER_W},
    {{"-w", "--check"}, "--workers: \"--check\" is not " NUMBER_W},
    {{"--workers=99999999999999999999"}, "--workers: \"99999999999999999999\" is not " NUMBER_W},
    {{"-n", "1000001"}, "--eject-after: \"1000001\" is not " NUMBER_N},
    {{"--eject-after", "ten"}, "--eject-after: \"ten\" is not " NUMBER_N},
    {{"-l", "80"}, "--listen: \"80\" is wrong, expected ADDR:PORT, [IPv6]:PORT or :PORT\n"},
    {{"-l", ":0"}, "--listen: \":0\" is wrong, expected a port from 1 to 65535\n"},
    {{"-l", ":65536"}, "--listen: \":65536\" is wrong, expected a port from 1 to 65535\n"},
    {{"-l", "::1:80"},
     "--listen: \"::1:80\" is wrong, expected brackets around the IPv6 address: [IPv6]:PORT\n"},
    {{"-l", "off"}, "--listen: \"off\" is wrong, expected ADDR:PORT, [IPv6]:PORT or :PORT\n"},
    {{"-a", "on"}, "--admin: \"on\" is wrong, expected ADDR:PORT, [IPv6]:PORT or :PORT, or \"off\"\n"},
    {{"-b", "https://h"},
     "--backend: \"https://h\" is wrong, expected http://, for https to backends is not supported\n"},
    {{"-b", "http://h/x"},
     "--backend: \"http://h/x\" is wrong, expected no path, query or fragment after host[:port]\n"},
    {{"-b", "http://u@h"},
     "--backend: \"http://u@h\" is wrong, expected no user name or password in the URL\n"},
    {{"-b", "h"}, "--backend: \"h\" is wrong, expected http://host[:port] or host:port\n"},
    {{"-b", "a=h:1", "-b", "a=h:2"},
     "--backend: \"a=h:2\" is wrong, expected a name that no other backend has\n"},
    {{"-b", "h:1\n2"}, "--backend: \"h:1?2\" is wrong, expected a port from 1 to 65535\n"},
    {{"-b", "h:1", "-a", "0.0.0.0:9"},
     "the admin address 0.0.0.0:9 is open to others without a token, expected --admin 127.0.0.1:9 or the key "
     "\"admin.token_file\"\n"},
    {{"--lissten", ":80"}, "--lissten: unknown option, did you mean --listen?\n"},
    {{"--lissten=:80"}, "--lissten: unknown option, did you mean --listen?\n"},
    {{"--eject_after=3"}, "--eject_after: unknown option, did you mean --eject-after?\n"},
    {{"--chekc"}, "--chekc: unknown option, did you mean --check?\n"},
    {{"--zzz"}, "--zzz: unknown option, expected " ALL_OPTIONS "\n"},
    {{"--c"}, "--c: ambiguous option, expected --config or --check\n"},
    {{"-x"}, "-x: unknown option, expected one of those of holdfast --help\n"},
    {{"-Vx"}, NULL}, /* -V ends the line */
    {{"-xV"}, "-x: unknown option, expected one of those of holdfast --help\n"},
    {{"-\xc3\xa4"}, "-?: unknown option, expected one of those of holdfast --help\n"},
    {{"-l"}, "--listen: has no value, expected --listen ADDR:PORT\n"},
    {{"--backend"}, "--backend: has no value, expected --backend [NAME=]URL\n"},
    {{"--config"}, "--config: has no value, expected --config FILE\n"},
    {{"--check=yes"}, "--check: takes no value, expected --check alone\n"},
    {{"--help=yes"}, "--help: takes no value, expected --help alone\n"},
    {{"config.json"}, "\"config.json\": stray argument, expected only options, see holdfast --help\n"},
    {{"-b", "h:1", "x"}, "\"x\": stray argument, expected only options, see holdfast --help\n"},
    {{"--", "-V"}, "\"-V\": stray argument, expected only options, see holdfast --help\n"},
    {{"-"}, "\"-\": stray argument, expected only options, see holdfast --help\n"},
};

START_TEST(a_wrong_line_is_refused_in_one_line)
{
    const struct wrong *row = &wrongs[_i];
    char wanted[512];
    read_arguments(row->arguments);
    if (row->error == NULL) {
        ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
        return;
    }
    snprintf(wanted, sizeof(wanted), "holdfast: %s", row->error);
    ck_assert_str_eq(got.err, wanted);
    ck_assert_str_eq(got.out, "");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_USAGE);
}
END_TEST

START_TEST(defaults_hold_where_nothing_is_said)
{
    READ("-b", "10.0.0.1:80");
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_str_eq(got.err, "");
    ck_assert_str_eq(got.out, "");
    ck_assert(!got.options.check_only);
    ck_assert_ptr_null(got.options.config_path);
    ck_assert_uint_eq(got.options.config.listen.port, 80);
    ck_assert_uint_eq(got.options.config.workers, 256);
    ck_assert_uint_eq(got.options.config.health.eject_after, 10);
    ck_assert_uint_eq(got.options.config.backend_count, 1);
    ck_assert_str_eq(got.options.config.backends[0].name, "backend1");
}
END_TEST

/* Every option with a value, in its long and in its short form. */
static const char *const full_lines[][13] = {
    {"--listen", "[::1]:8080", "--admin", "127.0.0.1:9", "--backend", "a=http://h", "--backend", "[::2]:81",
     "--eject-after", "0", "--workers=4096"},
    {"-l", "[::1]:8080", "-a127.0.0.1:9", "-b", "a=h:80", "-b", "http://[::2]:81/", "-n0", "-w", "4096"},
};

START_TEST(every_option_sets_its_key)
{
    read_arguments(full_lines[_i]);
    const struct config *c = &got.options.config;
    ck_assert_str_eq(got.err, "");
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_str_eq(c->listen.host, "::1");
    ck_assert_uint_eq(c->listen.port, 8080);
    ck_assert(c->admin.enabled);
    ck_assert_uint_eq(c->admin.listen.port, 9);
    ck_assert_uint_eq(c->backend_count, 2);
    ck_assert_str_eq(c->backends[0].name, "a");
    ck_assert_str_eq(c->backends[0].url, "http://h:80");
    ck_assert_str_eq(c->backends[1].name, "backend2");
    ck_assert_str_eq(c->backends[1].url, "http://[::2]:81");
    ck_assert_uint_eq(c->health.eject_after, 0);
    ck_assert_uint_eq(c->workers, 4096);
}
END_TEST

START_TEST(the_last_of_an_option_holds)
{
    READ("-b", "h:1", "-w", "1", "-w", "2", "-a", "127.0.0.1:9", "-a", "off");
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_uint_eq(got.options.config.workers, 2);
    ck_assert(!got.options.config.admin.enabled);
}
END_TEST

START_TEST(options_override_the_file_on_both_sides_of_it)
{
    write_config(
        "{\"workers\": 7, \"drain_ms\": 8, \"health\": {\"eject_after\": 9},\n"
        " \"backends\": [{\"name\": \"x\", \"url\": \"x:1\"}, {\"name\": \"y\", \"url\": \"y:1\"}]}");
    READ("-w", "70", "-c", config_path, "-n", "90");
    ck_assert_str_eq(got.err, "");
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_str_eq(got.options.config_path, config_path);
    ck_assert_uint_eq(got.options.config.workers, 70);
    ck_assert_uint_eq(got.options.config.drain_ms, 8);
    ck_assert_uint_eq(got.options.config.health.eject_after, 90);
    ck_assert_uint_eq(got.options.config.backend_count, 2);
    ck_assert_str_eq(got.options.config.backends[1].name, "y");
}
END_TEST

START_TEST(backends_of_the_line_replace_those_of_the_file)
{
    write_config("{\"backends\": [{\"name\": \"x\", \"url\": \"x:1\", \"weight\": 5}, {\"url\": \"y:1\"}]}");
    READ("-b", "x=z:1", "-c", config_path);
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_uint_eq(got.options.config.backend_count, 1);
    ck_assert_str_eq(got.options.config.backends[0].url, "http://z:1");
    ck_assert_uint_eq(got.options.config.backends[0].weight, 1);
}
END_TEST

START_TEST(there_is_room_for_64_backends_on_the_line)
{
    const char *arguments[CONFIG_BACKENDS_MAX + 2] = {NULL};
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++)
        arguments[i] = "-bh:1";
    read_arguments(arguments);
    ck_assert_int_eq(got.result, OPTIONS_RUN);
    ck_assert_uint_eq(got.options.config.backend_count, 64);
    arguments[CONFIG_BACKENDS_MAX] = "-bh:2";
    read_arguments(arguments);
    ck_assert_int_eq(got.result, OPTIONS_EXIT_USAGE);
    ck_assert_str_eq(got.err, "holdfast: --backend: \"h:2\" is one too many, expected at most 64 backends\n");
}
END_TEST

START_TEST(a_good_config_is_said_to_be_good)
{
    write_config("{\"backends\": [{\"url\": \"h:1\"}]}");
    READ("--check", "--config", config_path);
    ck_assert_str_eq(got.err, "");
    ck_assert_str_eq(got.out, "config ok\n");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
    READ("-b", "h:1", "--check");
    ck_assert_str_eq(got.out, "config ok\n");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
}
END_TEST

/* A config file, and what is printed after its name. */
static const struct {
    const char *text, *error;
} bad_files[] = {
    {"{\n  \"workers\": 0\n}", ":2:14: \"workers\" is 0, expected a whole number from 1 to 4096\n"},
    {"{", ":1:1: not valid JSON: string or '}' expected near end of file\n"},
    {"{}", ":1:1: " NO_BACKEND},
    {"{\"backends\": []}", ":1:1: " NO_BACKEND},
    {"{\"backends\": [{\"url\": \"h:1\"}], \"admin\": {\"listen\": \":9\"}}",
     ":1:1: the admin address :9 is open to others without a token, expected --admin 127.0.0.1:9 or the key "
     "\"admin.token_file\"\n"},
};

START_TEST(a_bad_config_is_refused_with_its_place)
{
    char wanted[512];
    write_config(bad_files[_i].text);
    snprintf(wanted, sizeof(wanted), "%s%s", config_path, bad_files[_i].error);
    READ("--check", "-c", config_path);
    ck_assert_str_eq(got.err, wanted);
    ck_assert_str_eq(got.out, "");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_USAGE);
}
END_TEST

START_TEST(what_the_line_says_is_not_laid_on_the_file)
{
    write_config("{\"backends\": [{\"url\": \"h:1\"}]}");
    READ("-c", config_path, "-a", ":9");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_USAGE);
    ck_assert_str_eq(got.err,
                     "holdfast: the admin address :9 is open to others without a token, expected --admin "
                     "127.0.0.1:9 or the key \"admin.token_file\"\n");
    READ("-c", "/nowhere/hf.json");
    ck_assert_str_eq(got.err,
                     "/nowhere/hf.json: can't be read (No such file or directory), expected a JSON file\n");
}
END_TEST

START_TEST(a_second_call_reads_the_same_line_again)
{
    char *argv[] = {(char *)"holdfast", (char *)"-w", (char *)"5", (char *)"-c", config_path, NULL};
    static struct options o;
    for (uint32_t i = 1; i <= 2; i++) {
        char text[128];
        snprintf(text, sizeof(text), "{\"drain_ms\": %u, \"backends\": [{\"url\": \"h:1\"}]}", i);
        write_config(text);
        ck_assert_int_eq(options_read(5, argv, &o, stdout, stderr), OPTIONS_RUN);
        ck_assert_uint_eq(o.config.workers, 5);
        ck_assert_uint_eq(o.config.drain_ms, i);
    }
    ck_assert_str_eq(argv[1], "-w");
    ck_assert_str_eq(argv[4], config_path);
}
END_TEST

START_TEST(the_version_is_printed)
{
    READ("--version");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
    ck_assert_str_eq(got.out, "holdfast " HOLDFAST_VERSION "\n");
    READ("-w", "bad value, not looked at", "-V");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
    ck_assert_str_eq(got.out, "holdfast " HOLDFAST_VERSION "\n");
    ck_assert_str_eq(got.err, "");
}
END_TEST

static const char *const long_options[] = {"listen",  "admin", "backend", "config", "eject-after",
                                           "workers", "check", "version", "help"};
enum { LONG_COUNT = sizeof(long_options) / sizeof(long_options[0]) };

/* How often WORD is in TEXT. */
static size_t occurrences(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        count++;
    return count;
}

START_TEST(the_help_fits_a_terminal_and_names_every_option_and_default)
{
    READ("-h");
    ck_assert_int_eq(got.result, OPTIONS_EXIT_OK);
    ck_assert_str_eq(got.err, "");
    for (const char *line = got.out; *line != '\0'; line += strcspn(line, "\n") + 1)
        ck_assert_msg(strcspn(line, "\n") <= 80, "too long: %.*s", (int)strcspn(line, "\n"), line);
    for (size_t i = 0; i < LONG_COUNT; i++) {
        char begin[64];
        snprintf(begin, sizeof(begin), "--%s ", long_options[i]);
        ck_assert_msg(strstr(got.out, begin) != NULL, "no %s", begin);
    }
    static const char *const defaults[] = {"(default :80)", "(default 127.0.0.1:8081)", "(default none)",
                                           "0 to 1000000 (default 10)", "1 to 4096 (default 256)"};
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        ck_assert_msg(strstr(got.out, defaults[i]) != NULL, "no %s", defaults[i]);
    ck_assert_uint_eq(occurrences(got.out, "\n  holdfast "), 2);
}
END_TEST

/* The options of the list above, of the program and of docs/holdfast.8 are the same. */
START_TEST(the_man_page_names_the_same_options)
{
    static const char self[] = "tests/unit/test_options.c";
    static const char page[] = "docs/holdfast.8";
    char path[] = __FILE__;
    _Static_assert(sizeof(self) >= sizeof(page), "the page's name must fit where this file's name was");
    char *tail = path + sizeof(path) - sizeof(self);
    ck_assert_str_eq(tail, self);
    memcpy(tail, page, sizeof(page));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s can't be opened", path);
    char text[16384] = "";
    size_t length = fread(text, 1, sizeof(text) - 1, f);
    ck_assert(feof(f) && length > 0);
    ck_assert_int_eq(fclose(f), 0);
    size_t items = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, ".It Fl ", 7) != 0)
            continue;
        ck_assert_uint_lt(items, LONG_COUNT);
        char *name = strstr(line, " -");
        ck_assert_ptr_nonnull(name);
        name += 2;
        name[strcspn(name, " ")] = '\0';
        ck_assert_str_eq(name, long_options[items++]);
    }
    ck_assert_uint_eq(items, LONG_COUNT);
    READ("--no-such-option");
    ck_assert_str_eq(got.err, "holdfast: --no-such-option: unknown option, expected " ALL_OPTIONS "\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("options");
    tcase_add_checked_fixture(tests, make_config, remove_config);
    tcase_add_loop_test(tests, a_wrong_line_is_refused_in_one_line, 0, sizeof(wrongs) / sizeof(wrongs[0]));
    tcase_add_test(tests, defaults_hold_where_nothing_is_said);
    tcase_add_loop_test(tests, every_option_sets_its_key, 0, 2);
    tcase_add_test(tests, the_last_of_an_option_holds);
    tcase_add_test(tests, options_override_the_file_on_both_sides_of_it);
    tcase_add_test(tests, backends_of_the_line_replace_those_of_the_file);
    tcase_add_test(tests, there_is_room_for_64_backends_on_the_line);
    tcase_add_test(tests, a_good_config_is_said_to_be_good);
    tcase_add_loop_test(tests, a_bad_config_is_refused_with_its_place, 0,
                        sizeof(bad_files) / sizeof(bad_files[0]));
    tcase_add_test(tests, what_the_line_says_is_not_laid_on_the_file);
    tcase_add_test(tests, a_second_call_reads_the_same_line_again);
    tcase_add_test(tests, the_version_is_printed);
    tcase_add_test(tests, the_help_fits_a_terminal_and_names_every_option_and_default);
    tcase_add_test(tests, the_man_page_names_the_same_options);
    Suite *suite = suite_create("options");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
