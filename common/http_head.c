/* SPDX-License-Identifier: MIT
 * The scan runs in two steps. First every new byte is looked at once, through a table of byte classes, until
 * the line ends: control bytes and lone CR or LF are found here, as soon as they come. Then the whole line is
 * judged by its shape. Both steps follow the order of the stream, so the verdict does not depend on how the
 * bytes were cut into reads; the tests and the fuzzer hold the scan to that.
 *
 * Bytes from limit_bytes on are not looked at: a head that is not whole by then is refused, so a caller whose
 * buffer is at least that long never sees HTTP_HEAD_MORE with a full buffer. */
#include "common/http_head.h"

#include "common/http_offence.h"

#include <string.h>

enum {
    EMPTY_LINES_MAX = 8,
    EMPTY_LINE_BYTES = 2,
    METHOD_BYTES_MAX = 32, /* no known method is longer (RFC 9112, 3: a longer one is 501) */
    VERSION_BYTES = sizeof("HTTP/1.1") - 1,
};

/* Classes of bytes: bits of byte_class[]. */
enum {
    TCHAR = 1, /* token (RFC 9110, 5.6.2) */
    FIELD = 2, /* field value (RFC 9110, 5.5): HTAB, SP, visible ASCII, obs-text */
    START = 4, /* request line: SP and visible ASCII */
};

/* clang-format off */
static const unsigned char byte_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    6, 7, 6, 7, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, /* 20 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, /* 30 */
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* 40 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7, /* 50 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, /* 60 */
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0, /* 70 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* 80 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* 90 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* a0 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* b0 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* c0 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* d0 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* e0 */
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, /* f0 */
};
/* clang-format on */

bool http_is_tchar(unsigned char byte)
{
    return (byte_class[byte] & TCHAR) != 0;
}

