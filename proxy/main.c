/* SPDX-License-Identifier: MIT
 * The program: options, signals, start and stop. */
#include "common/clock.h"
#include "common/log.h"
#include "common/panic.h"
#include "proxy/options.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { EXIT_CLEAN = 0, EXIT_RUN_TIME = 1, EXIT_USAGE = 2 };
enum { TIDY_MS = 100 };

/* The command line, and what came of it at the start. */
struct command {
    int argc;
    char **argv;
    struct options options;
};

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

/* sigtimedwait(2) until a point in time. 0 when that has passed. */
static int next_signal(const sigset_t *waited, mono_ns until)
{
    mono_ns now = clock_mono(), rest = until > now ? until - now : 0;
    struct timespec wait = {.tv_sec = rest / NS_PER_S, .tv_nsec = rest % NS_PER_S};
    int caught = sigtimedwait(waited, NULL, until == DEADLINE_NO ? NULL : &wait);
    MUST(caught > 0 || errno == EAGAIN || errno == EINTR);
    return caught > 0 ? caught : 0;
}

/* Waits for a signal. 0 when UNTIL has passed. While TIDY is false old plans wait to be freed: then it looks
 * after them meanwhile. */
static int wait_for_signal(const sigset_t *waited, struct running_proxy *running, bool *tidy, mono_ns until)
{
    for (;;) {
        if (clock_mono() >= until) {
            return 0;
        }
        mono_ns tidy_at = *tidy ? DEADLINE_NO : deadline_after_ms(clock_mono(), TIDY_MS);
        int caught = next_signal(waited, deadline_earlier(tidy_at, until));
        if (caught > 0) {
            return caught;
        }
        *tidy = *tidy || proxy_tidy(running);
    }
}

/* Puts the config file as it is now in force. */
static void reload(struct command *command, struct running_proxy *running)
{
    static struct options options; /* large, as in main() */
    struct config_error wrong;
    struct proxy_error error;
    if (command->options.config_path == NULL) {
        plog(CONFIG_LOG_WARN, "nothing to reload: there is no config file, see --config");
    } else if (!options_read_again(command->argc, command->argv, &options, &wrong)) {
        plog(CONFIG_LOG_ERROR, "config not reloaded, the old one stays in force: %s", wrong.text);
    } else if (!proxy_reload(running, &options.config, &error)) {
        plog(CONFIG_LOG_ERROR, "config not reloaded, the old one stays in force: %s", error.text);
    }
}

/* Serves until a signal says to stop, or until UNTIL. */
static void serve(struct command *command, struct running_proxy *running, const sigset_t *waited,
                  mono_ns until)
{
    bool tidy = false;
    for (;;) {
        switch (wait_for_signal(waited, running, &tidy, until)) {
        case SIGHUP:
            reload(command, running);
            tidy = false;
            break;
        case SIGUSR1:
            proxy_reopen_log(running);
            break;
        default:
            return;
        }
    }
}

int main(int argc, char **argv)
{
    static struct command command; /* large: not on the stack */
    command.argc = argc;
    command.argv = argv;
    switch (options_read(argc, argv, &command.options, stdout, stderr)) {
    case OPTIONS_EXIT_OK:
        return EXIT_CLEAN;
    case OPTIONS_EXIT_USAGE:
        return EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    sigset_t waited;
    block_signals(&waited);
    plog_configure(command.options.config.log_level, command.options.config.log_format);
    struct proxy_error error;
    struct running_proxy *running = proxy_start(&command.options.config, &error);
    if (running == NULL) {
        fprintf(stderr, "holdfast: %s\n", error.text);
        return EXIT_RUN_TIME;
    }
    serve(&command, running, &waited, DEADLINE_NO);
    serve(&command, running, &waited, proxy_leave(running));
    proxy_stop(running);
    plog(CONFIG_LOG_INFO, "stopped");
    return EXIT_CLEAN;
}
