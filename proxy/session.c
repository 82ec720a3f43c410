/* SPDX-License-Identifier: MIT
 * Reads never wait: when a socket is empty and the request is not whole, the connection goes back to the
 * parking place with the request it has begun, so that a slow client costs a worker nothing. The worker's
 * spare request goes with it; the worker makes itself another one when it needs it. */
#include "proxy/session.h"

#include "common/http_offence.h"
#include "common/net.h"
#include "common/panic.h"
#include "common/proxy_protocol.h"
#include "proxy/deliver.h"
#include "proxy/outbox.h"
#include "proxy/refusal.h"
#include "proxy/waited.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { LINGER_MS = 2000, LINGER_READS = 1024, TURN_REQUESTS = 16 };

static void drop_request(struct client *client)
{
    request_delete(client->request);
    client->request = NULL;
}

static void end_outbox(struct client *client, enum access_end end)
{
    outbox_end(client->outbox, end);
    client->outbox = NULL;
}

/* Closes the connection, whatever it was in the middle of. */
static void hang_up(struct parking *parking, struct client *client)
{
    if (client->course != NULL) {
        exchange_abandon(client);
    }
    drop_request(client);
    end_outbox(client, ACCESS_CLIENT_GONE);
    parking_close(parking, client);
}

/* Reads and drops what a client still sends after its last answer, so that closing does not turn into a reset
 * that would destroy the answer on its way (RFC 9112, 9.6). Parks or closes. One that floods gets no more of
 * the thread's time than LINGER_READS reads. */
static void linger(struct parking *parking, struct client *client, mono_ns deadline)
{
    char dropped[16 << 10];
    for (int reads = 0; reads < LINGER_READS; reads++) {
        ssize_t got = net_recv(client->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (got > 0) {
            continue;
        }
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            break;
        }
        if (parking_park(parking, client, PARKING_LINGERING, deadline)) {
            return;
        }
    }
    parking_close(parking, client);
}

/* Ends our side of the connection and lingers. */
static void part(struct parking *parking, struct client *client)
{
    drop_request(client);
    shutdown(client->fd, SHUT_WR);
    client->linger_until = deadline_after_ms(clock_mono(), LINGER_MS);
    linger(parking, client, client->linger_until);
}

/* Answers an offence and parts with the client. */
static void refuse(struct proxy *proxy, uint32_t shard, struct client *client, const struct request *request,
                   const struct http_offence *offence)
{
    refusal_log(client, offence, (struct slice){request->in, request->in_bytes});
    refusal_send(proxy, shard, client->fd, &client->peer, request, offence);
}

/* A client must take body_bytes_per_second, averaged over client_write_ms. */
static mono_ns writing_deadline(const struct config *config, struct client *client, mono_ns now)
{
    return pace_deadline(&client->outbox->pace, client->fd, client->outbox->sent_bytes, now,
                         config->timeouts.client_write_ms, config->limits.body_bytes_per_second);
}

