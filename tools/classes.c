/* The classes of a run's data by name. Called by the commands that take a label. */
#include "tools/classes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How many classes the model tells apart; 0: it does not say. */
static int64_t class_count(const struct project *p)
{
    const struct param *classes = model_param(p->s.model, "classes");
    return classes && classes->value.kind == NUMBER_INT ? classes->value.i : 0;
}

const char *class_name(const struct project *p, int32_t label)
{
    const struct texts *names = &p->recipe->data.classes;
    if (label >= 0 && (uint32_t)label < names->count)
        return names->items[label];
    return arena_printf(p->arena, "%d", label);
}

const char *class_list(const struct project *p)
{
    const struct texts *names = &p->recipe->data.classes;
    if (!names->count)
        return arena_printf(p->arena, "0 to %lld", (long long)class_count(p) - 1);
    const char *list = names->items[0];
    for (uint32_t i = 1; i < names->count; i++)
        list = arena_printf(p->arena, "%s, %s", list, names->items[i]);
    return list;
}

/* A whole number from 0 on; -1: TEXT is none. */
static int64_t whole(const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return *text && !*end && !errno && value >= 0 && value <= INT32_MAX ? value : -1;
}

bool class_find(struct project *p, const char *option, const char *text, int32_t *label)
{
    const struct texts *names = &p->recipe->data.classes;
    for (uint32_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], text) == 0) {
            *label = (int32_t)i;
            return true;
        }
    int64_t number = whole(text), count = class_count(p);
    *label = (int32_t)number;
    if (number >= 0 && (count == 0 || number < count))
        return true;
    diag_error(p->diags, FAULT_CONFIG, (struct span){0}, "%s %s is no class of this run", option,
               text);
    diag_hint(p->diags,
              count ? "its classes are %s"
                    : "its model names none: models that have classes are labelled and guided",
              count ? class_list(p) : "");
    return false;
}
