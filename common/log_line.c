/* SPDX-License-Identifier: MIT
 * Runs for every request when there is an access log: a value that needs no escaping, which is nearly each,
 * is looked at once and copied as a whole. */
#include "common/log_line.h"

#include "common/panic.h"
#include "common/writer.h"

#include <stdio.h>

enum {
    END_BYTES = 8,   /* kept for the closing quote, brace and newline */
    PAIR_BYTES = 64, /* a pair is not begun with less room */
    CUT_BYTES = 3,   /* "..." */
};

/* Where pairs must end. */
static size_t limit_of(const struct log_line *line)
{
    return line->capacity - END_BYTES;
}

static void begin(struct log_line *line, char *at, size_t capacity, bool json)
{
    MUST(capacity >= LOG_LINE_BYTES_MIN);
    *line = (struct log_line){.capacity = capacity, .json = json};
    line->at = at;
}

void log_line_begin(struct log_line *line, char *at, size_t capacity, bool json)
{
    begin(line, at, capacity, json);
    if (json) {
        line->at[line->length++] = '{';
    }
}

void log_line_begin_pairs(struct log_line *line, char *at, size_t capacity, bool json)
{
    begin(line, at, capacity, json);
    line->has_pairs = true;
}

/* Adds as much of TEXT as fits. */
static void put(struct log_line *line, struct slice text)
{
    size_t room = line->length < limit_of(line) ? limit_of(line) - line->length : 0;
    size_t count = text.length < room ? text.length : room;
    if (count > 0) {
        memcpy(line->at + line->length, text.at, count);
        line->length += count;
    }
}

/* Adds what stands before a value. False when there is too little room for a pair. */
static bool put_key(struct log_line *line, const char *key)
{
    if (line->length + PAIR_BYTES > line->capacity) {
        return false;
    }
    if (line->has_pairs) {
        put(line, line->json ? SLICE(",") : SLICE(" "));
    }
    line->has_pairs = true;
    if (line->json) {
        put(line, SLICE("\""));
        put(line, slice_of(key));
        put(line, SLICE("\":"));
    } else {
        put(line, slice_of(key));
        put(line, SLICE("="));
    }
    return true;
}

static bool is_strange(unsigned char byte)
{
    return byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\';
}

/* Writes one byte as it stands inside quotes to CODE_. logfmt shows a strange byte as \xNN, JSON as \u00NN;
 * neither can end the line early. Returns how long that is. */
static size_t escape(unsigned char byte, bool json, char code_[static 6])
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 0;
    if (!is_strange(byte)) {
        code_[count++] = (char)byte;
        return count;
    }
    code_[count++] = '\\';
    if (byte == '"' || byte == '\\') {
        code_[count++] = (char)byte;
        return count;
    }
    code_[count++] = json ? 'u' : 'x';
    if (json) {
        code_[count++] = '0';
        code_[count++] = '0';
    }
    code_[count++] = digits[byte >> 4];
    code_[count++] = digits[byte & 15];
    return count;
}

/* How many bytes of VALUE fit into ROOM when they are escaped: an escape fits whole or not at all, for half
 * of one would swallow the closing quote. */
static size_t fitting(struct slice value, bool json, size_t room)
{
    char code[6];
    size_t used = 0;
    for (size_t i = 0; i < value.length; i++) {
        used += escape((unsigned char)value.at[i], json, code);
        if (used > room) {
            return i;
        }
    }
    return value.length;
}

/* Adds VALUE escaped, as far as it fits before LIMIT. */
static void put_escaped(struct log_line *line, struct slice value, size_t limit)
{
    char code[6];
    for (size_t i = 0; i < value.length; i++) {
        size_t count = escape((unsigned char)value.at[i], line->json, code);
        if (line->length + count > limit) {
            return;
        }
        memcpy(line->at + line->length, code, count);
        line->length += count;
    }
}

/* What a value must go through, looked at once. */
enum value_form { VALUE_BARE, VALUE_QUOTED, VALUE_ESCAPED };

static enum value_form form_of(struct slice value, bool json)
{
    bool quotes = json || value.length == 0;
    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.at[i];
        if (is_strange(byte)) {
            return VALUE_ESCAPED;
        }
        quotes = quotes || byte == ' ' || byte == '=';
    }
    return quotes ? VALUE_QUOTED : VALUE_BARE;
}

/* Adds VALUE, and TAIL behind it. */
static void put_value(struct log_line *line, struct slice value, struct slice tail)
{
    enum value_form form = form_of(value, line->json);
    if (form != VALUE_BARE) {
        put(line, SLICE("\""));
    }
    if (form == VALUE_ESCAPED) {
        put_escaped(line, value, limit_of(line));
    } else {
        put(line, value);
    }
    put(line, tail);
    if (form != VALUE_BARE) {
        line->at[line->length++] = '"'; /* there is always room for it */
    }
}

void log_line_text(struct log_line *line, const char *key, struct slice value)
{
    if (put_key(line, key)) {
        put_value(line, value, SLICE(""));
    }
}

void log_line_text_up_to(struct log_line *line, const char *key, struct slice value, size_t bytes_max)
{
    if (!put_key(line, key)) {
        return;
    }
    if (fitting(value, line->json, bytes_max) == value.length) {
        put_value(line, value, SLICE(""));
        return;
    }
    value.length = fitting(value, line->json, bytes_max - CUT_BYTES);
    put_value(line, value, SLICE("..."));
}

void log_line_number(struct log_line *line, const char *key, uint64_t number)
{
    char text[20];
    struct writer w = {.at = text, .capacity = sizeof text};
    writer_put_number(&w, number);
    if (put_key(line, key)) {
        put(line, (struct slice){text, w.length});
    }
}

void log_line_ms(struct log_line *line, const char *key, int64_t duration_ns)
{
    enum { NS_PER_US = 1000, US_PER_MS = 1000 };
    char text[24];
    struct writer w = {.at = text, .capacity = sizeof text};
    uint64_t us = duration_ns < 0 ? 0 : (uint64_t)duration_ns / NS_PER_US;
    writer_put_number(&w, us / US_PER_MS);
    const char decimals[] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
                             (char)('0' + us % 10)};
    writer_put(&w, (struct slice){decimals, sizeof decimals});
    if (put_key(line, key)) {
        put(line, (struct slice){text, w.length});
    }
}

void log_line_pairs(struct log_line *line, struct slice pairs)
{
    if (line->length + pairs.length <= limit_of(line)) {
        put(line, pairs);
        line->has_pairs = true;
    }
}

struct slice log_line_end(struct log_line *line)
{
    if (line->json) {
        line->at[line->length++] = '}';
    }
    line->at[line->length++] = '\n';
    return (struct slice){line->at, line->length};
}
