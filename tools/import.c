/* sedge import and sedge export: published weights as a run, and back. */
#include "graph/base/check.h"
#include "runtime/published/published.h"
#include "runtime/published/torch_file.h"
#include "tools/document.h"
#include "tools/option_vocabulary.h"
#include "tools/run_record.h"
#include "tools/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct import {
    struct command_line *line;
    struct arena *arena;
    struct diags *diags;
    const char *path;
    const struct published *family;
    const struct vocabulary *vocabulary;
    struct tensor_file *file;
    struct published_weights weights;
    struct folder folder;
    bool made; /* the folder was not there before */
    struct project p;
};

/* --- what is given ------------------------------------------------------------------------ */

static char *families(struct arena *arena)
{
    char *text = arena_strdup(arena, "");
    for (uint32_t i = 0; published_at(i); i++)
        text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", published_name(published_at(i)));
    return text;
}

/* The family that --as names; false after reporting. */
static bool find_family(struct command_line *line, const struct published **out)
{
    const char *name = option_text(line, "as");
    *out = name ? published_find(name) : NULL;
    if (*out)
        return true;
    if (name)
        diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "no weights are published as `%s`",
                   name);
    else
        diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "weights of what? --as says");
    diag_hint(line->diags, "--as %s", families(line->arena));
    return false;
}

static struct tensor_file *open_file(struct import *m)
{
    return torch_file_recognize(m->path) ? torch_file_open(m->diags, m->arena, m->path)
                                         : tensor_file_open_wide(m->diags, m->arena, m->path);
}

/* The config.json beside the file, if there is one. False after reporting. */
static bool read_config(struct import *m, const char **out)
{
    const char *slash = strrchr(m->path, '/');
    struct source source;
    char *path =
        arena_printf(m->arena, "%.*sconfig.json", slash ? (int)(slash - m->path + 1) : 0, m->path);
    *out = NULL;
    if (access(path, F_OK) != 0)
        return true;
    if (!source_open(m->diags, path, &source))
        return false;
    *out = arena_strndup(m->arena, source.text, source.size);
    source_close(&source);
    return true;
}

static bool open_import(struct import *m)
{
    const char *config;
    if (!find_family(m->line, &m->family))
        return false;
    m->vocabulary = option_vocabulary(m->line);
    if (!m->vocabulary || !read_config(m, &config))
        return false;
    m->file = open_file(m);
    return m->file && published_read(m->diags, m->arena, m->family, m->file, m->vocabulary->size,
                                     config, &m->weights);
}

/* --- the run ------------------------------------------------------------------------------ */

static char *quoted(struct arena *arena, const char *text)
{
    json_t *json = json_string(text);
    char *dumped = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
    char *kept = arena_strdup(arena, dumped ? dumped : "\"?\"");
    free(dumped);
    json_decref(json);
    return kept;
}

/* The recipe of a run that has no data yet. */
static char *recipe_text(const struct import *m)
{
    char *params = arena_strdup(m->arena, "");
    for (uint32_t i = 0; i < m->weights.param_count; i++)
        params = arena_printf(m->arena, "%s%s%s: %lld", params, i ? ", " : "",
                              m->weights.params[i].name, (long long)m->weights.params[i].value);
    const char *tokenizer = option_text(m->line, "tokenizer");
    bool named = tokenizer_find(tokenizer, &(enum tokenizer){0}, &(const char *){NULL});
    return arena_printf(m->arena,
                        "sedge: 1\ndoc: %s\nmodel: %s\nparams: {%s}\ndata: {%s%s}\n"
                        "train: {ema: %s}\n",
                        quoted(m->arena, arena_printf(m->arena, "%s, imported from %s",
                                                      published_name(m->family), m->path)),
                        m->weights.model, params, named ? "tokenizer: " : "",
                        named ? quoted(m->arena, tokenizer) : "",
                        m->weights.averaged ? "0.9999" : "0"); /* any above 0: there are some */
}

/* The folder holds no run, nor what is left of one: what is there afterwards is from here. */
static bool open_folder(struct import *m)
{
    static const char *const files[] = {"config.yaml", "run.json", "last.safetensors"};
    const char *out = option_text(m->line, "output");
    if (!out)
        out = arena_printf(m->arena, "runs/%s", published_name(m->family));
    const struct folder there = {.arena = m->arena, .path = out};
    m->made = access(out, F_OK) != 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!folder_has(&there, files[i]))
            continue;
        diag_error(m->diags, FAULT_CONFIG, (struct span){0},
                   "%s holds a run or a part of one, and is left as it is", out);
        diag_hint(m->diags, "choose another folder with -o");
        return false;
    }
    return folder_open(&m->folder, m->diags, m->arena, out, 1);
}

