/* The front: text and known languages, what they give, and that it is the same every time. */
#include "runtime/data/dataset.h"
#include "tests/runtime/data/fixture.h"

#include <math.h>
#include <stdlib.h>

static struct dataset *open_one(struct arena *arena, struct diags *diags, const char *path,
                                uint32_t length, uint64_t seed)
{
    struct dataset_options options = {
        .files = &path, .file_count = 1, .valid = 0.1, .seed = seed, .length = length};
    return dataset_open(diags, arena, &options);
}

/* What the quickstart promises: readable size, an entropy that a small model can reach, and a
 * bigram that cannot come near it. */
Test(dataset, the_quickstart_language_has_something_to_learn)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    struct dataset *d = open_one(arena, diags, "models/grammars/quickstart.yaml", 64, 1);
    assert_clean(diags);
    cr_assert_geq(dataset_vocab_size(d), 170);
    cr_assert_leq(dataset_vocab_size(d), 220);
    cr_assert_eq(dataset_valid_count(d), 3125);
    struct anchors anchors;
    struct anchor truth;
    cr_assert(dataset_anchors(d, NULL, &anchors));
    cr_assert(dataset_truth_mean(d, &truth));
    cr_assert_gt(truth.mean, 1.3);
    cr_assert_lt(truth.mean, 2.0);
    cr_assert_gt(anchors.bigram.mean - truth.mean, 0.35);
    cr_assert_gt(anchors.unigram.mean - anchors.bigram.mean, 1);
    cr_assert_lt(truth.error, 0.01);
    cr_assert_str_eq(dataset_description(d),
                     "known language, 208 symbols (words), 2000000 training "
                     "tokens, 3125 held-out windows of 64");
    arena_free(arena);
}

Test(dataset, a_known_language_is_the_same_for_the_same_seed)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = "models/grammars/toy.yaml";
    struct dataset *a = open_one(arena, diags, path, 32, 1);
    struct dataset *b = open_one(arena, diags, path, 32, 1);
    struct dataset *other = open_one(arena, diags, path, 32, 2);
    assert_clean(diags);
    cr_assert_eq(dataset_hash(a), dataset_hash(b));
    struct random_key key = random_key(9, "train");
    int32_t x[32], y[32], z[32];
    int differ = 0, moved = 0;
    for (uint32_t i = 0; i < 50; i++) {
        dataset_train_window(a, key, i, 3, x);
        dataset_train_window(b, key, i, 3, y);
        dataset_train_window(a, key, i, 4, z);
        cr_assert_arr_eq(x, y, sizeof x);
        moved += memcmp(x, z, sizeof x) != 0;
        double nats;
        cr_assert(dataset_truth(a, x, NULL, &nats));
        cr_assert(isfinite(nats) && nats < 0);
        dataset_valid_window(a, i, x);
        dataset_valid_window(b, i, y);
        dataset_valid_window(other, i, z);
        cr_assert_arr_eq(x, y, sizeof x);
        differ += memcmp(x, z, sizeof x) != 0;
    }
    cr_assert_gt(differ, 40);
    cr_assert_gt(moved, 40);
    arena_free(arena);
}

/* With windows as long as the streams there is one of each, and both start at the beginning. */
Test(dataset, held_out_and_training_streams_are_different_draws)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = "models/grammars/quickstart.yaml";
    struct dataset_options options = {
        .files = &path, .file_count = 1, .valid = 1, .length = DATASET_GRAMMAR_TOKENS};
    struct dataset *d = dataset_open(diags, arena, &options);
    assert_clean(diags);
    int32_t *train = arena_new_array(arena, int32_t, DATASET_GRAMMAR_TOKENS);
    int32_t *valid = arena_new_array(arena, int32_t, DATASET_GRAMMAR_TOKENS);
    dataset_train_window(d, random_key(1, "train"), 0, 0, train);
    dataset_valid_window(d, 0, valid);
    size_t same = 0;
    for (size_t i = 0; i < DATASET_GRAMMAR_TOKENS; i++)
        same += train[i] == valid[i];
    /* Two independent draws agree in a word as often as its frequencies squared sum to: 2 %. */
    cr_assert_lt(same, DATASET_GRAMMAR_TOKENS / 20);
    arena_free(arena);
}

