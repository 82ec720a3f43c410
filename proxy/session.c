/* SPDX-License-Identifier: MIT
 * Reads never wait: when a socket is empty and the request is not whole, the connection goes back to the
 * parking place with the request it has begun, so that a slow client costs a worker nothing. The worker's
 * spare request goes with it; the worker makes itself another one when it needs it. */
#include "proxy/session.h"

#include "common/log.h"
#include "common/net.h"
#include "proxy/deliver.h"

#include <errno.h>
#include <sys/socket.h>

enum { LINGER_MS = 2000 };

static const struct http_offence request_timeout = {408, "request_timeout",
                                                    "The request was not whole in time."};
static const struct http_offence cut_short = {400, "cut_short", "The request ended in the middle."};
static const struct http_offence no_memory = {503, "no_memory", "There is no memory to hold the request."};

static void drop_request(struct client *client)
{
    request_delete(client->request);
    client->request = NULL;
}

/* Reads and drops what a client still sends after its last answer, so that closing does not turn into a reset
 * that would destroy the answer on its way (RFC 9112, 9.6). Parks or closes. */
static void linger(struct parking *parking, struct client *client, mono_ns deadline)
{
    char dropped[4096];
    do {
        ssize_t got;
        do {
            got = net_recv(client->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        } while (got > 0 && clock_mono() < deadline);
        if (got != -1 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            parking_close(parking, client);
            return;
        }
        client->drained = true;
    } while (!parking_park(parking, client, PARKING_IDLE, deadline));
}

/* Ends our side of the connection and lingers. */
static void part(struct parking *parking, struct client *client)
{
    shutdown(client->fd, SHUT_WR);
    client->linger_until = deadline_after_ms(clock_mono(), LINGER_MS);
    linger(parking, client, client->linger_until);
}

static void log_refusal(const struct client *client, const struct http_offence *offence, struct slice bytes)
{
    char ip[NET_TEXT_BYTES];
    net_format(&client->peer, ip);
    if (bytes.length > 200) {
        bytes.length = 200;
    }
    const struct plog_pair pairs[] = {
        {"client", slice_of(ip)},
        {"offence", slice_of(offence->name)},
        {"bytes", bytes},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_INFO, "request refused", pairs);
}

/* Answers an offence and parts with the client. */
static void refuse(struct proxy *proxy, uint32_t shard, struct client *client, const struct request *request,
                   const struct http_offence *offence)
{
    log_refusal(client, offence, (struct slice){request->in, request->in_bytes});
    traffic_count(proxy->traffic, shard, (unsigned)offence->status, false, false);
    deliver_reply(client->fd, offence, false, 1, false);
}

void session_overdue(void *owner, struct client *client, enum parking_phase phase)
{
    struct proxy *proxy = owner;
    if (phase == PARKING_IDLE) {
        parking_close(proxy->parking, client);
        return;
    }
    refuse(proxy, proxy->config->workers, client, client->request, &request_timeout);
    drop_request(client);
    part(proxy->parking, client);
}

void session_abandon(void *owner, struct client *client, enum parking_phase phase)
{
    struct proxy *proxy = owner;
    (void)phase;
    drop_request(client);
    parking_close(proxy->parking, client);
}

static mono_ns parked_deadline(const struct proxy *proxy, const struct request *request)
{
    if (request->stage == REQUEST_HEAD) {
        return deadline_after_ms(request->begun, proxy->config->timeouts.client_header_ms);
    }
    return deadline_after_ms(request->body_begun, proxy->config->timeouts.client_body_ms);
}

/* Parks CLIENT with what it has begun. False when more came meanwhile. */
static bool park(struct session_worker *w, struct client *client)
{
    struct proxy *proxy = w->exchange.proxy;
    struct request *request = client->request;
    if (!request_is_untouched(request)) {
        return parking_park(proxy->parking, client, PARKING_READING, parked_deadline(proxy, request));
    }
    /* Between two requests: the connection needs no request object, the next connection may. */
    client->request = NULL;
    if (w->spare == NULL) {
        w->spare = request;
    } else {
        request_delete(request);
    }
    mono_ns deadline = deadline_after_ms(clock_mono(), proxy->config->timeouts.client_idle_ms);
    if (parking_park(proxy->parking, client, PARKING_IDLE, deadline)) {
        return true;
    }
    client->request = w->spare;
    w->spare = NULL;
    return false;
}

enum reading {
    READING_WHOLE, /* the request is whole */
    READING_GONE,  /* the connection is parked or closed: no longer ours */
};

/* The client's side ended: a clean end between two requests, a cut one otherwise. */
static void client_ended(struct session_worker *w, struct client *client, ssize_t got)
{
    struct proxy *proxy = w->exchange.proxy;
    bool cut = got == 0 && !request_is_untouched(client->request);
    if (cut) {
        refuse(proxy, w->exchange.shard, client, client->request, &cut_short);
    }
    drop_request(client);
    parking_close(proxy->parking, client);
}

static void refuse_and_part(struct session_worker *w, struct client *client,
                            const struct http_offence *offence)
{
    refuse(w->exchange.proxy, w->exchange.shard, client, client->request, offence);
    drop_request(client);
    part(w->exchange.proxy->parking, client);
}

/* Tells a client that waits for it to send its body (RFC 9110, 10.1.1). */
static void send_continue(struct client *client)
{
    struct slice text = SLICE("HTTP/1.1 100 Continue\r\n\r\n");
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text.at, .iov_len = text.length};
    int lost = net_send_all(client->fd, &iov, 1, MSG_DONTWAIT);
    (void)lost; /* such a client sends its body after a while, or goes away */
    client->request->wants_continue = false;
}

