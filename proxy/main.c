/* SPDX-License-Identifier: MIT
 * The program: options, signals, start and stop. */
#include "common/log.h"
#include "common/panic.h"
#include "proxy/options.h"
#include "proxy/proxy.h"

#include <signal.h>
#include <stdio.h>

enum { EXIT_CLEAN = 0, EXIT_RUN_TIME = 1, EXIT_USAGE = 2 };

/* The signals that main waits for. They are blocked in every thread, so that none is interrupted by them. */
static void block_signals(sigset_t *waited_)
{
    sigemptyset(waited_);
    sigaddset(waited_, SIGTERM);
    sigaddset(waited_, SIGINT);
    sigaddset(waited_, SIGHUP);
    sigaddset(waited_, SIGUSR1);
    MUST_0(pthread_sigmask(SIG_BLOCK, waited_, NULL));
    MUST(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    MUST(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); /* write(2) says EFBIG instead: that body gets 503 */
}

int main(int argc, char **argv)
{
    static struct options options; /* large: not on the stack */
    switch (options_read(argc, argv, &options, stdout, stderr)) {
    case OPTIONS_EXIT_OK:
        return EXIT_CLEAN;
    case OPTIONS_EXIT_USAGE:
        return EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    sigset_t waited;
    block_signals(&waited);
    plog_configure(options.config.log_level, options.config.log_format);
    struct proxy_error error;
    struct running_proxy *running = proxy_start(&options.config, &error);
    if (running == NULL) {
        fprintf(stderr, "holdfast: %s\n", error.text);
        return EXIT_RUN_TIME;
    }
    int caught = 0;
    while (caught != SIGTERM && caught != SIGINT) {
        MUST_0(sigwait(&waited, &caught));
        if (caught == SIGHUP || caught == SIGUSR1) {
            plog(CONFIG_LOG_WARN, "signal ignored: nothing is reloaded or reopened yet");
        }
    }
    proxy_stop(running);
    plog(CONFIG_LOG_INFO, "stopped");
    return EXIT_CLEAN;
}
