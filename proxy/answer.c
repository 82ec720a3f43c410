/* SPDX-License-Identifier: MIT */
#include "proxy/answer.h"

#include "proxy/deliver.h"
#include "proxy/reply.h"

/* The name of C's backend in SLOT: of its newer plan, or of the one that it began with. */
static const char *name_of(const struct course *c, uint32_t slot)
{
    const struct plan *newer = c->attempt.plan;
    return plan_backend((newer->members >> slot & 1) != 0 ? newer : c->plan, slot)->name;
}

void answer_log_line(const struct course *c, unsigned status, uint32_t backend, uint64_t body_bytes,
                     enum access_end end)
{
    const struct identity *identity = &c->attempt.identity;
    struct access_entry entry = {
        .client = &c->client->peer,
        .request = c->request,
        .status = status,
        .backend = backend == ANSWER_OURS ? NULL : name_of(c, backend),
        .attempts = c->trial.attempts,
        .request_id = {identity->request_id, identity->request_id_length},
    };
    access_log_answer(&c->attempt.proxy->access_log, &entry, body_bytes, end, c->client->outbox);
}

static bool is_to_head(const struct answer *a)
{
    return slice_equal(a->request->head.method, SLICE("HEAD"));
}

/* Makes the line of A. SENT: all of it was sent, or what was not stands in the outbox. */
static void log_own(const struct answer *a, unsigned status, bool sent)
{
    uint64_t body_bytes = sent && a->offence != NULL && !is_to_head(a) ? reply_body_bytes(a->offence) : 0;
    enum access_end end = sent ? ACCESS_WHOLE : ACCESS_CLIENT_GONE;
    if (a->course != NULL) {
        answer_log(a->course, status, ANSWER_OURS, body_bytes, end);
        return;
    }
    struct access_log *log = &a->x->proxy->access_log;
    struct access_entry entry = {.client = &a->client->peer, .request = a->request, .status = status};
    access_log_answer(log, &entry, body_bytes, end, a->client->outbox);
}

/* Sends A's bytes; what the client does not take at once stands in *REST_ then. */
static bool send_own(const struct answer *a, struct outbox **rest_)
{
    struct client *client = a->client;
    const unsigned client_minor = a->request->head.version_minor;
    if (a->course != NULL && a->course->attempt.client_broken) {
        return false;
    }
    return a->offence == NULL
               ? deliver_options(client, a->keep_alive, client_minor, rest_)
               : deliver_reply(client, a->offence, a->keep_alive, client_minor, is_to_head(a), rest_);
}

enum exchange_end answer_send(const struct answer *a)
{
    struct proxy *proxy = a->x->proxy;
    const unsigned status = a->offence == NULL ? 200 : (unsigned)a->offence->status;
    traffic_count(proxy->traffic, a->x->shard, status, a->course != NULL && a->course->trial.attempts > 1,
                  false);
    struct outbox *rest = NULL;
    bool sent = send_own(a, &rest);
    a->client->outbox = rest;
    if (access_log_is_on(&proxy->access_log)) {
        log_own(a, status, sent || rest != NULL);
    }
    if (rest != NULL) {
        return EXCHANGE_LATER;
    }
    return sent && a->keep_alive ? EXCHANGE_KEEP : EXCHANGE_CLOSE;
}
