/* SPDX-License-Identifier: MIT
 * One table has all options: getopt_long's input, the help page and the suggestions for misspelt ones are
 * made from it, and ranges and defaults come from the table of configuration keys. The line is first only
 * scanned and its values remembered; then the config file is read; then the values are set over it. So an
 * option overrides the file on whichever side of --config it stands. */
#include "proxy/options.h"

#include "common/config_key.h"
#include "common/panic.h"
#include "common/slice.h"
#include "common/suggest.h"

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

enum option_id { LISTEN, ADMIN, BACKEND, CONFIG, EJECT_AFTER, WORKERS, CHECK, VERSION, HELP, OPTION_COUNT };

enum {
    NO_LETTER = 256, /* plus the id: what getopt_long returns for an option without a letter */
    HELP_COLUMN = 29,
};

struct option_row {
    const char *name;
    const char *argument; /* as shown; NULL for none */
    const char *key;      /* the configuration key that it sets, or NULL */
    const char *help;     /* lines separated by '\n' */
    char letter;          /* 0 for none */
};

static const struct option_row rows[OPTION_COUNT] = {
    [LISTEN] = {.name = "listen",
                .letter = 'l',
                .argument = "ADDR:PORT",
                .key = "listen",
                .help = "where clients connect: IPv4, [IPv6],\nor :PORT for all addresses"},
    [ADMIN] = {.name = "admin",
               .letter = 'a',
               .argument = "ADDR:PORT|off",
               .key = "admin.listen",
               .help = "where the admin endpoint listens, or \"off\""},
    [BACKEND] =
        {.name = "backend",
         .letter = 'b',
         .argument = "[NAME=]URL",
         .help = "a backend: http://host[:port] or host:port;\nrepeat it for more; together they replace\n"
                 "the backends of the config file\n(default none)"},
    [CONFIG] = {.name = "config",
                .letter = 'c',
                .argument = "FILE",
                .help = "read this JSON file first; options override it\n(default none)"},
    [EJECT_AFTER] = {.name = "eject-after",
                     .letter = 'n',
                     .argument = "N",
                     .key = "health.eject_after",
                     .help = "eject a backend with more than N failures"},
    [WORKERS] = {.name = "workers",
                 .letter = 'w',
                 .argument = "N",
                 .key = "workers",
                 .help = "size of the fixed pool of worker threads"},
    [CHECK] = {.name = "check", .help = "check options and config file, print\n\"config ok\" and exit"},
    [VERSION] = {.name = "version", .letter = 'V', .help = "print the version and exit"},
    [HELP] = {.name = "help", .letter = 'h', .help = "print this page and exit"},
};

/* What the line said, not yet judged. */
struct line {
    const char *value[OPTION_COUNT]; /* the last of each option; NULL when not given */
    const char *backends[CONFIG_BACKENDS_MAX];
    size_t backend_count;
};

/* A new line of the help page's right column. */
static void print_line(FILE *out)
{
    fprintf(out, "\n%*s", HELP_COLUMN, "");
}

/* The last line of an option's help: range and default of its KEY. */
static void print_default(FILE *out, const struct config_key *key)
{
    print_line(out);
    if (key->kind == CONFIG_KIND_NUMBER)
        fprintf(out, "%" PRIu64 " to %" PRIu64 " ", key->min, key->max);
    fprintf(out, "(default %s)", key->fallback);
}

static void print_help(FILE *out)
{
    fputs("Usage: holdfast [OPTION]...\n"
          "\n"
          "An HTTP/1.1 front end that goes on answering while backends fail.\n"
          "\n"
          "Options:\n",
          out);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &rows[i];
        char letter[] = {'-', row->letter, ',', ' ', '\0'};
        int column = fprintf(out, "  %s--%s%s%s", row->letter == 0 ? "    " : letter, row->name,
                             row->argument == NULL ? "" : " ", row->argument == NULL ? "" : row->argument);
        fprintf(out, "%*s", HELP_COLUMN - column, "");
        for (const char *c = row->help; *c != '\0'; c++) {
            if (*c == '\n')
                print_line(out);
            else
                fputc(*c, out);
        }
        if (row->key != NULL)
            print_default(out, config_key_find(row->key));
        fputc('\n', out);
    }
    fputs("\n"
          "At least one backend must be named, by --backend or in the config file.\n"
          "\n"
          "Exit status: 0 clean stop, 1 failure at run time, 2 wrong usage or config.\n"
          "\n"
          "Examples:\n"
          "  holdfast -l :8080 -b gcp=http://10.0.0.1 -b azure=http://10.0.0.2:8000\n"
          "  holdfast --config /etc/holdfast/holdfast.json --check\n",
          out);
}

