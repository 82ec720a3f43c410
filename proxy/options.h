/* SPDX-License-Identifier: MIT
 * The command line: options, --check, --help and --version. It ends in a whole, checked configuration. */
#ifndef HOLDFAST_PROXY_OPTIONS_H
#define HOLDFAST_PROXY_OPTIONS_H

#include "common/compiler.h"
#include "common/config.h"

#include <stdbool.h>
#include <stdio.h>

/* What the program shall do next. */
enum options_result {
    OPTIONS_RUN,        /* serve with options->config */
    OPTIONS_EXIT_OK,    /* exit 0: --help, --version or a good --check; all is said */
    OPTIONS_EXIT_USAGE, /* exit 2: one line that names the mend was written to ERR */
};

struct options {
    struct config config;    /* defaults, then the config file, then the options: the later wins */
    bool check_only;         /* --check was given */
    const char *config_path; /* --config FILE, one of ARGV's texts; NULL for none */
};

/* Reads ARGC and ARGV, as main() got them, into *OPTIONS_, and the config file that they name. Answers of
 * --help,
 * --version and --check go to OUT, the error line to ERR. Options override the config file wherever they
 * stand on the line; any
 * --backend replaces all backends of the file; of an option given twice, other than --backend, the last
 * holds. ARGV is left as it is. Not for two threads at once (getopt_long(3)). *OPTIONS_ is whole only with
 * OPTIONS_RUN. */
must_check enum options_result options_read(int argc, char **argv, struct options *options_, FILE *out,
                                            FILE *err);

/* Reads the config file once more, for a reload, into *OPTIONS_, and sets over it what ARGV says, the same
 * ARGV that options_read() took. False with *ERROR_, one line; *OPTIONS_ is then unspecified. Not for two
 * threads at once. */
must_check bool options_read_again(int argc, char **argv, struct options *options_,
                                   struct config_error *error_);

#endif
