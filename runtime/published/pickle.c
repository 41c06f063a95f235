/* The stack machine of pickles, as far as tensors need it. Called by torch_file. */
#include "runtime/published/pickle.h"

#include <string.h>

/* More of either than any checkpoint has: a few bytes may ask for very much. */
#define VALUES_MAX (1 << 22)
#define ITEMS_MAX (1 << 24)

struct machine {
    struct diags *diags;
    struct arena *arena;
    const char *path;
    const unsigned char *bytes;
    size_t size, at;
    struct pickle **stack;
    uint32_t count, capacity;
    struct pickle **memo;
    uint32_t memo_count, memo_capacity;
    uint64_t values, items; /* made so far */
    bool refused;           /* and reported */
};

/* --- what may be imported ----------------------------------------------------------------- */

enum meaning { MEANS_DICT, MEANS_TENSOR, MEANS_SAME, MEANS_LIST, MEANS_STORE };

static const struct {
    const char *name;
    enum meaning means;
    enum stored stored;
} names[] = {
    {"collections.OrderedDict", MEANS_DICT, 0},
    {"torch._utils._rebuild_tensor_v2", MEANS_TENSOR, 0},
    {"torch._utils._rebuild_parameter", MEANS_SAME, 0}, /* its first argument */
    {"torch.Size", MEANS_LIST, 0},
    {"torch.FloatStorage", MEANS_STORE, STORED_F32},
    {"torch.DoubleStorage", MEANS_STORE, STORED_F64},
    {"torch.HalfStorage", MEANS_STORE, STORED_F16},
    {"torch.BFloat16Storage", MEANS_STORE, STORED_BF16},
    {"torch.LongStorage", MEANS_STORE, STORED_I64},
    {"torch.IntStorage", MEANS_STORE, STORED_I32},
    {"torch.ShortStorage", MEANS_STORE, STORED_OTHER},
    {"torch.CharStorage", MEANS_STORE, STORED_OTHER},
    {"torch.ByteStorage", MEANS_STORE, STORED_OTHER},
    {"torch.BoolStorage", MEANS_STORE, STORED_OTHER},
};

static bool broken(struct machine *m, const char *what)
{
    if (!m->refused)
        diag_error(m->diags, FAULT_DATA, (struct span){0},
                   "%s: its pickle is broken at byte %zu: %s", m->path, m->at, what);
    m->refused = true;
    return false;
}

static bool refuse(struct machine *m, const char *what)
{
    if (!m->refused) {
        diag_error(m->diags, FAULT_DATA, (struct span){0},
                   "%s: its pickle asks for %s, which is nothing that tensors are made of", m->path,
                   what);
        diag_hint(m->diags, "nothing of it was run; save the tensors alone, by "
                            "torch.save({\"model\": …, \"ema\": …}, FILE) or as safetensors");
    }
    m->refused = true;
    return false;
}

/* --- the stack ---------------------------------------------------------------------------- */

static struct pickle *new_value(struct machine *m, enum pickle_kind kind)
{
    struct pickle *p = arena_alloc(m->arena, sizeof *p);
    p->kind = kind;
    return p;
}

/* Whether what was made so far is within what a checkpoint may have. */
static bool is_small(struct machine *m)
{
    return (m->values <= VALUES_MAX && m->items <= ITEMS_MAX) ||
           broken(m, "it describes more than checkpoints have");
}

static bool push(struct machine *m, struct pickle *p)
{
    m->values++;
    m->stack = arena_grow(m->arena, m->stack, m->count, &m->capacity, sizeof *m->stack);
    m->stack[m->count++] = p;
    return true;
}

static bool push_int(struct machine *m, enum pickle_kind kind, int64_t integer)
{
    struct pickle *p = new_value(m, kind);
    p->integer = integer;
    return push(m, p);
}

static struct pickle *top(const struct machine *m)
{
    return m->count ? m->stack[m->count - 1] : NULL;
}

/* NULL after reporting: it holds no more, or a mark. */
static struct pickle *pop(struct machine *m)
{
    if (!m->count || top(m)->kind == PICKLE_MARK) {
        broken(m, "the stack is empty");
        return NULL;
    }
    return m->stack[--m->count];
}

static void add_item(struct machine *m, struct pickle *to, struct pickle *item)
{
    to->items = arena_grow(m->arena, to->items, to->count, &to->capacity, sizeof *to->items);
    to->items[to->count++] = item;
    m->items++;
}