bool http_is_field_byte(unsigned char byte)
{
    return (byte_class[byte] & FIELD) != 0;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* The offset of the first byte from AT on, before END, that is not of CLASS; END when there is none. */
static size_t skip_class(const char *bytes, size_t at, size_t end, unsigned char class)
{
    while (at < end && (byte_class[(unsigned char)bytes[at]] & class) != 0) {
        ++at;
    }
    return at;
}

/* What is wrong with BYTE, which is not of the class of its line and begins no CR LF. */
static const struct http_offence *judge_stray_byte(unsigned char byte)
{
    switch (byte) {
    case '\n':
        return &http_offence_bare_lf;
    case '\r':
        return &http_offence_bare_cr;
    case '\0':
        return &http_offence_nul_byte;
    case '\t': /* these two are wrong in a request line only */
        return &http_offence_bad_request_line_byte;
    default:
        return byte >= 0x80 ? &http_offence_bad_request_line_byte : &http_offence_control_byte;
    }
}

/* Judges "HTTP/1.1" or "HTTP/1.0". */
static const struct http_offence *judge_version(const char *version, size_t length)
{
    static const char name[] = "HTTP/";
    const size_t name_bytes = sizeof(name) - 1;
    if (length == VERSION_BYTES && memcmp(version, "HTTP/1.", VERSION_BYTES - 1) == 0 &&
        (version[VERSION_BYTES - 1] == '1' || version[VERSION_BYTES - 1] == '0')) {
        return NULL;
    }
    if (length < name_bytes || memcmp(version, name, name_bytes) != 0) {
        return &http_offence_bad_protocol;
    }
    /* Numbers of any length, "2" and "3.0" and "1.10" alike, are a version that is not ours. */
    size_t at = name_bytes;
    while (at < length && is_digit(version[at])) {
        ++at;
    }
    const size_t dot = at;
    if (at < length && version[at] == '.') {
        ++at;
        while (at < length && is_digit(version[at])) {
            ++at;
        }
    }
    const bool has_major = dot > name_bytes;
    const bool has_minor = at == dot || at > dot + 1;
    return at == length && has_major && has_minor ? &http_offence_unsupported_version
                                                  : &http_offence_bad_version;
}

/* Judges the method, as far as it has come, of the LENGTH bytes of a request line at LINE: what is no HTTP at
 * all (a TLS handshake, say) is refused without waiting for a line end. */
static const struct http_offence *judge_method(const char *line, size_t length)
{
    const size_t end = skip_class(line, 0, length, TCHAR);
    if (end > METHOD_BYTES_MAX) {
        return &http_offence_unknown_method;
    }
    return end < length && (end == 0 || line[end] != ' ') ? &http_offence_bad_method : NULL;
}

/* Judges a whole request line (RFC 9112, 3) whose bytes and method are good. */
static const struct http_offence *judge_request_line(const char *line, size_t length)
{
    const char *end = line + length;
    const char *space = memchr(line, ' ', length);
    if (space == NULL) {
        return &http_offence_bad_request_line;
    }
    const char *target = space + 1;
    space = memchr(target, ' ', (size_t)(end - target));
    if (space == NULL && target < end) {
        return &http_offence_missing_version;
    }
    if (space == NULL || space == target || space + 1 == end) {
        return &http_offence_bad_request_line;
    }
    const char *version = space + 1;
    const size_t version_bytes = (size_t)(end - version);
    if (memchr(version, ' ', version_bytes) != NULL) {
        return &http_offence_bad_request_line;
    }
    return judge_version(version, version_bytes);
}

/* Judges a whole status line (RFC 9112, 4). Some origins leave out the space before an empty reason:
 * tolerated. */
static const struct http_offence *judge_status_line(const char *line, size_t length)
{
    const char *space = memchr(line, ' ', length);
    const size_t version_bytes = space == NULL ? length : (size_t)(space - line);
    const struct http_offence *offence = judge_version(line, version_bytes);
    if (offence != NULL) {
        return offence;
    }
    if (space == NULL) {
        return &http_offence_bad_status_line;
    }
    const char *code = space + 1;
    const size_t rest = length - version_bytes - 1;
    if (rest < 3 || code[0] < '1' || code[0] > '5' || !is_digit(code[1]) || !is_digit(code[2])) {
        return &http_offence_bad_status_code;
    }
    if (rest > 3 && code[3] != ' ') {
        return is_digit(code[3]) ? &http_offence_bad_status_code : &http_offence_bad_status_line;
    }
    return NULL;
}

/* Says what is wrong with a field line whose token, the first NAME bytes, no colon follows. */
static const struct http_offence *judge_field_name(const char *line, size_t length, size_t name)
{
    size_t at = name;
    while (at < length && is_space(line[at])) {
        ++at;
    }
    if (at > name && at < length && line[at] == ':') {
        return &http_offence_space_before_colon;
    }
    return memchr(line, ':', length) == NULL ? &http_offence_missing_colon : &http_offence_bad_field_name;
}

/* Judges the shape of a field line (RFC 9112, 5) whose bytes are good; FIRST: it follows the start line. */
static const struct http_offence *judge_field_line(const char *line, size_t length, bool first)
{
    const size_t name = skip_class(line, 0, length, TCHAR);
    if (name > 0 && name < length && line[name] == ':') {
        return NULL;
    }
    if (name == 0 && length > 0 && is_space(line[0])) {
        return first ? &http_offence_leading_space : &http_offence_obs_fold;
    }
    if (name == 0 && length > 0 && line[0] == ':') {
        return &http_offence_empty_field_name;
    }
    return judge_field_name(line, length, name);
}

const struct http_offence *http_field_line_check(const char *line, size_t length)
{
    const size_t stop = skip_class(line, 0, length, FIELD);
    if (stop < length) {
        return judge_stray_byte((unsigned char)line[stop]);
    }
    return judge_field_line(line, length, false);
}

/* Judges the line from scan->line to STOP, where its CR LF stands, and counts it. */
static const struct http_offence *judge_line(struct http_head_scan *scan, const char *bytes, size_t stop)
{
    const char *line = bytes + scan->line;
    const size_t length = stop - scan->line;
    const struct http_offence *offence = NULL;
    if (scan->lines > HTTP_FIELDS_MAX) {
        offence = &http_offence_too_many_fields;
    } else if (scan->lines > 0) {
        offence = judge_field_line(line, length, scan->lines == 1);
    } else if (scan->kind == HTTP_KIND_REQUEST) {
        offence = judge_request_line(line, length);
    } else {
        offence = judge_status_line(line, length);
    }
    ++scan->lines;
    return offence;
}

/* Skips the empty line that ends at NEXT, before any start line. */
static const struct http_offence *skip_empty_line(struct http_head_scan *scan, size_t next)
{
    if (scan->kind == HTTP_KIND_RESPONSE) {
        return &http_offence_bad_status_line;
    }
    scan->start = next;
    return next > (size_t)EMPTY_LINES_MAX * EMPTY_LINE_BYTES ? &http_offence_empty_lines : NULL;
}

enum http_head_progress http_head_scan(struct http_head_scan *scan, const char *bytes, size_t length,
                                       const struct http_offence **offence_)
{
    const size_t end = length < scan->limit_bytes ? length : scan->limit_bytes;
    for (;;) {
        const bool request_line = scan->lines == 0 && scan->kind == HTTP_KIND_REQUEST;
        const size_t stop = skip_class(bytes, scan->seen, end, request_line ? START : FIELD);
        scan->seen = stop;

        const struct http_offence *offence = NULL;
        if (request_line) {
            offence = judge_method(bytes + scan->line, stop - scan->line);
        }
        const bool unfinished = stop == end || (bytes[stop] == '\r' && stop + 1 == end);
        if (offence == NULL && unfinished) {
            if (length < scan->limit_bytes) {
                return HTTP_HEAD_MORE;
            }
            offence = request_line ? &http_offence_request_line_too_long : &http_offence_head_too_long;
        }
        if (offence == NULL && !(bytes[stop] == '\r' && bytes[stop + 1] == '\n')) {
            offence = judge_stray_byte((unsigned char)bytes[stop]);
        }
        if (offence == NULL) {
            const size_t next = stop + 2;
            if (stop > scan->line) {
                offence = judge_line(scan, bytes, stop);
            } else if (scan->lines == 0) {
                offence = skip_empty_line(scan, next);
            } else {
                scan->seen = next;
                return HTTP_HEAD_DONE;
            }
            scan->seen = scan->line = next;
        }
        if (offence != NULL) {
            *offence_ = offence;
            return HTTP_HEAD_BAD;
        }
    }
}
