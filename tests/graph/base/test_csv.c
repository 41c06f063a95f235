/* CSV tables: what is read, and what each mistake is told. */
#include "graph/base/csv.h"
#include "tests/graph/base/fixture.h"

#include <string.h>

TestSuite(csv, .init = open_arena, .fini = close_arena);

static struct csv *read_table(const char *text)
{
    return csv_read_text(diags, arena, "q.csv", text, strlen(text), 4);
}

static void expect_refusal(const char *text, const char *message)
{
    cr_assert_null(read_table(text));
    cr_assert_str_eq(diags_render(diags, false), message);
}

Test(csv, numbers_without_a_header)
{
    struct csv *c = read_table("-1, 2.5e-1\r\n 3,\t+4\n");
    cr_assert_not_null(c);
    cr_assert_eq(c->rows, 2);
    cr_assert_eq(c->columns, 2);
    cr_assert_not(c->header);
    cr_assert_str_eq(c->first[1], "2.5e-1");
    const double want[] = {-1, 0.25, 3, 4};
    cr_assert_arr_eq(c->values, want, sizeof want);
}

Test(csv, header_of_names_and_no_newline_at_the_end)
{
    struct csv *c = read_table("a,\"b,\"\"c\",é\n1,2,3");
    cr_assert_not_null(c);
    cr_assert(c->header);
    cr_assert_eq(c->rows, 1);
    cr_assert_str_eq(c->first[0], "a");
    cr_assert_str_eq(c->first[1], "b,\"c");
    cr_assert_str_eq(c->first[2], "é");
    const double want[] = {1, 2, 3};
    cr_assert_arr_eq(c->values, want, sizeof want);
}

Test(csv, quoted_digits_are_names)
{
    struct csv *c = read_table("\"0\",\"1\"\n5,6\n");
    cr_assert(c->header);
    cr_assert_eq(c->rows, 1);
    cr_assert_eq(c->values[0], 5);
}

/* What spreadsheets write: a byte order mark, CRLF, an empty line at the end. */
Test(csv, byte_order_mark_and_blank_lines)
{
    struct csv *c = read_table("\xef\xbb\xbf-1,2\r\n\r\n3,4\r\n \r\n\n");
    cr_assert_not_null(c);
    cr_assert_not(c->header);
    cr_assert_eq(c->rows, 2);
    const double want[] = {-1, 2, 3, 4};
    cr_assert_arr_eq(c->values, want, sizeof want);
    c = read_table("\xef\xbb\xbf\n a,b\n1,2\n");
    cr_assert(c->header);
    cr_assert_str_eq(c->first[0], "a");
    cr_assert_eq(c->rows, 1);
}

Test(csv, refusals_say_what_was_meant)
{
    expect_refusal("a;b\n1;2\n", "q.csv:2:1: error: this is no finite number\n    1;2\n    ^~~\n"
                                 "    cells are divided by commas\n");
    expect_refusal("x,a\na,1\n", "q.csv:2:1: error: this is no finite number\n    a,1\n    ^\n"
                                 "    rows have no names: they are in the order of the header\n");
    expect_refusal("a,b\n1,\"2,5\"\n",
                   "q.csv:2:3: error: this is no finite number\n    1,\"2,5\"\n      ^~~~~\n"
                   "    numbers have a decimal point, and no quotes\n");
    expect_refusal("1,1e400\n2,1e400\n",
                   "q.csv:2:3: error: this is no finite number\n    2,1e400\n      ^~~~~\n");
    expect_refusal("\n \n", "q.csv:1:1: error: the table has no numbers\n");
    cr_assert_null(csv_read_text(diags, arena, "q.csv",
                                 "\xff\xfe"
                                 "1\0",
                                 4, 4));
    cr_assert_str_eq(diags_render(diags, false), "q.csv: error: this is no table: byte 3 is zero\n"
                                                 "    export it as CSV, in UTF-8\n");
}

Test(csv, refusals)
{
    expect_refusal("1,2\n3,x\n", "q.csv:2:3: error: this is no finite number\n    3,x\n      ^\n");
    expect_refusal("1,2\n3,nan\n",
                   "q.csv:2:3: error: this is no finite number\n    3,nan\n      ^~~\n");
    expect_refusal("1,,2\n", "q.csv:1:3: error: a cell is empty\n    1,,2\n      ^\n");
    expect_refusal("1,2\n3\n",
                   "q.csv:2:1: error: this row has 1 cells, the first has 2\n    3\n    ^\n");
    expect_refusal("1,2\n3,4,5\n", "q.csv:2:5: error: this row is longer than the first, which has "
                                   "2 cells\n    3,4,5\n        ^\n");
    expect_refusal("1,2,3,4,5\n",
                   "q.csv:1:9: error: more than 4 columns\n    1,2,3,4,5\n            ^\n");
    expect_refusal("\"a,b\n1,2\n",
                   "q.csv:1:1: error: this quote is not closed\n    \"a,b\n    ^\n");
    expect_refusal("\"a\" b\n1\n", "q.csv:1:5: error: a comma is missing behind the quoted name\n"
                                   "    \"a\" b\n        ^\n");
    expect_refusal("a,b\n", "q.csv:1:1: error: the table has no numbers\n    a,b\n    ^\n");
    cr_assert_null(csv_read_file(diags, arena, "none.csv", 4, (struct span){0}));
    cr_assert_str_eq(diags_render(diags, false), "sedge: error: cannot read the table `none.csv`: "
                                                 "No such file or directory\n");
}