Test(dataset, text_has_windows_and_no_truth)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    static const char line[] = "to be or not to be, that is the question\n";
    char text[50 * sizeof line] = "";
    for (int i = 0; i < 50; i++)
        strcat(text, line);
    const char *path = fixture_text(arena, text);
    struct dataset *d = open_one(arena, diags, path, 20, 1);
    assert_clean(diags);
    size_t tokens = 50 * strlen(line);
    cr_assert_eq(dataset_train_tokens(d), tokens - tokens / 10);
    cr_assert_eq(dataset_valid_count(d), tokens / 10 / 20);
    cr_assert_null(dataset_grammar(d));
    cr_assert_eq(dataset_hash(d), hash_bytes(text, strlen(text)));
    int32_t window[20];
    dataset_valid_window(d, 2, window);
    char *back = vocabulary_decode(dataset_vocabulary(d), arena, window, 20, "_", NULL);
    cr_assert_eq(strncmp(back, text + tokens - tokens / 10 + 40, 20), 0);
    dataset_train_window(d, random_key(1, "train"), 5, 0, window);
    back = vocabulary_decode(dataset_vocabulary(d), arena, window, 20, "_", NULL);
    cr_assert_not_null(strstr(text, back));
    double nats;
    struct anchor truth;
    struct anchors anchors;
    cr_assert_not(dataset_truth(d, window, NULL, &nats));
    cr_assert_not(dataset_truth_mean(d, &truth));
    cr_assert(dataset_anchors(d, NULL, &anchors));
    cr_assert_lt(anchors.bigram.mean, anchors.unigram.mean);
    unlink(path);
    arena_free(arena);
}

/* What each position costs where all others are given adds up to what all cost, padding or none. */
Test(dataset, anchors_of_what_is_not_given_add_up)
{
    enum { LENGTH = 6 };
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    char *text = arena_strdup(arena, "");
    for (int i = 0; i < 60; i++)
        text = arena_printf(arena, "%s%.*s\n", text, 2 + i * i % 3, &"CNOCCNNOC"[i % 5]);
    const char *path = fixture_text(arena, text);
    struct dataset_options options = {
        .files = &path, .file_count = 1, .format = "smiles", .valid = 0.5, .length = LENGTH};
    struct dataset *d = dataset_open(diags, arena, &options);
    assert_clean(diags);
    struct anchors all, one;
    double unigram = 0, bigram = 0;
    uint32_t symbols = 0;
    cr_assert(dataset_gives(d) && dataset_anchors(d, NULL, &all));
    for (int p = 0; p < LENGTH; p++) {
        bool given[LENGTH], padding[LENGTH];
        uint32_t count = 0;
        for (int i = 0; i < LENGTH; i++)
            given[i] = i != p;
        for (size_t i = 0; i < dataset_valid_count(d); i++) {
            dataset_valid_given(d, i, padding);
            count += !padding[p];
        }
        if (count == 0)
            continue;
        cr_assert(dataset_anchors(d, given, &one));
        unigram += one.unigram.mean * count;
        bigram += one.bigram.mean * count;
        symbols += count;
    }
    cr_assert(symbols > 0 && symbols < LENGTH * dataset_valid_count(d));
    cr_assert_float_eq(unigram / symbols, all.unigram.mean, 1e-13); /* some hundred roundings */
    cr_assert_float_eq(bigram / symbols, all.bigram.mean, 1e-13);
    dataset_close(d);
    unlink(path);
    arena_free(arena);
}

