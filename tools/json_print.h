/* What commands print with --json. Called by every command that has the option. */
#ifndef SEDGE_TOOLS_JSON_PRINT_H
#define SEDGE_TOOLS_JSON_PRINT_H

#include "graph/base/diag.h"

#include <jansson.h>

/* VALUE, or null where it is not finite: what JSON has no number for. */
json_t *json_number(double value);

/* Prints ROOT with reals to DIGITS (0: all 17) and releases it; reports where it could
 * not be made: json_pack was given a number that is not finite, or no memory is left. */
void json_print(struct diags *diags, json_t *root, unsigned digits);

#endif
