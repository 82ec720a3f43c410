/* SPDX-License-Identifier: MIT
 * Routing of admin requests. One table names every path and what may be done there. A request passes, in this
 * order: the token (or, where there is none, whence it comes), the path, the method, the query; the first
 * that does not fit answers. Errors are JSON in one form,
 * {"error": name for programs, "reason": sentence for people}, with a list of what would have been right
 * where there is one; but who asks for the page without the token gets the page, for it asks for the token.
 * What the client sent is never echoed. */
#include "healthd/admin.h"

#include "common/log.h"
#include "healthd/admin_origin.h"
#include "healthd/json_text.h"
#include "healthd/metrics.h"
#include "healthd/page.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What a request says beside its path; slices, still percent-encoded. */
struct call {
    struct slice name; /* what stands for NAME in the path */
    struct slice query;
};

/* What may be done at a path. */
struct route {
    const char *path;  /* NAME in it stands for a backend's name */
    const char *allow; /* "GET, HEAD" or "POST" */
    bool open;         /* no token is asked for: for load balancers and orchestrators */
    void (*answer)(const struct admin_context *context, const struct call *call,
                   struct admin_response *response_);
};

/* Makes *RESPONSE_ one of STATUS with BODY, JSON text. BODY NULL stands for no memory. */
static void respond_text(int status, char *body, struct admin_response *response_)
{
    *response_ = (struct admin_response){
        .status = body == NULL ? 503 : status,
        .content_type = "application/json",
        .body = body,
        .body_bytes = body == NULL ? 0 : strlen(body),
    };
}

/* The same with a JSON value, which is freed. */
static void respond(int status, json_t *root, struct admin_response *response_)
{
    respond_text(status, json_text(root), response_);
}

void admin_refuse(int status, const char *name, const char *reason, struct admin_response *response_)
{
    respond(status, json_pack("{s:s, s:s}", "error", name, "reason", reason), response_);
}

/* The value of the hex digit C, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes percent-encoding (RFC 3986, 2.1): writes what fits of TEXT into the ROOM bytes at PLAIN and its
 * whole length, which may be more than ROOM, to *LENGTH_. False when a '%' is not followed by two hex digits.
 */
static bool percent_decode(struct slice text, char *plain, size_t room, size_t *length_)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        if (c == '%') {
            int high = i + 2 < text.length ? hex_value(text.at[i + 1]) : -1;
            int low = i + 2 < text.length ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (length < room) {
            plain[length] = c;
        }
        length++;
    }
    *length_ = length;
    return true;
}

/* Cuts TEXT at the first SEPARATOR: what stands before it is returned, *REST_ is what stands behind it, empty
 * when there is none. */
static struct slice cut(struct slice text, char separator, struct slice *rest_)
{
    const char *found = text.length == 0 ? NULL : memchr(text.at, separator, text.length);
    if (found == NULL) {
        *rest_ = (struct slice){0};
        return text;
    }
    size_t before = (size_t)(found - text.at);
    *rest_ = (struct slice){.at = found + 1, .length = text.length - before - 1};
    return (struct slice){.at = text.at, .length = before};
}

/* 404, naming the backends that there are. */
static void refuse_backend(const struct plan *plan, struct admin_response *response_)
{
    json_t *names = json_array();
    for (size_t i = 0; i < plan->config.backend_count; i++) {
        if (json_array_append_new(names, json_string(plan->config.backends[i].name)) != 0) {
            json_decref(names);
            names = NULL;
            break;
        }
    }
    json_t *root = json_pack("{s:s, s:s, s:o}", "error", "unknown_backend", "reason",
                             "no backend has this name", "known_backends", names);
    respond(404, root, response_);
}

/* The backend called NAME, still percent-encoded, as *BACKEND_. False with *RESPONSE_ made when there is
 * none. */
static bool find_backend(const struct plan *plan, struct slice name, uint32_t *backend_,
                         struct admin_response *response_)
{
    char plain[CONFIG_NAME_BYTES];
    size_t length;
    if (!percent_decode(name, plain, sizeof plain, &length)) {
        admin_refuse(400, "bad_escape", "a % is not followed by two hex digits", response_);
        return false;
    }
    for (uint32_t i = 0; i < plan->config.backend_count && length < sizeof plain; i++) {
        if (slice_equal((struct slice){.at = plain, .length = length},
                        slice_of(plan->config.backends[i].name))) {
            *backend_ = plan->slots[i];
            return true;
        }
    }
    refuse_backend(plan, response_);
    return false;
}

