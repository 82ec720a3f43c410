/* SPDX-License-Identifier: MIT
 * jansson forgets where a value stood, but an error must name the place. So when one is to be named, the text
 * is read a second time up to it. That text was parsed before: it is valid, and this reader need not judge,
 * only skip. A path is made of numbers, not of names, because jansson keeps members in their order: so
 * escapes in keys don't matter. Every step is bounded by the text's end, whatever the text is. */
#include "common/config_locate.h"

#include <stdbool.h>
#include <stdint.h>

struct cursor {
    const char *at, *end;
};

static char peek(const struct cursor *c)
{
    return c->at < c->end ? *c->at : '\0';
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && is_one_of(*c->at, " \t\r\n"))
        c->at++;
}

/* Skips one character (a bracket, ':' or ','), and the space after it. */
static void skip_mark(struct cursor *c)
{
    if (c->at < c->end)
        c->at++;
    skip_space(c);
}

/* Skips a string, from its first quote to behind its last. */
static void skip_string(struct cursor *c)
{
    for (c->at++; c->at < c->end && *c->at != '"'; c->at++) {
        if (*c->at == '\\' && c->at + 1 < c->end)
            c->at++;
    }
    if (c->at < c->end)
        c->at++;
}

/* Skips a string, a number, a word, or an array or object with all that is in it. */
static void skip_value(struct cursor *c)
{
    size_t depth = 0;
    do {
        char first = peek(c);
        if (first == '"') {
            skip_string(c);
        } else if (first == '{' || first == '[') {
            depth++;
            c->at++;
        } else if (first == '}' || first == ']') {
            if (depth == 0)
                return;
            depth--;
            c->at++;
        } else if (depth > 0) {
            c->at++;
        } else {
            while (c->at < c->end && !is_one_of(*c->at, " \t\r\n,]}"))
                c->at++;
        }
    } while (depth > 0 && c->at < c->end);
}

static struct slice slice_between(const char *begin, const char *end)
{
    return (struct slice){.at = begin, .length = (size_t)(end - begin)};
}

/* Goes into the array or object at C, to its item number STEP. Returns the key, empty in an array. */
static struct slice enter(struct cursor *c, size_t step)
{
    bool object = peek(c) == '{';
    skip_mark(c);
    for (size_t nth = 0; c->at < c->end; nth++) {
        struct slice key = {.at = c->at, .length = 0};
        if (object) {
            skip_string(c);
            key = slice_between(key.at, c->at);
            skip_space(c);
            skip_mark(c);
        }
        if (nth == step)
            return key;
        skip_value(c);
        skip_space(c);
        skip_mark(c);
    }
    return (struct slice){.at = c->end, .length = 0};
}

struct config_found config_locate(struct slice text, const size_t *steps, size_t count)
{
    struct cursor c = {.at = text.at, .end = text.at + text.length};
    struct config_found found = {.key = {.at = text.at, .length = 0}};
    skip_space(&c);
    for (size_t i = 0; i < count; i++)
        found.key = enter(&c, steps[i]);
    const char *begin = c.at;
    skip_value(&c);
    found.value = slice_between(begin, c.at);
    return found;
}

struct config_position config_position(struct slice text, const char *at)
{
    struct config_position p = {.line = 1, .column = 1};
    for (const char *c = text.at; c < at; c++) {
        if (*c == '\n')
            p = (struct config_position){.line = p.line + 1, .column = 1};
        else if (((uint8_t)*c & 0xc0) != 0x80) /* not a further byte of the same character */
            p.column++;
    }
    return p;
}
