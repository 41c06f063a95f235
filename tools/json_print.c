/* One way to print JSON, so that none of it is lost in silence. That standard output could not be
 * written is reported at the end, for all of it. */
#include "tools/json_print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

void json_print(struct diags *diags, json_t *root, unsigned digits)
{
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
    if (text)
        puts(text);
    else
        diag_error(diags, FAULT_RUN, (struct span){0},
                   "the result cannot be written as JSON: a number in it is not finite, or there "
                   "is no memory left");
    free(text);
    json_decref(root);
}