/* The model that the weights are of, by a recipe that is no run before all is written. */
static bool open_model(struct import *m)
{
    const char *part = folder_file(&m->folder, "config.yaml.part");
    char *text = recipe_text(m);
    bool good = file_write_atomic(m->diags, part, text, strlen(text)) &&
                project_open(&m->p, m->line, part, m->vocabulary, true);
    unlink(part);
    return good;
}

/* Whether they are all there, and of the shapes of the model. */
static bool check_weights(struct import *m)
{
    struct named_size batch = {"batch", 1};
    struct elaborate_request q = {
        .program = "train", .dims = &batch, .dim_count = 1, .weights = WEIGHTS_RAW};
    struct session *s = &m->p.s;
    struct plan *plan = session_compile(s, &q, NULL);
    if (!plan || !session_state(s, &plan, 1, NO_ROW) ||
        !state_load(m->diags, &s->state, &m->weights.tensors, FILL_WEIGHTS))
        return false;
    const struct state_row *bad = state_not_finite(&s->state);
    if (bad)
        diag_error(m->diags, FAULT_DATA, (struct span){0}, "%s: `%s` is not finite", m->path,
                   bad->name);
    return !bad;
}

static bool write_run(struct import *m)
{
    const struct tensor_file *tensors = &m->weights.tensors;
    const char *keys[] = {"digest"}, *values[1];
    uint64_t digest = state_file_digest(tensors);
    values[0] = arena_printf(m->arena, "%016llx", (unsigned long long)digest);
    record_pin(&m->p);
    return tensor_file_write(m->diags, folder_file(&m->folder, "last.safetensors"),
                             tensors->entries, tensors->count, keys, values, 1) &&
           record_import(&m->p, &m->folder,
                         json_pack("{s:s, s:s, s:s, s:s}", "from", m->path, "as",
                                   published_name(m->family), "prefix", m->weights.prefix, "digest",
                                   values[0]));
}

static void print_import(const struct import *m)
{
    int64_t numbers = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->weights.tensors.count; i++)
        if (!strchr(m->weights.tensors.entries[i].name, '/')) {
            numbers += tensor_size(&m->weights.tensors.entries[i].tensor);
            count++;
        }
    printf("%s: %lld parameters in %u tensors%s", published_name(m->family), (long long)numbers,
           count, m->weights.averaged ? ", and their averages" : "");
    if (m->weights.prefix[0])
        printf(", found under `%s`", m->weights.prefix);
    if (m->weights.other)
        printf("; %u other tensor%s left", m->weights.other, m->weights.other == 1 ? "" : "s");
    printf("\nmodel  %s:", m->weights.model);
    for (uint32_t i = 0; i < m->weights.param_count; i++) {
        const struct param *param = model_param(m->p.s.model, m->weights.params[i].name);
        printf(" %s=%lld", param->name, (long long)param->value.i);
    }
    printf("\nwrote  %s\n\nnext:\n  sedge sample %s\n  sedge eval %s --data FILE\n", m->folder.path,
           m->folder.path, m->folder.path);
}

