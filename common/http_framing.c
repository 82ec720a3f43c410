/* SPDX-License-Identifier: MIT
 * Where sender and receiver could read the same fields differently, nothing is guessed: the message is
 * refused. So Transfer-Encoding is "chunked" in one field or nothing, Content-Length is digits in one field
 * or nothing, and never both. http-parser refuses some of this too; it is all checked here again, because
 * this file is what the program believes, and its tests must not depend on another library's mood. */
#include "common/http_framing.h"

#include "common/http_offence.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* The fields that decide, and how often each is there. */
struct deciders {
    const struct http_field *host, *length, *coding;
    unsigned hosts, lengths, codings;
};

static struct deciders find_deciders(const struct http_head *head)
{
    struct deciders d = {0};
    for (size_t i = 0; i < head->field_count; ++i) {
        const struct http_field *field = &head->fields[i];
        if (field->id == HTTP_FIELD_HOST) {
            d.host = field;
            ++d.hosts;
        } else if (field->id == HTTP_FIELD_CONTENT_LENGTH) {
            d.length = field;
            ++d.lengths;
        } else if (field->id == HTTP_FIELD_TRANSFER_ENCODING) {
            d.coding = field;
            ++d.codings;
        }
    }
    return d;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_hex(char byte)
{
    const char lower = (char)(byte | 0x20);
    return is_digit(byte) || (lower >= 'a' && lower <= 'f');
}

/* Bytes at the start of TEXT that may stand in a reg-name (RFC 3986, 3.2.2). */
static size_t span_reg_name(struct slice text)
{
    static const char marks[] = "-._~!$&'()*+,;=";
    size_t at = 0;
    while (at < text.length) {
        const char byte = text.at[at];
        const char lower = (char)(byte | 0x20);
        if ((lower >= 'a' && lower <= 'z') || is_digit(byte) ||
            memchr(marks, byte, sizeof(marks) - 1) != NULL) {
            ++at;
        } else if (byte == '%' && text.length - at > 2 && is_hex(text.at[at + 1]) &&
                   is_hex(text.at[at + 2])) {
            at += 3;
        } else {
            break;
        }
    }
    return at;
}

/* Bytes at the start of TEXT that are an IPv6 address in brackets, or 0. IPvFuture does not exist yet. */
static size_t span_ipv6(struct slice text)
{
    const char *close = memchr(text.at, ']', text.length);
    const size_t length = close == NULL ? 0 : (size_t)(close - text.at) - 1; /* between the brackets */
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    if (length == 0 || length >= sizeof(copy)) {
        return 0;
    }
    memcpy(copy, text.at + 1, length);
    copy[length] = '\0';
    return inet_pton(AF_INET6, copy, &unused) == 1 ? length + 2 : 0;
}

/* Whether TEXT is uri-host [":" port] (RFC 9110, 7.2) with a host that is not empty, as scheme http demands
 * (4.2.1). */
static bool is_authority(struct slice text)
{
    const bool bracket = text.length > 0 && text.at[0] == '[';
    size_t at = bracket ? span_ipv6(text) : span_reg_name(text);
    if (at == 0) {
        return false;
    }
    if (at == text.length) {
        return true;
    }
    if (text.at[at] != ':') {
        return false;
    }
    unsigned port = 0;
    for (++at; at < text.length; ++at) {
        if (!is_digit(text.at[at])) {
            return false;
        }
        port = port * 10 + (unsigned)(text.at[at] - '0');
        if (port > UINT16_MAX) {
            return false;
        }
    }
    return true;
}

bool http_target_split(struct slice target, struct slice *authority_, struct slice *path_)
{
    const struct slice scheme = SLICE("http://");
    if (target.length <= scheme.length ||
        !slice_equal_nocase((struct slice){target.at, scheme.length}, scheme)) {
        return false;
    }
    const char *begin = target.at + scheme.length;
    const char *end = target.at + target.length;
    const char *at = begin;
    while (at < end && *at != '/' && *at != '?') {
        if (*at == '@') {
            return false;
        }
        ++at;
    }
    if (at == begin) {
        return false;
    }
    *authority_ = (struct slice){begin, (size_t)(at - begin)};
    *path_ = (struct slice){at, (size_t)(end - at)};
    return true;
}

/* Judges the request target: its form (RFC 9112, 3.2), and that it has no fragment. */
static const struct http_offence *judge_target(const struct http_head *head)
{
    struct slice target = head->target;
    if (target.length == 0 || memchr(target.at, '#', target.length) != NULL) {
        return &http_offence_bad_target;
    }
    if (target.at[0] == '/') {
        return NULL;
    }
    if (slice_equal(target, SLICE("*"))) {
        return slice_equal(head->method, SLICE("OPTIONS")) ? NULL : &http_offence_bad_target;
    }
    struct slice authority, path;
    return http_target_split(target, &authority, &path) && is_authority(authority) ? NULL
                                                                                   : &http_offence_bad_target;
}

static const struct http_offence *judge_host(const struct http_head *head, const struct deciders *d)
{
    if (d->hosts > 1) {
        return &http_offence_repeated_host;
    }
    if (d->hosts == 0) {
        return head->version_minor >= 1 ? &http_offence_missing_host : NULL;
    }
    return is_authority(d->host->value) ? NULL : &http_offence_bad_host;
}

/* Judges the one Transfer-Encoding field. What does not end in chunked has no known end (RFC 9112, 6.3: 400);
 * what does, but has another coding before it, is one that we can't decode (6.1: 501). */
static const struct http_offence *judge_coding(struct slice value)
{
    const struct slice chunked = SLICE("chunked");
    if (slice_equal_nocase(value, chunked)) {
        return NULL;
    }
    struct slice member;
    bool others = false, ends_in_chunked = false;
    while (http_list_next(&value, &member)) {
        ends_in_chunked = slice_equal_nocase(member, chunked);
        others = others || !ends_in_chunked;
    }
    return ends_in_chunked && others ? &http_offence_unknown_coding : &http_offence_bad_coding;
}

static const struct http_offence *parse_length(struct slice value, uint64_t *length_bytes_)
{
    uint64_t length = 0;
    if (value.length == 0) {
        return &http_offence_bad_content_length;
    }
    for (size_t i = 0; i < value.length; ++i) {
        const char digit = value.at[i];
        if (!is_digit(digit) || length > (INT64_MAX - (uint64_t)(digit - '0')) / 10) {
            return &http_offence_bad_content_length;
        }
        length = length * 10 + (uint64_t)(digit - '0');
    }
    *length_bytes_ = length;
    return NULL;
}

/* Judges the two fields that say where the body ends; *FRAMING_ becomes CHUNKED, LENGTH or, without either,
 * NONE. */
static const struct http_offence *judge_body(const struct http_head *head, const struct deciders *d,
                                             struct http_framing *framing_)
{
    *framing_ = (struct http_framing){.body = HTTP_BODY_NONE};
    if (d->codings > 0) {
        if (d->lengths > 0) {
            return &http_offence_length_with_coding;
        }
        if (d->codings > 1) {
            return &http_offence_repeated_coding;
        }
        if (head->version_minor == 0) {
            return &http_offence_coding_in_http_1_0;
        }
        framing_->body = HTTP_BODY_CHUNKED;
        return judge_coding(d->coding->value);
    }
    if (d->lengths > 1) {
        return &http_offence_repeated_content_length;
    }
    if (d->lengths == 1) {
        framing_->body = HTTP_BODY_LENGTH;
        return parse_length(d->length->value, &framing_->length_bytes);
    }
    return NULL;
}

const struct http_offence *http_framing_request(const struct http_head *head, struct http_framing *framing_)
{
    /* TRACE would show the client the fields that are added on the way (RFC 9110, 9.3.8). */
    if (slice_equal(head->method, SLICE("CONNECT")) || slice_equal(head->method, SLICE("TRACE"))) {
        return &http_offence_method_not_served;
    }
    const struct deciders d = find_deciders(head);
    const struct http_offence *offence = judge_body(head, &d, framing_);
    if (offence == NULL) {
        offence = judge_target(head);
    }
    if (offence == NULL) {
        offence = judge_host(head, &d);
    }
    return offence;
}

/* Whether a response with STATUS to a METHOD request has no body, whatever it claims (RFC 9112, 6.3). */
static bool is_bodiless(unsigned status, struct slice method)
{
    return status / 100 == 1 || status == 204 || status == 304 || slice_equal(method, SLICE("HEAD"));
}

const struct http_offence *http_framing_response(const struct http_head *head, struct slice method,
                                                 struct http_framing *framing_)
{
    const struct deciders d = find_deciders(head);
    const struct http_offence *offence = judge_body(head, &d, framing_);
    if (offence != NULL) {
        return offence;
    }
    if (is_bodiless(head->status, method)) {
        *framing_ = (struct http_framing){.body = HTTP_BODY_NONE};
    } else if (framing_->body == HTTP_BODY_NONE) {
        framing_->body = HTTP_BODY_CLOSE;
    }
    return NULL;
}
