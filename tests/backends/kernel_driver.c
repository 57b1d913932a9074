/* Runs kernels of the first instruction set over a file, for a machine that this Python does not run on.
 *
 * kernel_driver INPUT OUTPUT, INPUT being n float32, n float32, n float64, n float64 (x and grad for each dtype), where
 * standard input has n and then a line "name saves a b" for each activation. OUTPUT gets, for each line and dtype,
 * f(x) and then grad * f'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_interface.h"

int main(int argc, char **argv) {
    const fa_table *table = fa_table_at(0);
    size_t n;
    char name[64], saves[2];
    fa_parameters p;
    if (argc != 3 || scanf("%zu", &n) != 1) return 2;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out) return 2;
    void *x[2], *grad[2], *y[2], *dx[2];
    const size_t size[2] = {sizeof(float), sizeof(double)};
    for (int d = 0; d < 2; d++) {
        x[d] = malloc(n * size[d]), grad[d] = malloc(n * size[d]), y[d] = malloc(n * size[d]), dx[d] = malloc(n * size[d]);
        if (fread(x[d], size[d], n, in) != n || fread(grad[d], size[d], n, in) != n) return 2;
    }
    while (scanf("%63s %1s %lf %lf", name, saves, &p.a, &p.b) == 4)
        for (int d = 0; d < 2; d++)
            for (int i = 0; i < table->activation_count; i++) {
                const fa_activation *f = &table->kernels[d]->activations[i];
                if (strcmp(f->name, name) != 0) continue;
                f->forward(x[d], y[d], (ptrdiff_t)n, p);
                f->backward(grad[d], saves[0] == 'x' ? x[d] : y[d], dx[d], (ptrdiff_t)n, p);
                fwrite(y[d], size[d], n, out);
                fwrite(dx[d], size[d], n, out);
            }
    return fclose(out) != 0;
}
