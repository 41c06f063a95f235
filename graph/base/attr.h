/* Attribute values: what a node was told at compile time, and a kernel reads at run time. */
#ifndef SEDGE_BASE_ATTR_H
#define SEDGE_BASE_ATTR_H

#include <stdbool.h>
#include <stdint.h>

/* One axis of a type. AXIS 0: exactly SIZE. Otherwise the axis is short: at most SIZE, with a
 * count that the run supplies for axis number AXIS; only the first axis of a type may be short. */
struct dim {
    int64_t size;
    uint32_t axis;
};

/* Which member is valid is said by the op's attribute table (struct op_attr). */
union attr {
    int64_t integer;  /* ATTR_INT; ATTR_CHOICE: position among the choices */
    double real;      /* ATTR_REAL */
    bool flag;        /* ATTR_BOOL */
    const char *text; /* ATTR_TEXT */
    struct {
        uint32_t count;
        const struct dim *items;
    } dims; /* ATTR_DIMS */
};

#endif
