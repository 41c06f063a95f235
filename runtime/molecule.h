/* Whether a text can be a molecule in SMILES (Weininger 1988): what its grammar asks of brackets,
 * rings and bonds. Valences are chemistry, and not looked at: a toolkit for it will refuse more. */
#ifndef SEDGE_RUNTIME_MOLECULE_H
#define SEDGE_RUNTIME_MOLECULE_H

#include <stdbool.h>
#include <stddef.h>

/* It has an atom; parentheses are balanced, not empty, and begin after an atom; square brackets are
 * closed and not nested; each ring number is opened and closed; a bond has an atom or a ring on
 * both sides. */
bool molecule_is_closed(const char *text, size_t size);

#endif
