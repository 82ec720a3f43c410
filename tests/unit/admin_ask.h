/* SPDX-License-Identifier: MIT
 * Admin requests without sockets, for the tests: two backends, gcp and azure, and what is asked of them. */
#ifndef HOLDFAST_TESTS_UNIT_ADMIN_ASK_H
#define HOLDFAST_TESTS_UNIT_ADMIN_ASK_H

#include "common/clock.h"
#include "healthd/admin.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config config;
static struct plan *plan;
static struct admin_gauges gauges;
static struct admin_context context;

static inline void give_gauges(void *owner, struct admin_gauges *gauges_)
{
    *gauges_ = *(struct admin_gauges *)owner;
}

static inline void set_up(void)
{
    config = (struct config){.backend_count = 2, .health = {.eject_after = 10}};
    snprintf(config.backends[0].name, sizeof config.backends[0].name, "gcp");
    snprintf(config.backends[0].url, sizeof config.backends[0].url, "http://10.0.0.1:80");
    snprintf(config.backends[1].name, sizeof config.backends[1].name, "azure");
    snprintf(config.backends[1].url, sizeof config.backends[1].url, "http://10.0.0.2:80");
    plan = plan_make(&config, NULL, 0);
    ck_assert_ptr_nonnull(plan);
    gauges = (struct admin_gauges){.workers_total = 256, .ready = true};
    context = (struct admin_context){
        .plan = plan,
        .ledger = ledger_new(2, &(struct ledger_policy){.eject_after = 10}),
        .evidence = evidence_new(2),
        .traffic = traffic_new(1),
        .gauges = give_gauges,
        .owner = &gauges,
        .started_ns = clock_mono() - 12500 * NS_PER_MS,
    };
}

static inline void tear_down(void)
{
    ledger_delete(context.ledger);
    evidence_delete(context.evidence);
    traffic_delete(context.traffic);
    plan_delete(plan);
}

/* Sends METHOD TARGET with AUTHORIZATION (NULL for none) and expects STATUS and a JSON object, which the
 * caller frees. *RESPONSE_ (NULL: not wanted) is the response; its body is freed already. */
static inline json_t *ask(const char *method, const char *target, const char *authorization, int status,
                          struct admin_response *response_)
{
    struct admin_request request = {.method = slice_of(method),
                                    .target = slice_of(target),
                                    .authorization = slice_of(authorization)};
    struct admin_response response;
    admin_answer(&context, &request, &response);
    ck_assert_msg(response.status == status, "%s %s: %d, expected %d", method, target, response.status,
                  status);
    ck_assert_str_eq(response.content_type, "application/json");
    ck_assert_ptr_nonnull(response.body);
    ck_assert_uint_eq(response.body_bytes, strlen(response.body));
    json_t *json = json_loadb(response.body, response.body_bytes, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(json), "%s", response.body);
    free(response.body);
    if (response_ != NULL) {
        *response_ = response;
        response_->body = NULL;
    }
    return json;
}

/* The same where only status and the error's name matter. */
static inline void expect_error(const char *method, const char *target, int status, const char *name)
{
    json_t *json = ask(method, target, NULL, status, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json, "error")), name);
    ck_assert_ptr_nonnull(json_string_value(json_object_get(json, "reason")));
    json_decref(json);
}

/* The value at PATH, keys and array positions separated by '.', of JSON. */
static inline const json_t *at(const json_t *json, const char *path)
{
    char copy[128];
    char *rest;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *key = strtok_r(copy, ".", &rest); key != NULL; key = strtok_r(NULL, ".", &rest)) {
        json =
            json_is_array(json) ? json_array_get(json, strtoul(key, NULL, 10)) : json_object_get(json, key);
    }
    ck_assert_msg(json != NULL, "nothing at %s", path);
    return json;
}

static inline json_int_t count_at(const json_t *json, const char *path)
{
    ck_assert_msg(json_is_integer(at(json, path)), "%s is not an integer", path);
    return json_integer_value(at(json, path));
}

static inline const char *text_at(const json_t *json, const char *path)
{
    ck_assert_msg(json_is_string(at(json, path)), "%s is not a string", path);
    return json_string_value(at(json, path));
}

/* Fails unless GOT has the keys of WANT, in the same order, and values of the same types, all the way down.
 */
static inline void expect_shape(json_t *want, json_t *got, const char *path)
{
    if (json_is_number(want)) {
        ck_assert_msg(json_is_number(got), "%s is not a number", path);
        return;
    }
    ck_assert_msg(json_is_boolean(want) ? json_is_boolean(got) : json_typeof(want) == json_typeof(got),
                  "%s has another type", path);
    char below[256];
    if (json_is_array(want)) {
        ck_assert_uint_eq(json_array_size(got), json_array_size(want));
        for (size_t i = 0; i < json_array_size(want); i++) {
            snprintf(below, sizeof below, "%.200s.%zu", path, i);
            expect_shape(json_array_get(want, i), json_array_get(got, i), below);
        }
    }
    if (json_is_object(want)) {
        ck_assert_msg(json_object_size(want) == json_object_size(got), "%s has more or fewer keys", path);
        void *a = json_object_iter(want), *b = json_object_iter(got);
        for (; a != NULL; a = json_object_iter_next(want, a), b = json_object_iter_next(got, b)) {
            ck_assert_str_eq(json_object_iter_key(b), json_object_iter_key(a));
            snprintf(below, sizeof below, "%.150s.%.80s", path, json_object_iter_key(a));
            expect_shape(json_object_iter_value(a), json_object_iter_value(b), below);
        }
    }
}

static inline void attempt(uint32_t backend, enum attempt_end end, unsigned status, int64_t latency_ns)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(context.ledger, backend, false, &ticket));
    bool failure = end != ATTEMPT_ANSWERED || status != 200;
    ledger_end(context.ledger, &ticket,
               &(struct attempt_outcome){
                   .end = end, .status = status, .failure = failure, .latency_ns = latency_ns});
}

static inline void eject(uint32_t backend)
{
    for (int i = 0; i < 11; i++) {
        attempt(backend, ATTEMPT_ANSWERED, 500, NS_PER_MS);
    }
}

#endif
