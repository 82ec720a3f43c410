/* SPDX-License-Identifier: MIT
 * The configuration: what the program was told, checked and with every default filled in. Read from JSON with
 * jansson; this module's .c files are the only ones that know the syntax. */
#ifndef HOLDFAST_COMMON_CONFIG_H
#define HOLDFAST_COMMON_CONFIG_H

#include "common/cidr.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_BACKENDS_MAX = 64,   /* so that a set of backends is one 64-bit word */
    CONFIG_NAME_BYTES = 64,     /* a backend's name, the final NUL included */
    CONFIG_HOST_BYTES = 256,    /* a host name or address, the final NUL included (RFC 1035, 2.3.4) */
    CONFIG_PATH_BYTES = 4096,   /* a file name, the final NUL included */
    CONFIG_USER_BYTES = 256,    /* a name of a user of the system, the final NUL included */
    CONFIG_URL_BYTES = 384,     /* a backend's URL as shown, the final NUL included */
    CONFIG_TARGET_BYTES = 1024, /* the path of a probe, the final NUL included */
    CONFIG_FIELD_BYTES = 64,    /* the name of a header field, the final NUL included */
};

/* What a number is that is null. */
#define CONFIG_NO_NUMBER UINT32_MAX

/* host:port. HOST "" stands for all addresses (IPv6 and IPv4). Brackets of IPv6 addresses are not part of
 * HOST. */
struct config_address {
    char host[CONFIG_HOST_BYTES];
    uint16_t port;
};

enum config_failure { CONFIG_FAILURE_NON_200, CONFIG_FAILURE_NON_2XX, CONFIG_FAILURE_5XX };
enum config_blame { CONFIG_BLAME_EVERY, CONFIG_BLAME_SECOND_OPINION };
enum config_readmit { CONFIG_READMIT_MANUAL, CONFIG_READMIT_PROBE };
enum config_methods { CONFIG_METHODS_ALL, CONFIG_METHODS_IDEMPOTENT };
enum config_balance {
    CONFIG_BALANCE_ROUND_ROBIN,
    CONFIG_BALANCE_LEAST_IN_FLIGHT,
    CONFIG_BALANCE_TWO_CHOICES,
    CONFIG_BALANCE_HASH,
};
enum config_log_level { CONFIG_LOG_ERROR, CONFIG_LOG_WARN, CONFIG_LOG_INFO, CONFIG_LOG_DEBUG };
enum config_log_format { CONFIG_LOG_LOGFMT, CONFIG_LOG_JSON };

struct config_backend {
    char name[CONFIG_NAME_BYTES]; /* unique; letters, digits, '-', '_', '.' */
    char url[CONFIG_URL_BYTES];   /* "http://host:port", as shown in the stats */
    struct config_address address;
    uint32_t weight;        /* 1 to 256 */
    uint32_t max_in_flight; /* 0: no limit */
};

