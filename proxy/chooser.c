/* SPDX-License-Identifier: MIT */
#include "proxy/chooser.h"

#include "common/slice.h"
#include "proxy/slow_start.h"

_Static_assert(SLOW_START_FULL * 256 <= BALANCER_WEIGHT_MAX, "the balancer's weights are too small");

/* What stands for the request when the balance goes by a field: a hash of its first value; without such a
 * field, the client. */
static uint64_t key_of(const char *field, const struct client *client, const struct http_head *head)
{
    for (size_t i = 0; field[0] != '\0' && i < head->field_count; i++) {
        if (slice_equal_nocase(head->fields[i].name, slice_of(field))) {
            return balancer_hash(head->fields[i].value.at, head->fields[i].value.length);
        }
    }
    struct in6_addr ip = net_address_ip(&client->peer);
    return balancer_hash(&ip, sizeof ip);
}

void chooser_begin(struct chooser *c, struct proxy *proxy, const struct client *client,
                   const struct http_head *head)
{
    *c = (struct chooser){.proxy = proxy};
    if (proxy->config->balance == CONFIG_BALANCE_HASH) {
        c->key = key_of(proxy->config->hash_on, client, head);
    }
}

/* The question for the balancer, with what it must know of each of CANDIDATES. */
static void ask(const struct chooser *c, uint64_t candidates, struct balancer_question *q_)
{
    const struct proxy *proxy = c->proxy;
    const struct config *config = proxy->config;
    uint32_t slow_start_ms = config->health.slow_start_ms;
    mono_ns now = slow_start_ms > 0 ? clock_mono() : 0;
    q_->balance = config->balance;
    q_->candidates = candidates;
    q_->key = c->key;
    for (uint64_t rest = candidates; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(rest);
        const struct config_backend *backend = &config->backends[i];
        int32_t share = slow_start_share(ledger_up_since(proxy->ledger, i), now, slow_start_ms);
        q_->weights[i] = (int32_t)backend->weight * share;
        q_->in_flight[i] = ledger_in_flight(proxy->ledger, i);
        if (config->balance == CONFIG_BALANCE_HASH) {
            q_->ids[i] = balancer_hash(backend->name, strlen(backend->name));
        }
    }
}

struct choice chooser_next(struct chooser *c)
{
    struct proxy *proxy = c->proxy;
    uint32_t count = ledger_count(proxy->ledger);
    uint64_t all = UINT64_MAX >> (64 - count);
    struct balancer_question q; /* some 1.5 KB, of which only the candidates' part is filled */
    for (;;) {
        uint64_t fit = ledger_rotation(proxy->ledger) & ~c->tried;
        struct choice choice = {.up = fit != 0};
        ask(c, choice.up ? fit : all & ~c->tried & ~ledger_drained(proxy->ledger), &q);
        choice.backend = balancer_pick(&proxy->balancer, &q);
        if (choice.backend == -1) {
            return choice;
        }
        if (ledger_begin(proxy->ledger, (uint32_t)choice.backend, choice.up, &choice.ticket)) {
            c->tried |= UINT64_C(1) << choice.backend;
            return choice;
        }
    }
}