Test(dataset, held_out_text_of_a_known_language_from_a_file)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *path = "models/grammars/toy.yaml";
    const char *held = fixture_text(arena, "my sister keeps the map. my brothers keep the map. my");
    struct dataset_options options = {
        .files = &path, .file_count = 1, .valid_file = held, .length = 5};
    struct dataset *d = dataset_open(diags, arena, &options);
    assert_clean(diags);
    cr_assert_eq(dataset_valid_count(d), 2);
    int32_t window[5];
    double nats;
    dataset_valid_window(d, 1, window);
    cr_assert(dataset_truth(d, window, NULL, &nats));
    /* Both windows are whole sentences, so their ratio is that of the choices in them: the second
     * over the first is (2/5 1/2 1/4) / (3/5 2/3 1/2) = 1/4. */
    double first;
    dataset_valid_window(d, 0, window);
    cr_assert(dataset_truth(d, window, NULL, &first));
    cr_assert_float_eq(nats - first, log(0.25), 1e-13);
    unlink(held);
    arena_free(arena);
}

Test(dataset, options_that_do_not_fit)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *text = fixture_text(arena, "some text that is long enough for it");
    const char *files[] = {text, "models/grammars/toy.yaml"};
    struct dataset_options options = {.files = files, .file_count = 2, .valid = 0.5, .length = 4};
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "a grammar is among the data files: it must be the only one");
    options.file_count = 1;
    options.tokenizer = "word";
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "there is no tokenizer `word`\n    did you mean `words`?");
    options.tokenizer = NULL;
    struct dataset *d = dataset_open(diags, arena, &options);
    options.tokenizer = "words";
    options.vocabulary = dataset_vocabulary(d);
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "data.tokenizer is `words`, but the run's vocabulary is of `chars`");
    options =
        (struct dataset_options){.files = files + 1, .file_count = 1, .valid = 1e-6, .length = 4};
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "the held-out stream is shorter than one window: 2 of 4 tokens");
    options.valid = -1;
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "data.valid is -1");
    unlink(text);
    arena_free(arena);
}

/* A vocabulary from files: the same for all of the data, whose hash it is a part of. */
Test(dataset, a_vocabulary_from_files)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *files[] = {fixture_text(arena, "the training of the training text the end"),
                           fixture_text(arena, "the training of another the text the the")};
    struct dataset_options options = {
        .files = files, .file_count = 2, .valid = 0.25, .length = 2, .tokenizer = "gpt2"};
    cr_assert_null(dataset_open(diags, arena, &options));
    assert_says(diags, "data.tokenizer does not say where the files of `gpt2` are\n"
                       "    tokenizer: gpt2:DIR\n");
    options.tokenizer = "gpt2:tests/golden/bpe";
    struct dataset *d = dataset_open(diags, arena, &options);
    cr_assert_not_null(d);
    cr_assert_eq(dataset_vocab_size(d), 640);
    struct dataset *classes = dataset_open_classes(diags, arena, &options);
    cr_assert_not_null(classes);
    cr_assert_eq(vocabulary_hash(dataset_vocabulary(classes)),
                 vocabulary_hash(dataset_vocabulary(d)));
    options.vocabulary = dataset_vocabulary(d);
    options.tokenizer = "gpt2:/nowhere"; /* that of the run is there already */
    cr_assert_eq(dataset_hash(dataset_open(diags, arena, &options)), dataset_hash(d));
    int32_t window[2];
    dataset_valid_window(d, dataset_valid_count(d) - 1, window);
    cr_assert_str_eq(vocabulary_decode(options.vocabulary, arena, window, 2, "_", NULL),
                     " text the");
    options.vocabulary = NULL;
    options.tokenizer = "bytes";
    cr_assert_neq(dataset_hash(dataset_open(diags, arena, &options)), dataset_hash(d));
    unlink(files[0]);
    unlink(files[1]);
    arena_free(arena);
}

/* Of a window that only its own class has, the other classes' share is what the label is worth: log
 * 2 of two. The law of each class is the grammar's own over the joined vocabulary. */
