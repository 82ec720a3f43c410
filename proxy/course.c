/* SPDX-License-Identifier: MIT */
#include "proxy/course.h"

#include <stdlib.h>

static struct course *new_course(void)
{
    return aligned_alloc(CACHE_LINE_BYTES, sizeof(struct course));
}

bool course_shelf_init(struct course_shelf *s, struct depot *depot)
{
    *s = (struct course_shelf){.spares = {.depot = depot}, .reserve = new_course()};
    return s->reserve != NULL;
}

void course_shelf_release(struct course_shelf *s)
{
    free(s->reserve);
    s->reserve = NULL;
    spares_release(&s->spares);
}

struct course *course_take(struct course_shelf *s)
{
    struct course *c = spares_take(&s->spares);
    if (c == NULL) {
        c = new_course();
    }
    return c != NULL ? c : s->reserve;
}

static void let_plan_go(const struct course *c)
{
    if (c->pinned) {
        plan_unpin(c->plan, c->shard);
    }
}

void course_keep(struct course_shelf *s, struct course *c)
{
    let_plan_go(c);
    if (c != s->reserve) {
        spares_keep(&s->spares, c);
    }
}

void course_delete(struct course *c)
{
    let_plan_go(c);
    free(c);
}