/* Whether TEXT, still percent-encoded, is WORD, which is short. */
static bool is_word(struct slice text, struct slice word)
{
    char plain[16];
    size_t length;
    return percent_decode(text, plain, sizeof plain, &length) && length <= sizeof plain &&
           slice_equal((struct slice){.at = plain, .length = length}, word);
}

/* Reads the query of a reset: *ONE_ tells whether it names a backend, *BACKEND_ which. A misspelt key is
 * refused, for to ignore it would reset everything. False with *RESPONSE_ made when it is not understood. */
static bool read_reset_query(const struct plan *plan, struct slice query, bool *one_, uint32_t *backend_,
                             struct admin_response *response_)
{
    *one_ = false;
    while (query.length > 0) {
        struct slice value;
        struct slice key = cut(cut(query, '&', &query), '=', &value);
        if (key.length == 0 && value.length == 0) {
            continue;
        }
        if (!is_word(key, SLICE("backend"))) {
            admin_refuse(400, "unknown_key", "the query may hold backend=NAME and nothing else", response_);
            return false;
        }
        if (*one_) {
            admin_refuse(400, "repeated_key", "backend may be given once; leave it out to reset all",
                         response_);
            return false;
        }
        if (!find_backend(plan, value, backend_, response_)) {
            return false;
        }
        *one_ = true;
    }
    return true;
}

static void answer_stats(const struct admin_context *context, const struct call *call,
                         struct admin_response *response_)
{
    bool evidence = false;
    struct slice query = call->query;
    while (query.length > 0) {
        struct slice value;
        struct slice key = cut(cut(query, '&', &query), '=', &value);
        evidence = evidence || (is_word(key, SLICE("evidence")) && is_word(value, SLICE("1")));
    }
    respond_text(200, stats_json(context, evidence), response_);
}

static void answer_metrics(const struct admin_context *context, const struct call *call,
                           struct admin_response *response_)
{
    (void)call;
    respond_text(200, metrics_text(context), response_);
    response_->content_type = METRICS_CONTENT_TYPE;
}

/* Puts the page in the place of *RESPONSE_'s body. */
static void put_page(struct admin_response *response_)
{
    free(response_->body);
    response_->body = malloc(page_html_bytes);
    if (response_->body == NULL) {
        respond_text(503, NULL, response_);
        return;
    }
    memcpy(response_->body, page_html, page_html_bytes);
    response_->body_bytes = page_html_bytes;
    response_->content_type = PAGE_CONTENT_TYPE;
    response_->fields = page_fields;
}

static void answer_page(const struct admin_context *context, const struct call *call,
                        struct admin_response *response_)
{
    (void)context;
    (void)call;
    *response_ = (struct admin_response){.status = 200};
    put_page(response_);
}

static void answer_reset(const struct admin_context *context, const struct call *call,
                         struct admin_response *response_)
{
    bool one;
    uint32_t backend = 0;
    if (!read_reset_query(context->plan, call->query, &one, &backend, response_)) {
        return;
    }
    uint64_t slots = one ? UINT64_C(1) << backend : context->plan->members;
    for (uint64_t rest = slots; rest != 0; rest &= rest - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        evidence_reset(context->evidence, slot, ledger_reset(context->ledger, slot));
    }
    if (!one) {
        traffic_reset(context->traffic);
    }
    struct slice name = one ? slice_of(plan_backend(context->plan, backend)->name) : SLICE("all");
    plog_pairs(CONFIG_LOG_INFO, "counts reset by an admin request",
               (const struct plog_pair[]){{.key = "backend", .value = name}, {.key = NULL}});
    answer_stats(context, call, response_);
}

static void set_drain(const struct admin_context *context, struct slice name, bool drain,
                      struct admin_response *response_)
{
    uint32_t backend;
    if (!find_backend(context->plan, name, &backend, response_)) {
        return;
    }
    ledger_drain(context->ledger, backend, drain);
    plog_pairs(CONFIG_LOG_INFO,
               drain ? "backend drains by an admin request" : "backend drains no more by an admin request",
               (const struct plog_pair[]){{.key = "backend",
                                           .value = slice_of(plan_backend(context->plan, backend)->name)},
                                          {.key = NULL}});
    respond_text(200, stats_backend_json(context, backend), response_);
}