static bool has_bytes(int fd)
{
    char byte;
    return net_recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void session_overdue(void *owner, struct client *client, enum parking_phase phase)
{
    const struct session_sweep *sweep = owner;
    struct proxy *proxy = sweep->proxy;
    const struct config *config = &sweep->plan->config;
    if (phase == PARKING_IDLE && has_bytes(client->fd)) {
        /* A request came in the last moment: it is served, not reset. */
        mono_ns deadline = deadline_after_ms(clock_mono(), config->timeouts.client_header_ms);
        parking_requeue(proxy->parking, client, PARKING_IDLE, deadline);
        return;
    }
    if (phase == PARKING_WRITING && client->outbox != NULL) {
        mono_ns now = clock_mono();
        mono_ns deadline = writing_deadline(config, client, now);
        if (deadline > now) {
            parking_requeue(proxy->parking, client, PARKING_WRITING, deadline);
            return;
        }
    }
    if (phase == PARKING_WRITING) {
        end_outbox(client, ACCESS_CLIENT_SLOW);
        net_reset_on_close(client->fd); /* frees what the kernel still holds for it, and tells it */
    }
    if (phase != PARKING_READING || client->awaits_proxy_header) {
        hang_up(proxy->parking, client);
        return;
    }
    refuse(proxy, proxy->workers, client, client->request, &http_offence_request_timeout);
    part(proxy->parking, client);
}

void session_abandon(void *owner, struct client *client, enum parking_phase phase)
{
    struct proxy *proxy = owner;
    (void)phase;
    end_outbox(client, ACCESS_STOPPED);
    hang_up(proxy->parking, client);
}

/* A transfer that began at BEGUN may take MS, and one second more for each body_bytes_per_second bytes that
 * came: a slow but honest client lives, a trickle does not. */
static mono_ns paced_deadline(const struct config *config, mono_ns begun, uint32_t ms, uint64_t moved_bytes)
{
    uint32_t rate = config->limits.body_bytes_per_second;
    mono_ns deadline = deadline_after_ms(begun, ms);
    return rate == 0 ? deadline : deadline + (mono_ns)(moved_bytes / rate) * NS_PER_S;
}

static mono_ns reading_deadline(const struct config *config, const struct request *request)
{
    if (request->stage == REQUEST_HEAD) {
        return deadline_after_ms(request->begun, config->timeouts.client_header_ms);
    }
    return paced_deadline(config, request->body_begun, config->timeouts.client_body_ms,
                          request_body_received(request));
}

/* What the worker goes by while it serves. */
static const struct config *config_of(const struct session_worker *w)
{
    return &w->exchange.plan->config;
}

static struct request_limits limits_of(const struct session_worker *w)
{
    const struct config *config = config_of(w);
    return (struct request_limits){.header_bytes = config->limits.header_bytes,
                                   .body_bytes = config->limits.body_bytes};
}

/* Parks CLIENT with what it has begun. False when more came meanwhile. */
static bool park(struct session_worker *w, struct client *client)
{
    struct proxy *proxy = w->exchange.proxy;
    const struct config *config = config_of(w);
    struct request *request = client->request;
    if (!request_is_untouched(request)) {
        spool_rest(&request->spool);
        return parking_park(proxy->parking, client, PARKING_READING, reading_deadline(config, request));
    }
    /* Between two requests: the connection needs no request object, the next connection may. */
    client->request = NULL;
    spares_keep(&w->spares, request);
    mono_ns deadline = deadline_after_ms(clock_mono_coarse(), config->timeouts.client_idle_ms);
    if (parking_park(proxy->parking, client, PARKING_IDLE, deadline)) {
        return true;
    }
    client->request = spares_take(&w->spares);
    MUST(client->request != NULL);
    return false;
}

/* The client's side ended: a clean end between two requests, a cut one otherwise. */
static void client_ended(struct session_worker *w, struct client *client, ssize_t got)
{
    struct proxy *proxy = w->exchange.proxy;
    bool cut = got == 0 && !request_is_untouched(client->request);
    if (cut && !client->awaits_proxy_header) {
        refuse(proxy, w->exchange.shard, client, client->request, &http_offence_cut_short);
    }
    hang_up(proxy->parking, client);
}

static void refuse_and_part(struct session_worker *w, struct client *client,
                            const struct http_offence *offence)
{
    refuse(w->exchange.proxy, w->exchange.shard, client, client->request, offence);
    part(w->exchange.proxy->parking, client);
}

/* Tells a client that waits for it to send its body (RFC 9110, 10.1.1). False when it was told half of it:
 * nothing may follow. One that can't be told at all sends its body after a while. */
static bool send_continue(struct client *client)
{
    struct slice text = SLICE("HTTP/1.1 100 Continue\r\n\r\n");
    struct iovec iov = {.iov_base = (char *)text.at, .iov_len = text.length};
    int failure = net_send_all(client->fd, &iov, 1, MSG_DONTWAIT);
    client->request->wants_continue = false;
    return failure == 0 || iov.iov_len == text.length;
}

/* Reads once. True when something came (*COUNT_ bytes), false when the connection is parked or closed. */
static bool read_more(struct session_worker *w, struct client *client, size_t *count_)
{
    for (;;) {
        if (client->drained) {
            if (park(w, client)) {
                return false;
            }
            w->late = false; /* what comes now has come just now */
        }
        size_t room = 0;
        struct request_limits limits = limits_of(w);
        char *at = request_room(client->request, &limits, &room);
        if (at == NULL) {
            bool body = client->request->stage == REQUEST_BODY;
            refuse_and_part(w, client, body ? &http_offence_no_storage : &http_offence_no_memory);
            return false;
        }
        ssize_t got = net_recv(client->fd, at, room, MSG_DONTWAIT);
        if (got > 0) {
            client->drained = (size_t)got < room && !client->ended;
            *count_ = (size_t)got;
            return true;
        }
        if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            client_ended(w, client, got);
            return false;
        }
        client->drained = true;
    }
}

