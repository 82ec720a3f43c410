/* SPDX-License-Identifier: MIT
 * Runs for every request, so there is no printf, no allocation and no pass over the fields that seen_ids can
 * spare. What is copied comes from a head that the strict scan passed: no value holds a line end, so none can
 * become a second field. Inside a field two more things keep a stranger's text from looking like ours: quotes
 * are escaped in the host of Forwarded, and a trusted peer's Forwarded with an open quote is left out, for it
 * would swallow the element behind it.
 *
 * traceparent, W3C Trace Context, level 1, section 3.2. Version 00 must be 55 bytes and is kept to the byte.
 * One of a higher version may be longer; by the rules for versions one does not know ("Versioning of
 * traceparent"), its ids and the flag "sampled" are taken into a field of version 00. A trace that begins
 * here is not sampled: nothing here records it, and for that case the same section asks for 0. */
#include "proxy/identity.h"

#include "common/random.h"

#include <arpa/inet.h>

#define BIT(id) (UINT32_C(1) << (id))

static bool has_seen(const struct http_head *head, enum http_field_id id)
{
    return (head->seen_ids & BIT(id)) != 0;
}

/* The only field of HEAD with id ID; NULL when there is none or more than one: of two, nobody knows which one
 * the next reader believes. */
static const struct http_field *find_only(const struct http_head *head, enum http_field_id id)
{
    const struct http_field *only = http_head_find(head, id);
    if (only == NULL) {
        return NULL;
    }
    const struct http_field *end = head->fields + head->field_count;
    for (const struct http_field *field = only + 1; field < end; field++) {
        if (field->id == id) {
            return NULL;
        }
    }
    return only;
}

/* ---- X-Request-Id ---- */