/* Where the values above the last mark begin, which goes; UINT32_MAX after reporting. */
static uint32_t pop_mark(struct machine *m)
{
    for (uint32_t i = m->count; i-- > 0;)
        if (m->stack[i]->kind == PICKLE_MARK) {
            memmove(m->stack + i, m->stack + i + 1, (m->count - i - 1) * sizeof *m->stack);
            m->count--;
            return i;
        }
    broken(m, "there is no mark");
    return UINT32_MAX;
}

/* The values from BEGIN on become items of one. */
static bool gather(struct machine *m, struct pickle *into, uint32_t begin)
{
    if (begin > m->count)
        return begin == UINT32_MAX ? false : broken(m, "the stack is empty");
    for (uint32_t i = begin; i < m->count; i++) {
        if (m->stack[i]->kind == PICKLE_MARK)
            return broken(m, "a mark has no values");
        add_item(m, into, m->stack[i]);
    }
    m->count = begin;
    return true;
}

static bool make_list(struct machine *m, uint32_t begin)
{
    struct pickle *list = new_value(m, PICKLE_LIST);
    return gather(m, list, begin) && push(m, list);
}

static bool make_tuple(struct machine *m, uint32_t count)
{
    return count <= m->count ? make_list(m, m->count - count) : broken(m, "the stack is empty");
}

/* The values from BEGIN on are added to the list or dictionary below them. */
static bool extend(struct machine *m, enum pickle_kind kind, uint32_t begin)
{
    if (begin == UINT32_MAX || begin == 0 || m->stack[begin - 1]->kind != kind)
        return broken(m, "there is nothing to add to");
    if (kind == PICKLE_DICT && (m->count - begin) % 2)
        return broken(m, "a key has no value");
    return gather(m, m->stack[begin - 1], begin);
}

/* --- bytes -------------------------------------------------------------------------------- */

/* The next COUNT bytes; NULL after reporting. */
static const unsigned char *take(struct machine *m, uint64_t count)
{
    if (count > m->size - m->at) {
        broken(m, "it ends too early");
        return NULL;
    }
    m->at += (size_t)count;
    return m->bytes + m->at - count;
}

/* A little-endian number of WIDTH bytes, at most 8. */
static bool take_number(struct machine *m, int width, uint64_t *out)
{
    const unsigned char *b = take(m, (uint64_t)width);
    *out = 0;
    for (int i = 0; b && i < width; i++)
        *out |= (uint64_t)b[i] << 8 * i;
    return b != NULL;
}

static bool take_signed(struct machine *m, int width)
{
    uint64_t n;
    if (width > 8) /* nothing of a tensor */
        return take(m, (uint64_t)width) && push(m, new_value(m, PICKLE_NONE));
    if (!take_number(m, width, &n))
        return false;
    uint64_t sign = width > 0 && width < 8 ? (uint64_t)1 << (8 * width - 1) : 0;
    return push_int(m, PICKLE_INT, (int64_t)((n ^ sign) - sign));
}

static bool take_text(struct machine *m, int width)
{
    uint64_t length;
    const unsigned char *b = take_number(m, width, &length) ? take(m, length) : NULL;
    if (!b)
        return false;
    if (memchr(b, 0, (size_t)length) != NULL) /* as bytes may have it */
        return push(m, new_value(m, PICKLE_NONE));
    struct pickle *p = new_value(m, PICKLE_TEXT);
    p->text = arena_strndup(m->arena, (const char *)b, (size_t)length);
    return push(m, p);
}

static bool take_real(struct machine *m)
{
    const unsigned char *b = take(m, 8);
    struct pickle *p = new_value(m, PICKLE_REAL);
    uint64_t bits = 0;
    for (int i = 0; b && i < 8; i++)
        bits = bits << 8 | b[i];
    memcpy(&p->real, &bits, sizeof bits);
    return b && push(m, p);
}

static const char *take_line(struct machine *m)
{
    const unsigned char *begin = m->bytes + m->at;
    const unsigned char *end = memchr(begin, '\n', m->size - m->at);
    if (!end) {
        broken(m, "it ends too early");
        return NULL;
    }
    m->at += (size_t)(end - begin) + 1;
    return arena_strndup(m->arena, (const char *)begin, (size_t)(end - begin));
}

/* --- the memo ----------------------------------------------------------------------------- */

/* Picklers number what they keep by and by. */
static bool memo_put(struct machine *m, uint64_t index)
{
    if (!top(m) || index > VALUES_MAX)
        return broken(m, "what it keeps has no place");
    while (m->memo_count <= index) {
        m->memo = arena_grow(m->arena, m->memo, m->memo_count, &m->memo_capacity, sizeof *m->memo);
        m->memo[m->memo_count++] = NULL;
    }
    m->memo[index] = top(m);
    return true;
}