/* What was not finished is no run: it goes, and with it the folder that was made for it. */
static void sweep(const struct import *m)
{
    static const char *const files[] = {"last.safetensors", "run.json", "vocabulary.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(folder_file(&m->folder, files[i]));
    if (m->made)
        rmdir(m->folder.path);
}

static int import(struct command_line *line)
{
    struct import *m = arena_alloc(line->arena, sizeof *m);
    *m = (struct import){
        .line = line, .arena = line->arena, .diags = line->diags, .path = line->positional[0]};
    signals_catch(NULL);
    signals_ignore_limits();
    if (open_import(m) && open_folder(m)) {
        bool good = open_model(m) && !signals_caught() && check_weights(m) && !signals_caught() &&
                    write_run(m);
        if (good)
            print_import(m);
        else
            sweep(m);
        project_close(&m->p);
    }
    folder_close(&m->folder);
    tensor_file_close(m->file);
    return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
}

static const struct option_spec import_options[] = {
    {"as", 'a', OPTION_TEXT, "NAME", "what they are weights of: gpt2, sedd, mdlm or radd", NULL},
    OPTION_TOKENIZER,
    {"output", 'o', OPTION_FILE, "RUN", "the run's folder (runs/NAME)", NULL},
    SESSION_OPTIONS,
    {0}};

const struct command command_import = {
    .name = "import",
    .usage = "FILE --as NAME --tokenizer NAME [-o RUN] [key=value…]",
    .doc = "published weights (safetensors, PyTorch) as a run",
    .detail =
        "FILE is safetensors, or what torch.save wrote (.pth, .pt, .bin, .ckpt), of which the\n"
        "tensors are read and nothing is run. Names and shapes are checked, params are read off\n"
        "the shapes and held against a config.json beside FILE; averages (EMA) in a training\n"
        "checkpoint come along. key=value sets what shapes do not say, such as heads=8.",
    .least = 1,
    .most = 1,
    .overrides = true,
    .options = import_options,
    .run = import,
};

/* --- export ------------------------------------------------------------------------------- */

/* Weights of MODEL have the names and shapes of the FAMILY that was asked for. */
static bool check_family(struct command_line *line, const char *model,
                         const struct published *family)
{
    const struct published *own = published_of_model(document_base(model));
    if (!family || family == own)
        return true;
    diag_error(line->diags, FAULT_CONFIG, (struct span){0},
               "weights of `%s` are not published as %s", model, published_name(family));
    diag_hint(line->diags, "leave --as out: %s",
              own ? published_name(own) : "they keep the names of the model");
    return false;
}

/* Whether both names are those of one file. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int export(struct command_line *line)
{
    const char *run = line->positional[0], *out = option_text(line, "output");
    const char *which = option_text(line, "checkpoint");
    const struct published *family = NULL;
    struct folder folder = {.diags = line->diags, .arena = line->arena, .path = run};
    if (!out) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0}, "where to? -o says");
        diag_hint(line->diags, "sedge export %s -o model.safetensors", run);
        return 2;
    }
    if (option_given(line, "as") && !find_family(line, &family))
        return 2;
    if (!folder_has(&folder, "config.yaml")) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "%s is no run: it has no config.yaml", run);
        return 2;
    }
    struct recipe *recipe =
        recipe_read(line->arena, line->diags, folder_file(&folder, "config.yaml"), NULL, 0);
    if (!recipe)
        return diags_exit_code(line->diags);
    if (!check_family(line, recipe->model, family))
        return 2;
    if (!family)
        family = published_of_model(document_base(recipe->model));
    char *path = project_checkpoint(line->diags, line->arena, run, which ? which : "last");
    if (path && is_same_file(path, out)) {
        diag_error(line->diags, FAULT_CONFIG, (struct span){0},
                   "%s is the checkpoint itself, and is left as it is", out);
        return 2;
    }
    struct tensor_file *file = path ? tensor_file_open(line->diags, line->arena, path) : NULL;
    signals_catch(NULL);
    signals_ignore_limits();
    if (file && published_write(line->diags, line->arena, file,
                                recipe->train.ema > 0 && !option_given(line, "raw"), out))
        printf("wrote  %s, names and shapes %s%s\n", out,
               family ? "as published: " : "of the model", family ? published_name(family) : "");
    tensor_file_close(file);
    return signals_caught() ? signals_exit_code() : diags_exit_code(line->diags);
}

static const struct option_spec export_options[] = {
    {"output", 'o', OPTION_FILE, "FILE", "where they go (safetensors)", NULL},
    {"as", 'a', OPTION_TEXT, "NAME", "under the names of gpt2, sedd, mdlm or radd (the model's)",
     NULL},
    {"checkpoint", 0, OPTION_TEXT, "NAME", "last, best, or a file (last)", NULL},
    {"raw", 0, OPTION_FLAG, NULL, "the parameters themselves, where the run keeps averages", NULL},
    {0}};

const struct command command_export = {
    .name = "export",
    .usage = "RUN -o FILE.safetensors [--as NAME]",
    .doc = "the weights of a run under their published names",
    .detail =
        "Writes what `eval` and `sample` use: the averages where the run keeps them. PyTorch\n"
        "reads the file by safetensors.torch.load_file(FILE).",
    .least = 1,
    .most = 1,
    .options = export_options,
    .run = export,
};