struct config {
    struct config_address listen;
    uint32_t workers;
    char user[CONFIG_USER_BYTES];    /* "" for none: whoever starts it */
    struct cidr_set trusted_proxies; /* peers that may name the client in fields of a request */
    bool proxy_protocol;             /* each connection begins with a PROXY header */
    uint32_t drain_grace_ms;         /* 0: draining begins at once */
    uint32_t drain_ms;
    struct {
        bool enabled; /* false: "off" */
        struct config_address listen;
        char token_file[CONFIG_PATH_BYTES]; /* "" for none */
        bool drill;                         /* operators may let backends fail on purpose */
    } admin;
    size_t backend_count;
    struct config_backend backends[CONFIG_BACKENDS_MAX];
    enum config_balance balance;
    char hash_on[CONFIG_FIELD_BYTES]; /* with balance "hash": a field's name; "" for the client's address */
    uint32_t resolve_ms;              /* host names of backends are looked up again so often */
    struct {
        enum config_failure failure;
        enum config_blame blame;
        uint32_t eject_after;
        uint32_t window_ms; /* 0: failures count until a reset */
        enum config_readmit readmit;
        uint32_t slow_start_ms; /* 0: a backend that comes back has its full weight at once */
        struct {
            char path[CONFIG_TARGET_BYTES]; /* "" for none */
            uint32_t interval_ms, timeout_ms;
            uint32_t rise, fall;
        } probe;
    } health;
    struct {
        uint32_t attempts; /* 0: every backend at most once */
        enum config_methods methods;
        uint32_t hold_bytes;
        uint32_t hold_ms;
        uint32_t budget_percent; /* retries may be this share of the requests; or CONFIG_NO_NUMBER */
    } retry;
    struct {
        uint32_t connect_ms, response_ms, request_ms, queue_ms;
        uint32_t connect_hedge_ms; /* 0: a connect that hangs is waited for alone */
        uint32_t client_header_ms, client_body_ms, client_idle_ms, client_write_ms;
        uint32_t tunnel_idle_ms;
    } timeouts;
    struct {
        uint32_t header_bytes;
        uint64_t body_bytes;
        uint32_t connections;
        uint32_t connections_per_client; /* 0: no limit */
        uint32_t body_bytes_per_second;  /* 0: no minimum rate */
        uint32_t tunnels;
    } limits;
    char access_log[CONFIG_PATH_BYTES]; /* a file name, "-" for standard output, "" for none: "off" */
    enum config_log_level log_level;
    enum config_log_format log_format;
};

/* One line for people, without a final newline: "FILE:LINE:COL: what is wrong, what was expected" or
 * "--option: what is wrong, what was expected". */
struct config_error {
    char text[1024];
};

/* Writes *ERROR_ as printf does. Control characters, which may come from a file or an argument, become '?':
 * the error stays one line. */
void config_error_set(struct config_error *error_, const char *format, ...) printf_like(2, 3);

/* Fills C with every default of docs/configuration.md: no backend. */
void config_defaults(struct config *c);

/* Reads the JSON file at PATH over what C holds (keys that are absent keep C's values; a "backends" array
 * replaces C's). Returns true, or false with *ERROR_ filled and C in an unspecified state. Refused, with the
 * place: unreadable file, JSON syntax, a key given twice, an unknown key (names the nearest known key), a
 * wrong type, a number outside its range, a text that is none of the allowed ones, a backend without url or
 * with a name used twice. */
must_check bool config_read_file(struct config *c, const char *path, struct config_error *error_);

/* The same from LENGTH bytes at TEXT; NAME stands for the file name in errors. */
must_check bool config_read_text(struct config *c, const char *text, size_t length, const char *name,
                                 struct config_error *error_);

/* Checks what only the whole can tell: at least one backend; an admin address that is not loopback needs a
 * token file. PLACE begins the error line: the file's name or "holdfast". */
must_check bool config_check(const struct config *c, const char *place, struct config_error *error_);

/* Parses "ADDR:PORT", "[IPv6]:PORT" or ":PORT" into *ADDRESS_. False with *WHY_ set to a static sentence part
 * ("expected ADDR:PORT, [IPv6]:PORT or :PORT"). */
must_check bool config_parse_address(const char *text, struct config_address *address_, const char **why_);

/* Parses a backend's place, "http://host[:port][/]" or "host:port", into *BACKEND_'s address and url
 * (normalised to http://host:port, brackets around IPv6). Its name and weight are not touched. False with
 * *WHY_ set as above; https and a path are refused by name. */
must_check bool config_parse_backend_url(const char *text, struct config_backend *backend_,
                                         const char **why_);

/* Parses a backend's name: 1 to CONFIG_NAME_BYTES - 1 letters, digits, '-', '_' and '.'. False with *WHY_ set
 * as above. */
must_check bool config_parse_name(const char *text, char name_[static CONFIG_NAME_BYTES], const char **why_);

/* Adds one backend to C from the command line's [NAME=]URL; without a name it is called backendN, N its
 * position from 1. False with *WHY_ set as above (a bad URL, a bad or repeated name, more than
 * CONFIG_BACKENDS_MAX). */
must_check bool config_add_backend(struct config *c, const char *text, const char **why_);

/* Parses TEXT as a whole decimal number of MIN to MAX. False when it is anything else. */
must_check bool config_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number_);

#endif