static bool memo_get(struct machine *m, uint64_t index)
{
    if (index >= m->memo_count || !m->memo[index])
        return broken(m, "it takes what it did not keep");
    return push(m, m->memo[index]);
}

/* --- names and calls ---------------------------------------------------------------------- */

static bool push_name(struct machine *m, const char *module, const char *name)
{
    if (!module || !name)
        return false;
    char *full = arena_printf(m->arena, "%s.%s", module, name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(full, names[i].name) == 0) {
            struct pickle *p = new_value(m, PICKLE_NAME);
            p->text = names[i].name;
            p->integer = (int64_t)i;
            return push(m, p);
        }
    return refuse(m, arena_printf(m->arena, "`%s`", full));
}

static bool stack_name(struct machine *m)
{
    const struct pickle *name = pop(m), *module = name ? pop(m) : NULL;
    if (!module || module->kind != PICKLE_TEXT || name->kind != PICKLE_TEXT)
        return broken(m, "a name is no text");
    return push_name(m, module->text, name->text);
}

static bool is_named(const struct pickle *p, enum meaning means)
{
    return p && p->kind == PICKLE_NAME && names[p->integer].means == means;
}

/* ('storage', torch.FloatStorage, key, device, how many) */
static bool take_storage(struct machine *m)
{
    const struct pickle *id = pop(m);
    if (!id || id->kind != PICKLE_LIST || id->count < 5 || id->items[0]->kind != PICKLE_TEXT ||
        strcmp(id->items[0]->text, "storage") != 0 || !is_named(id->items[1], MEANS_STORE) ||
        id->items[2]->kind != PICKLE_TEXT || id->items[4]->kind != PICKLE_INT)
        return broken(m, "what is said of a tensor's memory");
    struct pickle *p = new_value(m, PICKLE_STORE);
    p->stored = names[id->items[1]->integer].stored;
    p->text = id->items[2]->text;
    p->integer = id->items[4]->integer;
    return push(m, p);
}

static bool read_sizes(struct machine *m, const struct pickle *list, int64_t *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i]->kind != PICKLE_INT || list->items[i]->integer < 0)
            return broken(m, "a tensor's shape");
        out[i] = list->items[i]->integer;
    }
    return true;
}

/* (storage, offset, sizes, strides, …) */
static bool call_tensor(struct machine *m, const struct pickle *args)
{
    if (args->count < 4 || args->items[0]->kind != PICKLE_STORE ||
        args->items[1]->kind != PICKLE_INT || args->items[2]->kind != PICKLE_LIST ||
        args->items[3]->kind != PICKLE_LIST || args->items[2]->count > PICKLE_RANK_MAX ||
        args->items[3]->count != args->items[2]->count)
        return broken(m, "what is said of a tensor");
    struct pickle *p = new_value(m, PICKLE_TENSOR);
    p->store = args->items[0];
    p->stored = p->store->stored;
    p->offset = args->items[1]->integer;
    p->rank = args->items[2]->count;
    return read_sizes(m, args->items[2], p->dim) && read_sizes(m, args->items[3], p->stride) &&
           push(m, p);
}

/* A list of pairs, or nothing: what an OrderedDict is made from. */
static bool call_dict(struct machine *m, const struct pickle *args)
{
    struct pickle *dict = new_value(m, PICKLE_DICT);
    const struct pickle *pairs = args->count ? args->items[0] : args;
    for (uint32_t i = 0; i < pairs->count; i++) {
        const struct pickle *pair = pairs->items[i];
        if (pairs->kind != PICKLE_LIST || pair->kind != PICKLE_LIST || pair->count != 2)
            return broken(m, "what a dictionary is made from");
        add_item(m, dict, pair->items[0]);
        add_item(m, dict, pair->items[1]);
    }
    return push(m, dict);
}

static bool call(struct machine *m)
{
    struct pickle *args = pop(m);
    const struct pickle *callee = args ? pop(m) : NULL;
    if (!callee || args->kind != PICKLE_LIST)
        return broken(m, "a call without arguments");
    if (is_named(callee, MEANS_TENSOR))
        return call_tensor(m, args);
    if (is_named(callee, MEANS_DICT))
        return call_dict(m, args);
    if ((is_named(callee, MEANS_SAME) || is_named(callee, MEANS_LIST)) && args->count)
        return push(m, args->items[0]);
    return broken(m, "a call of what is no function");
}