/* The PROXY protocol's header comes before the first request, into the same buffer. True when HTTP may begin.
 */
static bool read_proxy_header(struct session_worker *w, struct client *client)
{
    struct request *request = client->request;
    struct parking *parking = w->exchange.proxy->parking;
    for (;;) {
        struct proxy_protocol header;
        switch (proxy_protocol_parse(request->in, request->in_bytes, &header)) {
        case PROXY_PROTOCOL_DONE:
            client->awaits_proxy_header = false;
            request_drop_front(request, header.bytes);
            if (header.has_source) {
                client->peer = header.source;
            }
            if (!parking_count_client(parking, client)) {
                refuse_and_part(w, client, &http_offence_client_has_many);
                return false;
            }
            return true;
        case PROXY_PROTOCOL_BAD:
            refusal_log(client, &http_offence_bad_proxy_header,
                        (struct slice){request->in, request->in_bytes});
            hang_up(parking, client);
            return false;
        case PROXY_PROTOCOL_MORE:
            break;
        }
        size_t count = 0;
        if (!read_more(w, client, &count)) {
            return false;
        }
        request->in_bytes += count;
        request->begun = request->begun == 0 ? clock_mono() : request->begun;
    }
}

/* Reads until CLIENT's request is whole (true: *READY_AT_ says since when, or when its turn came), or no more
 * comes (false: it is parked or closed, and no longer ours). */
static bool read_request(struct session_worker *w, struct client *client, mono_ns *ready_at_)
{
    struct parking *parking = w->exchange.proxy->parking;
    struct request_limits limits = limits_of(w);
    size_t count = 0;
    if (client->awaits_proxy_header && !read_proxy_header(w, client)) {
        return false;
    }
    if (client->request->stage == REQUEST_WHOLE) {
        *ready_at_ = clock_mono();
        return true; /* it was put back into the line */
    }
    if (request_is_untouched(client->request) && !read_more(w, client, &count)) {
        return false;
    }
    for (;;) {
        const struct http_offence *offence = NULL;
        *ready_at_ = clock_mono();
        switch (request_received(client->request, &limits, count, *ready_at_, &offence)) {
        case REQUEST_READY:
            return true;
        case REQUEST_REFUSED:
            refuse_and_part(w, client, offence);
            return false;
        case REQUEST_MORE:
            break;
        }
        if (client->request->wants_continue && !send_continue(client)) {
            hang_up(parking, client);
            return false;
        }
        if (!read_more(w, client, &count)) {
            return false;
        }
    }
}

/* After the last response on a connection. */
static void finish(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    struct request *request = client->request;
    bool more_came = !client->drained || (request != NULL && request->in_bytes > request->end);
    if (request != NULL) {
        request_clear(request);
        spares_keep(&w->spares, request);
        client->request = NULL;
    }
    if (more_came) {
        part(parking, client);
    } else {
        hang_up(parking, client);
    }
}

/* Sends what waits for CLIENT. True when all is sent and the connection goes on; otherwise it is parked or
 * closed. */