/* The option that getopt_long means by CODE, or OPTION_COUNT. */
static size_t find_row(int code)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (code == (rows[i].letter == 0 ? NO_LETTER + (int)i : rows[i].letter))
            return i;
    }
    return OPTION_COUNT;
}

/* Reports WRITTEN, which began with "--" and is no option, or the beginning of more than one. */
static void refuse_long(const char *written, struct config_error *error_)
{
    char mend[SUGGEST_MEND_BYTES];
    struct slice known[OPTION_COUNT], begun[OPTION_COUNT];
    struct slice name = {.at = written + 2, .length = strcspn(written + 2, "=")};
    size_t begun_count = 0;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        known[i] = slice_of(rows[i].name);
        if (strncmp(rows[i].name, name.at, name.length) == 0)
            begun[begun_count++] = known[i];
    }
    int length = (int)name.length;
    if (begun_count > 1 && name.length > 0) {
        /* No word is near the empty one: this lists all. */
        suggest_mend((struct slice){.length = 0}, begun, begun_count, "--", "", mend);
        config_error_set(error_, "holdfast: --%.*s: ambiguous option, %s", length, name.at, mend);
    } else {
        suggest_mend(name, known, OPTION_COUNT, "--", "", mend);
        config_error_set(error_, "holdfast: --%.*s: unknown option, %s", length, name.at, mend);
    }
}

/* Reports what getopt_long refused with CODE ('?' or ':'); WRITTEN is the last argument that it was done
 * with. */
static void refuse_option(int code, const char *written, struct config_error *error_)
{
    size_t id = find_row(optopt);
    if (optopt == 0)
        refuse_long(written, error_);
    else if (id == OPTION_COUNT)
        config_error_set(error_, "holdfast: -%c: unknown option, expected one of those of holdfast --help",
                         isprint(optopt) ? optopt : '?');
    else if (code == ':')
        config_error_set(error_, "holdfast: --%s: has no value, expected --%s %s", rows[id].name,
                         rows[id].name, rows[id].argument);
    else
        config_error_set(error_, "holdfast: --%s: takes no value, expected --%s alone", rows[id].name,
                         rows[id].name);
}

/* Scans the whole line into *LINE_, or up to --help or --version, which end it. False with *ERROR_ on the
 * first thing that is no option. */
static bool scan(int argc, char **argv, struct line *line_, struct config_error *error_)
{
    struct option long_options[OPTION_COUNT + 1] = {{.name = NULL}};
    char letters[2 + 2 * OPTION_COUNT + 1] =
        "+:"; /* stop at a stray argument; tell a missing value from the unknown */
    size_t used = 2;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        bool takes = rows[i].argument != NULL;
        long_options[i] = (struct option){.name = rows[i].name,
                                          .has_arg = takes ? required_argument : no_argument,
                                          .val = rows[i].letter == 0 ? NO_LETTER + (int)i : rows[i].letter};
        if (rows[i].letter != 0)
            letters[used++] = rows[i].letter;
        if (rows[i].letter != 0 && takes)
            letters[used++] = ':';
    }
    optind = 0; /* glibc's and musl's way to say: a new line, from its beginning */
    opterr = 0;
    for (;;) {
        optopt = 0;
        int code = getopt_long(argc, argv, letters, long_options, NULL);
        if (code == -1)
            break;
        size_t id = find_row(code);
        if (id == OPTION_COUNT) {
            refuse_option(code, argv[optind - 1], error_);
            return false;
        }
        line_->value[id] = optarg == NULL ? "" : optarg;
        if (id == HELP || id == VERSION)
            return true;
        if (id != BACKEND)
            continue;
        if (line_->backend_count == CONFIG_BACKENDS_MAX) {
            config_error_set(error_,
                             "holdfast: --backend: \"%s\" is one too many, expected at most %d backends",
                             optarg, CONFIG_BACKENDS_MAX);
            return false;
        }
        line_->backends[line_->backend_count++] = optarg;
    }
    if (optind < argc) {
        config_error_set(error_,
                         "holdfast: \"%s\": stray argument, expected only options, see holdfast --help",
                         argv[optind]);
        return false;
    }
    return true;
}

