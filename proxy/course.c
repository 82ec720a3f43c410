/* SPDX-License-Identifier: MIT */
#include "proxy/course.h"

#include <stdlib.h>

bool course_shelf_init(struct course_shelf *s)
{
    *s = (struct course_shelf){.reserve = malloc(sizeof *s->reserve)};
    return s->reserve != NULL;
}

void course_shelf_release(struct course_shelf *s)
{
    free(s->reserve);
    s->reserve = NULL;
    while (s->spares != NULL) {
        struct course *spare = s->spares;
        s->spares = spare->next_spare;
        free(spare);
    }
    s->count = 0;
}

struct course *course_take(struct course_shelf *s)
{
    struct course *c = s->spares;
    if (c != NULL) {
        s->spares = c->next_spare;
        s->count--;
        return c;
    }
    c = malloc(sizeof *c);
    return c != NULL ? c : s->reserve;
}

static void let_plan_go(const struct course *c)
{
    if (c->pinned) {
        plan_unpin(c->plan);
    }
}

void course_keep(struct course_shelf *s, struct course *c)
{
    let_plan_go(c);
    if (c == s->reserve) {
        return;
    }
    if (s->count == COURSE_SPARES_MAX) {
        free(c);
        return;
    }
    c->next_spare = s->spares;
    s->spares = c;
    s->count++;
}

void course_delete(struct course *c)
{
    let_plan_go(c);
    free(c);
}