static bool is_request_id(struct slice text)
{
    if (text.length == 0 || text.length > IDENTITY_REQUEST_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static void fill_request_id(struct identity *identity, const struct http_head *head)
{
    enum { MADE_BYTES = 16 };
    const struct http_field *field = find_only(head, HTTP_FIELD_X_REQUEST_ID);
    if (field != NULL && is_request_id(field->value)) {
        identity->request_id_length = field->value.length;
        memcpy(identity->request_id, field->value.at, field->value.length);
        return;
    }
    identity->request_id_length = (size_t)2 * MADE_BYTES;
    random_hex(identity->request_id, MADE_BYTES);
}

/* ---- traceparent: VERSION-TRACE-PARENT-FLAGS, in lower-case hex digits ---- */

enum {
    VERSION_DIGITS = 2,
    TRACE_AT = 3,
    TRACE_DIGITS = 32,
    PARENT_AT = 36,
    PARENT_DIGITS = 16,
    FLAGS_AT = 53,
    FLAGS_DIGITS = 2,
    FLAG_SAMPLED = 1,
};

/* The value of the lower-case hex digit C, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether COUNT bytes at TEXT are lower-case hex digits. */
static bool is_hex(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (hex_value(text[i]) < 0) {
            return false;
        }
    }
    return true;
}

/* Whether COUNT bytes at TEXT are lower-case hex digits, not all of them 0. */
static bool is_id(const char *text, size_t count)
{
    static const char zeros[] = "00000000000000000000000000000000";
    _Static_assert(sizeof zeros - 1 == TRACE_DIGITS, "as many zeros as the longest id has digits");
    return is_hex(text, count) && memcmp(text, zeros, count) != 0;
}

static bool is_traceparent(struct slice text)
{
    const char *t = text.at;
    if (text.length < IDENTITY_TRACEPARENT_BYTES || !is_hex(t, VERSION_DIGITS) || memcmp(t, "ff", 2) == 0 ||
        t[TRACE_AT - 1] != '-' || t[PARENT_AT - 1] != '-' || t[FLAGS_AT - 1] != '-' ||
        !is_id(t + TRACE_AT, TRACE_DIGITS) || !is_id(t + PARENT_AT, PARENT_DIGITS) ||
        !is_hex(t + FLAGS_AT, FLAGS_DIGITS)) {
        return false;
    }
    return text.length == IDENTITY_TRACEPARENT_BYTES ||
           (memcmp(t, "00", 2) != 0 && t[IDENTITY_TRACEPARENT_BYTES] == '-');
}

static void fill_trace(struct identity *identity, const struct http_head *head)
{
    char *t = identity->traceparent;
    const struct http_field *field = find_only(head, HTTP_FIELD_TRACEPARENT);
    identity->trace_kept = field != NULL && is_traceparent(field->value);
    if (!identity->trace_kept) {
        /* Ids of zeros only would be invalid, but nobody will live to see one. */
        memcpy(t, "00-", TRACE_AT);
        random_hex(t + TRACE_AT, TRACE_DIGITS / 2);
        t[PARENT_AT - 1] = '-';
        random_hex(t + PARENT_AT, PARENT_DIGITS / 2);
        memcpy(t + FLAGS_AT - 1, "-00", 1 + FLAGS_DIGITS);
        return;
    }
    memcpy(t, field->value.at, IDENTITY_TRACEPARENT_BYTES);
    if (memcmp(t, "00", VERSION_DIGITS) != 0) {
        char *low_digit = t + FLAGS_AT + 1;
        memcpy(t, "00", VERSION_DIGITS);
        t[FLAGS_AT] = '0';
        *low_digit = (hex_value(*low_digit) & FLAG_SAMPLED) != 0 ? '1' : '0';
    }
}

void identity_fill(struct identity *identity, const struct http_head *head)
{
    fill_request_id(identity, head);
    fill_trace(identity, head);
}

uint32_t identity_replaces(const struct identity *identity)
{
    return BIT(HTTP_FIELD_X_FORWARDED_FOR) | BIT(HTTP_FIELD_X_FORWARDED_HOST) |
           BIT(HTTP_FIELD_X_FORWARDED_PROTO) | BIT(HTTP_FIELD_FORWARDED) | BIT(HTTP_FIELD_X_REQUEST_ID) |
           BIT(HTTP_FIELD_TRACEPARENT) | (identity->trace_kept ? 0 : BIT(HTTP_FIELD_TRACESTATE));
}

/* ---- The client's address ---- */

struct ip_text {
    bool ipv6;
    struct slice text;
    char bytes[NET_TEXT_BYTES];
};

static void put_ipv4(struct writer *w, const unsigned char *ip)
{
    for (size_t i = 0; i < 4; i++) {
        if (i > 0) {
            writer_put(w, SLICE("."));
        }
        writer_put_number(w, ip[i]);
    }
}

static void put_group(struct writer *w, unsigned group)
{
    static const char digits[] = "0123456789abcdef";
    const char text[] = {digits[group >> 12], digits[group >> 8 & 15], digits[group >> 4 & 15],
                         digits[group & 15]};
    size_t skip = group >= 0x1000 ? 0 : group >= 0x100 ? 1 : group >= 0x10 ? 2 : 3;
    writer_put(w, (struct slice){text + skip, sizeof text - skip});
}

/* Writes IP as RFC 5952, section 4, has it: no leading zeros, "::" in place of the longest run of zero
 * groups, the first of equals, but not of a single one. */
static void put_ipv6(struct writer *w, const unsigned char *ip)
{
    enum { GROUPS = 8 };
    unsigned groups[GROUPS];
    size_t run = 0;
    size_t gap = GROUPS;
    size_t gap_length = 1;
    for (size_t i = 0; i < GROUPS; i++) {
        groups[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > gap_length) {
            gap_length = run;
            gap = i + 1 - run;
        }
    }
    for (size_t i = 0; i < GROUPS; i++) {
        if (i == gap) {
            writer_put(w, SLICE("::"));
            i += gap_length - 1;
            continue;
        }
        if (i > 0 && i != gap + gap_length) {
            writer_put(w, SLICE(":"));
        }
        put_group(w, groups[i]);
    }
}

/* Writes A's IP address, without port, into *IP_. The two fields share it. */
static void format_ip(const union net_address *a, struct ip_text *ip_)
{
    struct writer w = {.at = ip_->bytes, .capacity = sizeof ip_->bytes};
    const unsigned char *ip6 = a->in6.sin6_addr.s6_addr;
    ip_->ipv6 = a->base.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
    if (a->base.sa_family == AF_INET) {
        put_ipv4(&w, (const unsigned char *)&a->in.sin_addr);
    } else if (ip_->ipv6) {
        put_ipv6(&w, ip6);
    } else if (a->base.sa_family == AF_INET6) {
        put_ipv4(&w, ip6 + 12);
    } else {
        writer_put(&w, SLICE("unknown")); /* RFC 7239, 6.2 */
    }
    ip_->text = (struct slice){ip_->bytes, w.length};
}

/* ---- What is written ---- */

/* Whether every quoted string in TEXT ends in it. */
static bool is_closed(struct slice text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] == '"') {
            quoted = !quoted;
        } else if (quoted && text.at[i] == '\\') {
            i++;
        }
    }
    return !quoted;
}