/* Sets the option ID's key in C from TEXT. */
static bool set_key(struct config *c, size_t id, const char *text, struct config_error *error_)
{
    char expected[CONFIG_EXPECTED_BYTES];
    const struct config_key *key = config_key_find(rows[id].key);
    MUST(key != NULL);
    if (config_key_set(key, c, text, expected))
        return true;
    if (key->kind == CONFIG_KIND_NUMBER)
        config_error_set(error_, "holdfast: --%s: \"%s\" is not a number from %" PRIu64 " to %" PRIu64,
                         rows[id].name, text, key->min, key->max);
    else
        config_error_set(error_, "holdfast: --%s: \"%s\" is wrong, %s", rows[id].name, text, expected);
    return false;
}

/* Sets what LINE says over what C holds. */
static bool set_all(struct config *c, const struct line *line, struct config_error *error_)
{
    const char *why = "";
    for (size_t id = 0; id < OPTION_COUNT; id++) {
        if (line->value[id] != NULL && rows[id].key != NULL && !set_key(c, id, line->value[id], error_))
            return false;
    }
    if (line->backend_count > 0)
        c->backend_count = 0;
    for (size_t i = 0; i < line->backend_count; i++) {
        if (!config_add_backend(c, line->backends[i], &why)) {
            config_error_set(error_, "holdfast: --backend: \"%s\" is wrong, %s", line->backends[i], why);
            return false;
        }
    }
    return true;
}

/* Where an error of the whole configuration is: in the file, unless the line itself chose the admin address.
 */
static bool check_whole(const struct options *o, bool admin_given, struct config_error *error_)
{
    char place[CONFIG_PATH_BYTES + 8];
    if (o->config_path == NULL || admin_given)
        return config_check(&o->config, "holdfast", error_);
    snprintf(place, sizeof(place), "%s:1:1", o->config_path);
    return config_check(&o->config, place, error_);
}

/* Fills *OPTIONS_ from the defaults, the file that LINE names, and LINE. */
static bool load(const struct line *line, struct options *options_, struct config_error *error_)
{
    options_->config_path = line->value[CONFIG];
    options_->check_only = line->value[CHECK] != NULL;
    config_defaults(&options_->config);
    return (options_->config_path == NULL ||
            config_read_file(&options_->config, options_->config_path, error_)) &&
           set_all(&options_->config, line, error_) &&
           check_whole(options_, line->value[ADMIN] != NULL, error_);
}

bool options_read_again(int argc, char **argv, struct options *options_, struct config_error *error_)
{
    struct line line = {.backend_count = 0};
    return scan(argc, argv, &line, error_) && load(&line, options_, error_);
}

enum options_result options_read(int argc, char **argv, struct options *options_, FILE *out, FILE *err)
{
    struct line line = {.backend_count = 0};
    struct config_error error;
    if (!scan(argc, argv, &line, &error)) {
        fprintf(err, "%s\n", error.text);
        return OPTIONS_EXIT_USAGE;
    }
    if (line.value[HELP] != NULL || line.value[VERSION] != NULL) {
        if (line.value[HELP] != NULL)
            print_help(out);
        else
            fputs("holdfast " HOLDFAST_VERSION "\n", out);
        return OPTIONS_EXIT_OK;
    }
    if (!load(&line, options_, &error)) {
        fprintf(err, "%s\n", error.text);
        return OPTIONS_EXIT_USAGE;
    }
    if (!options_->check_only)
        return OPTIONS_RUN;
    fputs("config ok\n", out);
    return OPTIONS_EXIT_OK;
}