static void answer_drain(const struct admin_context *context, const struct call *call,
                         struct admin_response *response_)
{
    set_drain(context, call->name, true, response_);
}

static void answer_undrain(const struct admin_context *context, const struct call *call,
                           struct admin_response *response_)
{
    set_drain(context, call->name, false, response_);
}

/* What a drill's query asks for. */
struct drill_query {
    bool has_backend, has_mode, has_status, has_ms;
    bool off;
    uint32_t backend;
    struct drill_order order;
};

/* Reads VALUE, still percent-encoded, as a number from MIN to MAX. */
static bool read_number(struct slice value, uint64_t min, uint64_t max, uint64_t *number_)
{
    char plain[16];
    size_t length;
    if (!percent_decode(value, plain, sizeof plain, &length) || length >= sizeof plain) {
        return false;
    }
    plain[length] = '\0';
    return strlen(plain) == length && config_parse_number(plain, min, max, number_);
}

static bool read_mode(struct slice value, struct drill_query *q)
{
    q->off = is_word(value, SLICE("off"));
    for (int i = 0; i < DRILL_MODES && !q->off; i++) {
        q->order.mode = (enum drill_mode)i;
        if (is_word(value, slice_of(drill_mode_name(q->order.mode)))) {
            return true;
        }
    }
    return q->off;
}

/* Reads one KEY=VALUE of a drill's query into Q. Returns NULL, or why not: the name of the error, with its
 * sentence in *REASON_; for an unknown backend *RESPONSE_ is made already, and the sentence is NULL. */
static const char *read_drill_key(const struct plan *plan, struct slice key, struct slice value,
                                  struct drill_query *q, const char **reason_,
                                  struct admin_response *response_)
{
    uint64_t number = 0;
    bool *seen = is_word(key, SLICE("backend"))  ? &q->has_backend
                 : is_word(key, SLICE("mode"))   ? &q->has_mode
                 : is_word(key, SLICE("status")) ? &q->has_status
                 : is_word(key, SLICE("for_ms")) ? &q->has_ms
                                                 : NULL;
    *reason_ = "the query may hold backend, mode, status and for_ms, each once";
    if (seen == NULL || *seen) {
        return seen == NULL ? "unknown_key" : "repeated_key";
    }
    *seen = true;
    if (seen == &q->has_backend) {
        *reason_ = NULL;
        return find_backend(plan, value, &q->backend, response_) ? NULL : "unknown_backend";
    }
    if (seen == &q->has_mode) {
        *reason_ = "mode is refuse, blackhole, reset, truncate, status or off";
        return read_mode(value, q) ? NULL : "bad_mode";
    }
    if (seen == &q->has_status) {
        *reason_ = "status is a number from 400 to 599";
        bool good = read_number(value, DRILL_STATUS_MIN, DRILL_STATUS_MAX, &number);
        q->order.status = (unsigned)number;
        return good ? NULL : "bad_status";
    }
    *reason_ = "for_ms is a number from 1 to 3600000";
    bool good = read_number(value, 1, DRILL_MS_MAX, &number);
    q->order.for_ms = (uint32_t)number;
    return good ? NULL : "bad_for_ms";
}

/* Reads the whole query of a drill. False with *RESPONSE_ made when it is not understood. */
static bool read_drill_query(const struct plan *plan, struct slice query, struct drill_query *q,
                             struct admin_response *response_)
{
    const char *wrong = NULL, *reason = NULL;
    *q = (struct drill_query){.order = {.status = 503, .for_ms = 30000}};
    while (query.length > 0 && wrong == NULL) {
        struct slice value;
        struct slice key = cut(cut(query, '&', &query), '=', &value);
        if (key.length + value.length > 0) {
            wrong = read_drill_key(plan, key, value, q, &reason, response_);
        }
    }
    if (wrong == NULL && (!q->has_backend || !q->has_mode)) {
        wrong = q->has_backend ? "mode_missing" : "backend_missing";
        reason = "say backend=NAME and mode=refuse, blackhole, reset, truncate, status or off";
    } else if (wrong == NULL && q->has_status && (q->off || q->order.mode != DRILL_STATUS)) {
        wrong = "needless_status";
        reason = "status is only for mode=status";
    } else if (wrong == NULL && q->has_ms && q->off) {
        wrong = "needless_for_ms";
        reason = "mode=off ends a drill at once: leave out for_ms";
    }
    if (wrong != NULL && reason != NULL) {
        admin_refuse(400, wrong, reason, response_);
    }
    return wrong == NULL;
}