/* What an object is told after it was made: attributes of a dictionary of tensors, which say how
 * modules were versioned. */
static bool build(struct machine *m)
{
    return pop(m) && (top(m) ? top(m)->kind == PICKLE_DICT : false)
               ? true
               : broken(m, "something is told to no dictionary");
}

/* --- opcodes ------------------------------------------------------------------------------ */

/* Numbers, texts and the memo. False with *KNOWN when it was none of them. */
static bool run_atom(struct machine *m, int opcode, bool *known)
{
    uint64_t n;
    switch (opcode) {
    case 'N':
        return push_int(m, PICKLE_NONE, 0);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_int(m, PICKLE_BOOL, opcode == 0x88);
    case 'J': /* BININT */
        return take_signed(m, 4);
    case 'K': /* BININT1 */
    case 'M': /* BININT2 */
        return take_number(m, opcode == 'K' ? 1 : 2, &n) && push_int(m, PICKLE_INT, (int64_t)n);
    case 0x8a: /* LONG1 */
        return take_number(m, 1, &n) && take_signed(m, (int)n);
    case 'G': /* BINFLOAT */
        return take_real(m);
    case 'X': /* BINUNICODE */
    case 'B': /* BINBYTES */
        return take_text(m, 4);
    case 0x8c: /* SHORT_BINUNICODE */
    case 'C':  /* SHORT_BINBYTES */
    case 'U':  /* SHORT_BINSTRING */
        return take_text(m, 1);
    case 0x8d: /* BINUNICODE8 */
        return take_text(m, 8);
    case 'q': /* BINPUT */
    case 'r': /* LONG_BINPUT */
        return take_number(m, opcode == 'q' ? 1 : 4, &n) && memo_put(m, n);
    case 0x94: /* MEMOIZE */
        return memo_put(m, m->memo_count);
    case 'h': /* BINGET */
    case 'j': /* LONG_BINGET */
        return take_number(m, opcode == 'h' ? 1 : 4, &n) && memo_get(m, n);
    default:
        *known = false;
        return false;
    }
}

/* What is made of others, and calls. */
static bool run_compound(struct machine *m, int opcode)
{
    const char *module;
    switch (opcode) {
    case '(':
        return push(m, new_value(m, PICKLE_MARK));
    case '}':
        return push(m, new_value(m, PICKLE_DICT));
    case ']':
    case ')':
    case 0x8f: /* EMPTY_SET */
        return push(m, new_value(m, PICKLE_LIST));
    case 't':
        return make_list(m, pop_mark(m));
    case 0x85: /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87:
        return make_tuple(m, (uint32_t)opcode - 0x84);
    case 'a': /* APPEND */
        return extend(m, PICKLE_LIST, m->count - (m->count > 0));
    case 'e':  /* APPENDS */
    case 0x90: /* ADDITEMS */
        return extend(m, PICKLE_LIST, pop_mark(m));
    case 's': /* SETITEM */
        return extend(m, PICKLE_DICT, m->count - (m->count > 1 ? 2 : m->count));
    case 'u': /* SETITEMS */
        return extend(m, PICKLE_DICT, pop_mark(m));
    case 'c': /* GLOBAL */
        module = take_line(m);
        return module && push_name(m, module, take_line(m));
    case 0x93: /* STACK_GLOBAL */
        return stack_name(m);
    case 'Q': /* BINPERSID */
        return take_storage(m);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return call(m);
    case 'b':
        return build(m);
    default:
        m->at--;
        return refuse(m, arena_printf(m->arena, "the operation 0x%02x", (unsigned)opcode));
    }
}

static bool run(struct machine *m, int opcode)
{
    uint64_t unused;
    bool known = true;
    if (opcode == 0x80) /* PROTO */
        return take_number(m, 1, &unused);
    if (opcode == 0x95) /* FRAME */
        return take_number(m, 8, &unused);
    bool good = run_atom(m, opcode, &known);
    return known ? good : run_compound(m, opcode);
}

struct pickle *pickle_read(struct diags *diags, struct arena *arena, const char *path,
                           const unsigned char *bytes, size_t size)
{
    struct machine m = {.diags = diags, .arena = arena, .path = path, .bytes = bytes, .size = size};
    for (const unsigned char *b; (b = take(&m, 1)) != NULL;) {
        if (*b == '.')
            return pop(&m);
        if (!run(&m, *b) || !is_small(&m))
            return NULL;
    }
    return NULL;
}