/* Reads once. True when something came (*COUNT_ bytes), false when the connection is parked or closed. */
static bool read_more(struct session_worker *w, struct client *client, size_t *count_)
{
    for (;;) {
        if (client->drained && park(w, client)) {
            return false;
        }
        size_t room = 0;
        char *at = request_room(client->request, &w->exchange.proxy->request_limits, &room);
        if (at == NULL) {
            refuse_and_part(w, client, &no_memory);
            return false;
        }
        ssize_t got = net_recv(client->fd, at, room, MSG_DONTWAIT);
        if (got > 0) {
            client->drained = (size_t)got < room;
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

/* Reads until CLIENT's request is whole, or no more comes. */
static enum reading read_request(struct session_worker *w, struct client *client)
{
    struct proxy *proxy = w->exchange.proxy;
    size_t count = 0;
    for (;;) {
        const struct http_offence *offence = NULL;
        switch (request_received(client->request, &proxy->request_limits, count, clock_mono(), &offence)) {
        case REQUEST_READY:
            return READING_WHOLE;
        case REQUEST_REFUSED:
            refuse_and_part(w, client, offence);
            return READING_GONE;
        case REQUEST_MORE:
            break;
        }
        if (client->request->wants_continue) {
            send_continue(client);
        }
        if (!read_more(w, client, &count)) {
            return READING_GONE;
        }
    }
}

/* Gives CLIENT a request object to read into, if it has none. */
static bool equip(struct session_worker *w, struct client *client)
{
    if (client->request == NULL) {
        client->request = w->spare != NULL ? w->spare : request_new();
        w->spare = NULL;
    }
    return client->request != NULL;
}

/* After the last response on a connection. */
static void finish(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    bool more_came = client->request->in_bytes > client->request->end || !client->drained;
    if (w->spare == NULL) {
        w->spare = client->request;
        request_clear(w->spare);
        client->request = NULL;
    } else {
        drop_request(client);
    }
    if (more_came) {
        part(parking, client);
    } else {
        parking_close(parking, client);
    }
}

void session_serve(struct session_worker *w, struct client *client)
{
    struct parking *parking = w->exchange.proxy->parking;
    if (client->linger_until != 0) {
        linger(parking, client, client->linger_until);
        return;
    }
    if (!equip(w, client)) {
        deliver_reply(client->fd, &no_memory, false, 1, false);
        parking_close(parking, client);
        return;
    }
    while (read_request(w, client) == READING_WHOLE) {
        if (!exchange_run(&w->exchange, client, client->request)) {
            finish(w, client);
            return;
        }
        request_next(client->request);
    }
}