static void answer_drill(const struct admin_context *context, const struct call *call,
                         struct admin_response *response_)
{
    struct drill_query q;
    if (context->drills == NULL) {
        admin_refuse(403, "drill_off", "drills are off: set the key admin.drill to true and restart",
                     response_);
        return;
    }
    if (!read_drill_query(context->plan, call->query, &q, response_)) {
        return;
    }
    const char *name = plan_backend(context->plan, q.backend)->name;
    if (q.off) {
        drill_end(context->drills, q.backend);
        respond_text(200, stats_backend_json(context, q.backend), response_);
        return;
    }
    memcpy(q.order.name, name, strlen(name) + 1);
    if (drill_begin(context->drills, q.backend, &q.order) != 0) {
        admin_refuse(503, "no_means", "no descriptor or memory for a drill; nothing was begun", response_);
        return;
    }
    plog_pairs(CONFIG_LOG_WARN, "drill begins by an admin request: requests do not reach the backend",
               (const struct plog_pair[]){{.key = "backend", .value = slice_of(name)},
                                          {.key = "mode", .value = slice_of(drill_mode_name(q.order.mode))},
                                          {.key = NULL}});
    respond_text(200, stats_backend_json(context, q.backend), response_);
}

static void answer_healthz(const struct admin_context *context, const struct call *call,
                           struct admin_response *response_)
{
    (void)context;
    (void)call;
    respond(200, json_pack("{s:s}", "status", "ok"), response_);
}

static void answer_readyz(const struct admin_context *context, const struct call *call,
                          struct admin_response *response_)
{
    (void)call;
    struct admin_gauges gauges = {0};
    context->gauges(context->owner, &gauges);
    respond(gauges.ready ? 200 : 503, json_pack("{s:s}", "status", gauges.ready ? "ready" : "draining"),
            response_);
}