static bool empty_outbox(struct session_worker *w, struct client *client)
{
    struct proxy *proxy = w->exchange.proxy;
    struct outbox *outbox = client->outbox;
    enum outbox_progress progress = outbox_flush(outbox, client->fd);
    while (progress == OUTBOX_MORE) {
        mono_ns deadline = writing_deadline(config_of(w), client, clock_mono());
        spool_rest(&outbox->spool);
        if (parking_park(proxy->parking, client, PARKING_WRITING, deadline)) {
            return false;
        }
        progress = outbox_flush(outbox, client->fd);
    }
    bool keep_alive = outbox->keep_alive && !atomic_load_explicit(&proxy->draining, memory_order_relaxed);
    end_outbox(client, progress == OUTBOX_FAILED ? ACCESS_CLIENT_GONE : ACCESS_WHOLE);
    if (progress == OUTBOX_FAILED || !parking_want_writable(proxy->parking, client, false)) {
        hang_up(proxy->parking, client);
        return false;
    }
    if (!keep_alive) {
        finish(w, client);
    }
    return keep_alive;
}

/* The client is slow to take its response: it parks with the rest of it, and with what it has pipelined
 * behind. */
static bool begin_outbox(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    request_next(client->request);
    pace_begin(&client->outbox->pace, client->fd, client->outbox->sent_bytes, clock_mono());
    if (!parking_want_writable(parking, client, true)) {
        hang_up(parking, client);
        return false;
    }
    return empty_outbox(w, client);
}

/* The connection leaves HTTP: it goes to the tunnels with what came behind the request. */
static void hand_to_tunnel(struct session_worker *w, struct client *client)
{
    struct request *request = client->request;
    client->request = NULL;
    int fd = parking_release(w->exchange.proxy->parking, client);
    struct slice behind = {request->in + request->end, request->in_bytes - request->end};
    exchange_tunnel(&w->exchange, fd, behind);
    request_delete(request);
}

/* Answers the request that CLIENT has whole, or says that it waited too long. */
static enum exchange_end run_exchange(struct session_worker *w, struct client *client, mono_ns ready_at)
{
    if (w->late) {
        traffic_note(w->exchange.proxy->traffic, w->exchange.shard, TRAFFIC_WORKERS_BUSY);
        return exchange_refuse(&w->exchange, client, client->request, &http_offence_workers_busy);
    }
    return exchange_run(&w->exchange, client, client->request, ready_at);
}

/* After the exchange of CLIENT's request. True when the connection is still ours and may have another one. */
static bool after_exchange(struct session_worker *w, struct client *client, enum exchange_end end)
{
    switch (end) {
    case EXCHANGE_KEEP:
        request_next(client->request);
        return true;
    case EXCHANGE_CLOSE:
        finish(w, client);
        return false;
    case EXCHANGE_ABORT:
        net_reset_on_close(client->fd);
        hang_up(w->exchange.proxy->parking, client);
        return false;
    case EXCHANGE_LATER:
        return begin_outbox(w, client);
    case EXCHANGE_TUNNEL:
        hand_to_tunnel(w, client);
        return false;
    case EXCHANGE_PARKED:
        w->left = true;
        return false;
    }
    UNREACHABLE();
}

/* Gives CLIENT a request object to read into, if it has none. */
static bool equip(struct session_worker *w, struct client *client)
{
    if (client->request == NULL) {
        client->request = spares_take(&w->spares);
    }
    if (client->request == NULL) {
        client->request = request_new();
    }
    return client->request != NULL;
}

/* A client that pipelines without end does not keep the worker: it goes to the end of the line. Its next
 * requests are in its buffer already, so that the event that brings it back is that its socket can be written
 * to. False when it need not or can't let others go first. */
static bool yield(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    if (client->request->in_bytes == 0 || !parking_want_writable(parking, client, true)) {
        return false;
    }
    client->yielded_at = clock_mono();
    mono_ns deadline = deadline_after_ms(client->yielded_at, config_of(w)->timeouts.client_write_ms);
    if (parking_park(parking, client, PARKING_WRITING, deadline)) {
        return true;
    }
    client->yielded_at = 0; /* a worker was free to look: nobody waits */
    if (!parking_want_writable(parking, client, false)) {
        hang_up(parking, client);
        return true;
    }
    return false;
}

