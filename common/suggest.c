/* SPDX-License-Identifier: MIT
 * Nearness is the edit distance with swaps of neighbours: how many letters to add, drop, change or swap. A
 * word is near when at most a third of the longer one must be edited, and one edit is always allowed. Words
 * longer than any of ours are never near, so the table of distances is small and on the stack. */
#include "common/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>

enum { WORD_BYTES_MAX = 48 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* The edit distance of A and B, neither longer than WORD_BYTES_MAX. */
static size_t distance(struct slice a, struct slice b)
{
    size_t d[WORD_BYTES_MAX + 1][WORD_BYTES_MAX + 1];
    for (size_t i = 0; i <= a.length; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b.length; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a.length; i++) {
        for (size_t j = 1; j <= b.length; j++) {
            bool same = same_letter(a.at[i - 1], b.at[j - 1]);
            size_t best = smaller(d[i - 1][j] + 1, d[i][j - 1] + 1);
            best = smaller(best, d[i - 1][j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && same_letter(a.at[i - 1], b.at[j - 2]) &&
                same_letter(a.at[i - 2], b.at[j - 1]))
                best = smaller(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[a.length][b.length];
}

size_t suggest_nearest(struct slice word, const struct slice *known, size_t count)
{
    size_t nearest = count, nearest_distance = WORD_BYTES_MAX + 1;
    if (word.length == 0 || word.length > WORD_BYTES_MAX)
        return count;
    for (size_t i = 0; i < count; i++) {
        if (known[i].length > WORD_BYTES_MAX)
            continue;
        size_t longer = word.length > known[i].length ? word.length : known[i].length;
        size_t allowed = longer < 6 ? 1 : longer / 3;
        size_t d = distance(word, known[i]);
        if (d <= allowed && d < nearest_distance) {
            nearest = i;
            nearest_distance = d;
        }
    }
    return nearest;
}

void suggest_mend(struct slice word, const struct slice *known, size_t count, const char *before,
                  const char *after, char mend_[static SUGGEST_MEND_BYTES])
{
    size_t nearest = suggest_nearest(word, known, count), used = 0;
    if (nearest < count) {
        snprintf(mend_, SUGGEST_MEND_BYTES, "did you mean %s%.*s%s?", before, (int)known[nearest].length,
                 known[nearest].at, after);
        return;
    }
    for (size_t i = 0; i < count && used < SUGGEST_MEND_BYTES; i++) {
        const char *join = i == 0 ? "expected " : i == count - 1 ? " or " : ", ";
        int n = snprintf(mend_ + used, SUGGEST_MEND_BYTES - used, "%s%s%.*s%s", join, before,
                         (int)known[i].length, known[i].at, after);
        used += n < 0 ? SUGGEST_MEND_BYTES : (size_t)n;
    }
}