/* Writes the values of all fields of HEAD with id ID as one list that goes on. Quotes mean something in
 * Forwarded only: X-Forwarded-For has no grammar that would know them. */
static void put_given(struct writer *w, const struct http_head *head, enum http_field_id id)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (field->id == id && field->value.length > 0 &&
            (id != HTTP_FIELD_FORWARDED || is_closed(field->value))) {
            writer_put(w, field->value);
            writer_put(w, SLICE(", "));
        }
    }
}

/* The first member of the list that HEAD's fields of id ID are; empty when there is none. */
static struct slice first_given(const struct http_head *head, enum http_field_id id)
{
    struct slice first = {NULL, 0};
    for (size_t i = 0; i < head->field_count && first.length == 0; i++) {
        if (head->fields[i].id == id) {
            struct slice rest = head->fields[i].value;
            if (!http_list_next(&rest, &first)) {
                first = (struct slice){NULL, 0};
            }
        }
    }
    return first;
}

/* Writes TEXT as the value of a parameter: a token where it is one, else a quoted string (RFC 9110, 5.6.4).
 */
static void put_token_or_quoted(struct writer *w, struct slice text)
{
    size_t i = 0;
    while (i < text.length && http_is_tchar((unsigned char)text.at[i])) {
        i++;
    }
    if (i == text.length) {
        writer_put(w, text);
        return;
    }
    writer_put(w, SLICE("\""));
    for (i = 0; i < text.length; i++) {
        if (text.at[i] == '"' || text.at[i] == '\\') {
            writer_put(w, SLICE("\\"));
        }
        writer_put(w, (struct slice){text.at + i, 1});
    }
    writer_put(w, SLICE("\""));
}

/* Writes Forwarded: what trusted peers gave, then our element. IPv6 addresses have brackets, and quotes for
 * their colons (RFC 7239, 6). */
static void put_forwarded(struct writer *w, const struct http_head *head, const struct ip_text *ip,
                          struct slice authority, bool trusted)
{
    writer_put(w, SLICE("Forwarded: "));
    if (trusted && has_seen(head, HTTP_FIELD_FORWARDED)) {
        put_given(w, head, HTTP_FIELD_FORWARDED);
    }
    writer_put(w, ip->ipv6 ? SLICE("for=\"[") : SLICE("for="));
    writer_put(w, ip->text);
    if (ip->ipv6) {
        writer_put(w, SLICE("]\""));
    }
    if (authority.length > 0) {
        writer_put(w, SLICE(";host="));
        put_token_or_quoted(w, authority);
    }
    writer_put(w, SLICE(";proto=http\r\n"));
}

void identity_write(struct writer *w, const struct identity *identity, const struct http_head *head,
                    const union net_address *client, struct slice authority, bool trusted)
{
    struct ip_text ip;
    struct slice proto = {NULL, 0};
    struct slice host = {NULL, 0};
    format_ip(client, &ip);
    if (trusted && has_seen(head, HTTP_FIELD_X_FORWARDED_PROTO)) {
        proto = first_given(head, HTTP_FIELD_X_FORWARDED_PROTO);
    }
    if (trusted && has_seen(head, HTTP_FIELD_X_FORWARDED_HOST)) {
        host = first_given(head, HTTP_FIELD_X_FORWARDED_HOST);
    }
    if (host.length == 0) {
        host = authority;
    }
    writer_put(w, SLICE("X-Forwarded-For: "));
    if (trusted && has_seen(head, HTTP_FIELD_X_FORWARDED_FOR)) {
        put_given(w, head, HTTP_FIELD_X_FORWARDED_FOR);
    }
    writer_put(w, ip.text);
    writer_put(w, SLICE("\r\n"));
    writer_put_field(w, SLICE("X-Forwarded-Proto"), proto.length > 0 ? proto : SLICE("http"));
    if (host.length > 0) {
        writer_put_field(w, SLICE("X-Forwarded-Host"), host);
    }
    put_forwarded(w, head, &ip, authority, trusted);
    writer_put_field(w, SLICE("X-Request-Id"),
                     (struct slice){identity->request_id, identity->request_id_length});
    writer_put_field(w, SLICE("traceparent"),
                     (struct slice){identity->traceparent, sizeof identity->traceparent});
}