/* Counts one request more that CLIENT got answered in its turn; whether that is enough for now. */
static bool turn_is_over(struct client *client)
{
    client->answered = (client->answered + 1) % TURN_REQUESTS;
    return client->answered == 0;
}

/* There is no memory to serve CLIENT. */
static void give_up(struct session_worker *w, struct client *client)
{
    struct proxy *proxy = w->exchange.proxy;
    if (client->linger_until == 0 && client->outbox == NULL && client->course == NULL) {
        refusal_send(proxy, w->exchange.shard, client->fd, &client->peer, NULL, &http_offence_no_memory);
    }
    hang_up(proxy->parking, client);
}

/* From now on W goes by the plan in force. False without memory for it: then nothing may be exchanged. */
static bool hold_plan(struct session_worker *w)
{
    struct exchange *x = &w->exchange;
    if (w->turns_away) {
        x->plan = plans_hold(x->proxy->plans, x->shard);
        return true;
    }
    return exchange_hold_plan(x);
}

/* Goes on with CLIENT, whose backend has answered. True as above. */
static bool resume(struct session_worker *w, struct client *client)
{
    if (!after_exchange(w, client, exchange_resume(&w->exchange, client))) {
        return false;
    }
    if (!hold_plan(w)) {
        give_up(w, client);
        return false;
    }
    return true;
}

/* Serves CLIENT by the plan that W holds; a request that begins later goes by the plan of its time. */
static void serve(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    if (client->linger_until != 0) {
        linger(parking, client, client->linger_until);
        return;
    }
    if (client->course != NULL && (!resume(w, client) || (turn_is_over(client) && yield(w, client)))) {
        return;
    }
    if (client->yielded_at != 0) {
        client->yielded_at = 0;
        if (!parking_want_writable(parking, client, false)) {
            hang_up(parking, client);
            return;
        }
    }
    if (client->outbox != NULL && !empty_outbox(w, client)) {
        return;
    }
    if (!equip(w, client)) {
        give_up(w, client);
        return;
    }
    mono_ns ready_at;
    while (read_request(w, client, &ready_at)) {
        if (w->turns_away && !w->late) {
            client->yielded_at = clock_mono();
            session_put_back(w->exchange.proxy, client,
                             deadline_after_ms(client->yielded_at, config_of(w)->timeouts.client_write_ms));
            return;
        }
        if (!after_exchange(w, client, run_exchange(w, client, ready_at))) {
            return;
        }
        if (!hold_plan(w)) {
            give_up(w, client);
            return;
        }
        if (turn_is_over(client) && yield(w, client)) {
            return;
        }
    }
}

bool session_serve(struct session_worker *w, struct client *client, bool maybe_late)
{
    w->left = false;
    client->answered = client->course == NULL ? 0 : client->answered;
    if (hold_plan(w)) {
        w->late = client->course == NULL && maybe_late &&
                  waited_for_worker_ms(client, clock_mono()) > config_of(w)->timeouts.queue_ms;
        serve(w, client);
    } else {
        give_up(w, client);
    }
    exchange_let_plan_go(&w->exchange);
    return w->left;
}

void session_turn_away(struct session_worker *w, struct client *client, bool late)
{
    w->turns_away = true;
    w->late = late;
    serve(w, client);
}

void session_put_back(struct proxy *proxy, struct client *client, mono_ns deadline)
{
    enum parking_phase phase = PARKING_IDLE;
    if (client->outbox != NULL || client->yielded_at != 0) {
        phase = PARKING_WRITING;
    } else if (client->linger_until != 0) {
        phase = PARKING_LINGERING;
    } else if (client->request != NULL) {
        phase = PARKING_READING;
    }
    /* Its event is spent: the change of its registration makes a new one. */
    if (!parking_want_writable(proxy->parking, client, phase == PARKING_WRITING)) {
        hang_up(proxy->parking, client);
        return;
    }
    parking_requeue(proxy->parking, client, phase, deadline);
}

void session_release(struct session_worker *w)
{
    exchange_release(&w->exchange);
    spares_release(&w->spares);
}
