/* sedge config: what a recipe comes to, and where each value came from. */
#include "tools/config_text.h"
#include "tools/document.h"
#include "tools/json_print.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"json", 'j', OPTION_FLAG, NULL, "as JSON: {key: {value, from}}", NULL}, {0}};

static json_t *value_json(const struct yaml *value)
{
    int64_t integer;
    double real;
    bool flag;
    if (value->kind == YAML_LIST) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < value->count; i++)
            json_array_append_new(list, value_json(value->items[i]));
        return list;
    }
    if (value->kind == YAML_MAP) {
        json_t *map = json_object();
        for (uint32_t i = 0; i < value->count; i++)
            json_object_set_new(map, value->keys[i]->text, value_json(value->items[i]));
        return map;
    }
    if (!value->quoted && yaml_int(value, &integer))
        return json_integer(integer);
    if (!value->quoted && yaml_real(value, &real))
        return json_real(real);
    if (!value->quoted && yaml_bool(value, &flag))
        return json_boolean(flag);
    return json_string(value->text);
}

static void print_json(const struct project *p)
{
    struct config_items all;
    json_t *root = json_object();
    config_items(p->arena, p->recipe, p->s.model, &all);
    for (uint32_t i = 0; i < all.count; i++) {
        const struct config_item *item = &all.items[i];
        const struct yaml *value =
            yaml_read_text(p->diags, p->arena, item->key, item->value, strlen(item->value));
        json_t *entry = json_object();
        json_object_set_new(entry, "value", value ? value_json(value) : json_null());
        json_object_set_new(entry, "from", json_string(item->source));
        json_object_set_new(root, item->key, entry);
    }
    json_print(p->diags, root, 9);
}

static int run(struct command_line *line)
{
    struct project p;
    char *path = find_recipe(line, line->positional[0]);
    if (!path || !document_recipe(&p, line, path, true))
        return diags_exit_code(line->diags);
    if (option_given(line, "json"))
        print_json(&p);
    else
        fputs(config_yaml(line->arena, p.recipe, p.s.model, true), stdout);
    return diags_exit_code(line->diags);
}

const struct command command_config = {
    .name = "config",
    .usage = "RECIPE [key=value…] [--json]",
    .doc = "the resolved recipe, each value with where it came from",
    .detail = "What is printed is a recipe itself: put it into a file to keep it. The order of\n"
              "precedence is default, model, preset, recipe, data (vocab), command line.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = options,
    .run = run,
};