Test(dataset, classes_have_labels_and_laws)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *files[] = {"models/grammars/toy.yaml", "models/grammars/letters.yaml"};
    struct dataset_options options = {
        .files = files, .file_count = 2, .valid = 0.01, .seed = 3, .length = 20};
    struct dataset *d = dataset_open_classes(diags, arena, &options);
    assert_clean(diags);
    cr_assert_eq(dataset_class_count(d), 2);
    cr_assert(dataset_drawn(d) && !dataset_grammar(d));
    size_t count = dataset_valid_count(d);
    int32_t x[20];
    bool given[20];
    for (int i = 0; i < 20; i++)
        given[i] = i % 2;
    double own, other, mixed;
    for (size_t i = 0; i < count; i++) {
        int32_t label = dataset_valid_label(d, i);
        cr_assert_eq(label, i >= count / 2);
        dataset_valid_window(d, i, x);
        cr_assert(dataset_class_truth(d, label, x, NULL, &own));
        cr_assert(dataset_class_truth(d, 1 - label, x, NULL, &other));
        cr_assert(dataset_truth(d, x, NULL, &mixed));
        cr_assert(isfinite(own) && isinf(other));
        cr_assert_eq(own, grammar_log_likelihood(dataset_class_grammar(d, label), x, NULL, 20));
        cr_assert_float_eq(mixed, own - log(2), 1e-12);
        /* What is given says which class it is: the rest is then as likely with it as without. */
        cr_assert(dataset_class_truth(d, label, x, given, &own));
        cr_assert(dataset_truth(d, x, given, &mixed));
        cr_assert_float_eq(mixed, own, 1e-12);
    }
    /* 400 windows: each label 200 times, within 4 standard deviations of 10. */
    struct random_key key = random_key(9, "data");
    int second = 0;
    for (uint32_t i = 0; i < 400; i++) {
        int32_t label = dataset_train_label(d, key, i / 8, i % 8);
        dataset_train_window(d, key, i / 8, i % 8, x);
        cr_assert(dataset_class_truth(d, label, x, NULL, &own) && isfinite(own));
        second += label;
    }
    cr_assert(abs(second - 200) < 40);
    /* Where both classes have a window, its law is their mean: here they are the same language. */
    files[1] = files[0];
    d = dataset_open_classes(diags, arena, &options);
    dataset_valid_window(d, 0, x);
    cr_assert(dataset_class_truth(d, 1, x, NULL, &own) && dataset_truth(d, x, NULL, &mixed));
    cr_assert_float_eq(mixed, own, 1e-12);
    arena_free(arena);
}

/* Lines of 1 to 7 letters, each of its own: a window of 8 shows a line, its end, and padding. */
Test(dataset, documents_apart_are_padded)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    char text[200] = "";
    for (int i = 0; i < 14; i++)
        for (int k = 0; k <= 1 + i / 2; k++)
            strcat(text, k <= i / 2 ? (char[]){(char)('a' + i), 0} : "\n");
    const char *path = fixture_text(arena, text);
    struct dataset_options o = {.files = &path,
                                .file_count = 1,
                                .format = "lines",
                                .documents = DOCUMENTS_APART,
                                .windows = WINDOWS_CHUNKED,
                                .batch = 3,
                                .length = 8};
    struct dataset *d = dataset_open(diags, arena, &o);
    assert_clean(diags);
    cr_assert(dataset_pads(d) && dataset_gives(d));
    int32_t window[8];
    bool given[8];
    /* 14 windows an epoch, three an iteration: in 14 iterations each comes three times. */
    int seen[15] = {0};
    struct random_key key = random_key(1, "data");
    for (uint32_t i = 1; i <= 14; i++)
        for (uint32_t s = 0; s < 3; s++) {
            uint32_t tokens = dataset_train_window(d, key, i, s, window);
            int line = window[0] - 1; /* the end of a line is symbol 0 */
            cr_assert_eq(tokens, (uint32_t)line / 2 + 2);
            for (uint32_t k = 0; k < 8; k++)
                cr_assert_eq(window[k], k + 1 < tokens ? line + 1 : 0);
            seen[line]++;
            if (i * 3 + s == 3 + 13) /* the last of the first epoch */
                for (int k = 0; k < 14; k++)
                    cr_assert_eq(seen[k], 1);
        }
    for (int k = 0; k < 14; k++)
        cr_assert_eq(seen[k], 3);
    dataset_close(d);
    o.valid = 1;
    d = dataset_open(diags, arena, &o);
    cr_assert_eq(dataset_valid_count(d), 14);
    for (size_t i = 0; i < 14; i++) {
        dataset_valid_window(d, i, window);
        dataset_valid_given(d, i, given);
        for (size_t k = 0; k < 8; k++) {
            cr_assert_eq(window[k], k <= i / 2 ? (int)i + 1 : 0);
            cr_assert_eq(given[k], k > i / 2 + 1);
        }
    }
    dataset_close(d);
    unlink(path);
    arena_free(arena);
}

