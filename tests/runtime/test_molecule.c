/* SMILES that are closed and that are not: examples of the grammar (opensmiles.org, sections 2 and
 * 3), each fault by itself; and a file of published molecules where it is at hand. */
#include "runtime/molecule.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PUBLISHED "../shared/data/smiles/zinc250k.test.txt"

Test(molecule, closed)
{
    static const char *const good[] = {
        "C",          "CCO",        "[Na+].[Cl-]", "C1CCCCC1",         "c1ccccc1",
        "CC(=O)O",    "C(C(C)C)C",  "F/C=C/F",     "N[C@@H](C)C(=O)O", "C%12CCCCC%12",
        "C1CC1C1CC1", "C=1CCCCC=1", "O=C(Cl)Br",   "[13CH4]",          "C12CC1C2",
        "*",          "C1.C1",      "C(C.C)C",     "C(.C)C",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(molecule_is_closed(good[i], strlen(good[i])), "%s", good[i]);
}

Test(molecule, not_closed)
{
    static const char *const bad[] = {
        "",   "C1CC", "C(C",   "CC)",  "C()C", "(C)C", "C[", "[]",    "C]", "[C[N]]", "C==C",
        "=C", "C=",   "C(=)C", "C%1C", "1CC1", "C.",   ".C", "C(.)C", "X",  "C C",    "C1C(1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(!molecule_is_closed(bad[i], strlen(bad[i])), "%s", bad[i]);
    cr_assert(!molecule_is_closed("C\0C", 3));
}

/* All of them were made by a toolkit. */
Test(molecule, published)
{
    char line[1024];
    FILE *f = fopen(PUBLISHED, "r");
    if (!f)
        cr_skip_test("no " PUBLISHED);
    size_t count = 0;
    while (fgets(line, sizeof line, f)) {
        size_t n = strcspn(line, " \t\r\n");
        cr_assert(molecule_is_closed(line, n), "%.*s", (int)n, line);
        count += n > 0;
    }
    fclose(f);
    cr_assert(count > 1000);
}