static const struct route routes[] = {
    {.path = "/admin/stats", .allow = "GET, HEAD", .answer = answer_stats},
    {.path = "/admin/reset", .allow = "POST", .answer = answer_reset},
    {.path = "/admin/healthz", .allow = "GET, HEAD", .open = true, .answer = answer_healthz},
    {.path = "/admin/readyz", .allow = "GET, HEAD", .open = true, .answer = answer_readyz},
    {.path = "/admin/backends/NAME/drain", .allow = "POST", .answer = answer_drain},
    {.path = "/admin/backends/NAME/undrain", .allow = "POST", .answer = answer_undrain},
    {.path = "/admin/drill", .allow = "POST", .answer = answer_drill},
    {.path = "/metrics", .allow = "GET, HEAD", .answer = answer_metrics},
    {.path = "/", .allow = "GET, HEAD", .answer = answer_page},
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

/* Whether PATH is PATTERN, with one segment for the NAME in it, if there is one; *NAME_ is that. */
static bool path_fits(struct slice path, const char *pattern, struct slice *name_)
{
    const char *hole = strstr(pattern, "NAME");
    if (hole == NULL) {
        return slice_equal(path, slice_of(pattern));
    }
    size_t before = (size_t)(hole - pattern);
    struct slice tail = slice_of(hole + strlen("NAME"));
    if (path.length <= before + tail.length || memcmp(path.at, pattern, before) != 0) {
        return false;
    }
    size_t length = path.length - before - tail.length;
    *name_ = (struct slice){.at = path.at + before, .length = length};
    return memchr(name_->at, '/', length) == NULL &&
           slice_equal((struct slice){.at = name_->at + length, .length = tail.length}, tail);
}

static const struct route *find_route(struct slice path, struct slice *name_)
{
    for (size_t i = 0; i < ROUTES; i++) {
        if (path_fits(path, routes[i].path, name_)) {
            return &routes[i];
        }
    }
    return NULL;
}

/* Whether METHOD stands in ALLOW. Methods are case-sensitive (RFC 9110, 9.1). */
static bool is_allowed(const char *allow, struct slice method)
{
    if (strcmp(allow, "POST") == 0) {
        return slice_equal(method, SLICE("POST"));
    }
    return slice_equal(method, SLICE("GET")) || slice_equal(method, SLICE("HEAD"));
}

/* Whether GIVEN is EXPECTED. Looks at every byte of GIVEN whatever it holds, so that the time it takes tells
 * nobody how much of a guess was right; volatile keeps the compiler from leaving the loop early. */
static bool token_equal(struct slice given, const char *expected)
{
    size_t expected_bytes = strlen(expected);
    volatile size_t difference = given.length ^ expected_bytes;
    for (size_t i = 0; i < given.length; i++) {
        size_t at = i < expected_bytes ? i : 0;
        difference = difference | (size_t)(unsigned char)(given.at[i] ^ expected[at]);
    }
    return difference == 0;
}

/* Checks the token (RFC 6750, 2.1). False with *RESPONSE_ made when it is missing or wrong. */
static bool is_authorized(const char *token, struct slice authorization, struct admin_response *response_)
{
    struct slice given;
    struct slice scheme = cut(authorization, ' ', &given);
    while (given.length > 0 && given.at[0] == ' ') {
        given = (struct slice){.at = given.at + 1, .length = given.length - 1};
    }
    if (!slice_equal_nocase(scheme, SLICE("Bearer")) || given.length == 0) {
        admin_refuse(401, "token_missing", "send the admin token as \"Authorization: Bearer TOKEN\"",
                     response_);
        response_->www_authenticate = "Bearer realm=\"holdfast\"";
        return false;
    }
    if (!token_equal(given, token)) {
        admin_refuse(401, "token_wrong", "this is not the admin token", response_);
        response_->www_authenticate = "Bearer realm=\"holdfast\", error=\"invalid_token\"";
        return false;
    }
    return true;
}

/* Refuses what a web page in a browser on this machine may have sent. False with *RESPONSE_ made. */
static bool comes_from_near(const char *listen, const struct admin_request *request,
                            struct admin_response *response_)
{
    if (!admin_host_is_near(request->host, listen)) {
        admin_refuse(
            403, "foreign_host",
            "without a token, Host must be localhost, an address of loopback or that of admin.listen",
            response_);
        return false;
    }
    if (!admin_origin_is_own(request->origin, request->host)) {
        admin_refuse(403, "foreign_origin", "without a token, no other web page may ask", response_);
        return false;
    }
    return true;
}

/* 404, naming the paths that there are. */
static void refuse_path(struct admin_response *response_)
{
    json_t *paths = json_array();
    for (size_t i = 0; i < ROUTES; i++) {
        if (json_array_append_new(paths, json_string(routes[i].path)) != 0) {
            json_decref(paths);
            paths = NULL;
            break;
        }
    }
    json_t *root = json_pack("{s:s, s:s, s:o}", "error", "unknown_path", "reason",
                             "there is nothing at this path", "known_paths", paths);
    respond(404, root, response_);
}

void admin_answer(const struct admin_context *context, const struct admin_request *request,
                  struct admin_response *response_)
{
    struct call call = {.name = {0}};
    struct slice path = cut(request->target, '?', &call.query);
    const struct route *route = find_route(path, &call.name);
    bool open = route != NULL && route->open;
    if (!open && context->token != NULL &&
        !is_authorized(context->token, request->authorization, response_)) {
        /* A browser can't send the token with the address that somebody types. So the refusal shows it the
         * page, which is the same for everybody; it asks for the token, and then for the stats with it. */
        if (route != NULL && route->answer == answer_page && is_allowed(route->allow, request->method)) {
            put_page(response_);
        }
        return;
    }
    if (!open && context->token == NULL &&
        !comes_from_near(context->plan->config.admin.listen.host, request, response_)) {
        return;
    }
    if (route == NULL) {
        refuse_path(response_);
        return;
    }
    if (!is_allowed(route->allow, request->method)) {
        admin_refuse(405, "method_not_allowed", "this path does not take that method; see Allow", response_);
        response_->allow = route->allow;
        return;
    }
    route->answer(context, &call, response_);
}