/* Log-likelihoods of what slides in, given what was there, add up to that of the text where the
 * language is a Markov chain whose state a window shows: in the toy language one symbol does. */
Test(dataset, sliding_windows_count_each_symbol_once)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *grammar = fixture_text(arena, "grammar: 1\nstart: A\nstates:\n"
                                              "  A: [{say: a, go: A, weight: 3}, {say: b, go: B}]\n"
                                              "  B: [{say: c, go: A}, {say: d, go: B}]\n");
    struct dataset_options o = {.files = &grammar,
                                .file_count = 1,
                                .valid = 0.0001,
                                .seed = 1,
                                .tokenizer = "chars",
                                .windows = WINDOWS_SLIDING,
                                .stride = 3,
                                .length = 8};
    struct dataset *d = dataset_open(diags, arena, &o);
    assert_clean(diags);
    cr_assert_eq(dataset_valid_count(d), 1 + (200 - 8) / 3);
    int32_t window[8], text[200];
    bool given[8];
    double sum = 0, one;
    size_t at = 0;
    for (size_t i = 0; i < dataset_valid_count(d); i++) {
        dataset_valid_window(d, i, window);
        dataset_valid_given(d, i, given);
        cr_assert(dataset_truth(d, window, given, &one));
        sum += one;
        for (size_t k = 0; k < 8; k++)
            if (!given[k])
                text[at++] = window[k];
    }
    cr_assert_eq(at, 200);
    double whole = grammar_log_likelihood(dataset_grammar(d), text, NULL, 200);
    cr_assert_float_eq(sum, whole, 1e-9 * fabs(whole)); /* 200 logarithms, summed two ways */
    struct anchor truth;
    cr_assert_not(dataset_truth_mean(d, &truth));
    dataset_close(d);
    unlink(grammar);
    arena_free(arena);
}

/* 4000 windows of two files at 3 to 1: 3000 of the first, standard deviation 27. */
Test(dataset, files_come_by_weight)
{
    struct arena *arena = arena_new();
    struct diags *diags = diags_new(arena);
    const char *files[] = {fixture_text(arena, "aaaaaaaaaaaaaaaaaaaa"),
                           fixture_text(arena, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")};
    static const double weights[] = {1.5, 0.5};
    struct dataset_options o = {
        .files = files, .file_count = 2, .weights = weights, .valid = 0.5, .length = 4};
    struct dataset *d = dataset_open(diags, arena, &o);
    assert_clean(diags);
    cr_assert_eq(dataset_class_count(d), 0);
    cr_assert_eq(dataset_vocab_size(d), 2);
    cr_assert_eq(dataset_train_tokens(d), 30);
    cr_assert_eq(dataset_valid_count(d), 2 + 5);
    int32_t window[4];
    int first = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        dataset_train_window(d, random_key(1, "data"), i, 0, window);
        cr_assert_eq(window[0], window[3]);
        cr_assert_eq(dataset_train_label(d, random_key(1, "data"), i, 0), 0);
        first += window[0] == 0;
    }
    cr_assert(abs(first - 3000) < 4 * 27, "%d", first);
    for (size_t i = 0; i < 7; i++) {
        dataset_valid_window(d, i, window);
        cr_assert_eq(window[0], i >= 2);
    }
    cr_assert_eq(dataset_valid_label(d, 6), 1);
    dataset_close(d);
    unlink(files[0]);
    unlink(files[1]);
    arena_free(arena);
}
