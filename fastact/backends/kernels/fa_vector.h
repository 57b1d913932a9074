/* Vectors of one instruction set and dtype: `vreal` of float or double (`real`), `vint` and `vuint` of integers as
 * wide.
 *
 * The set's own header includes this one, once per dtype (no include guards): FA_DOUBLE says which, FA_EITHER(single,
 * twin) takes the one or the other text, FN(x) adds the dtype to a name. Kernels are written with + - * / < << & | of
 * GNU vectors, the functions below, and what each set's header (fa_vector_<set>.h) gives them under the same names:
 *
 *   FA_VECTOR_BYTES, FA_LANES       a vector's bytes, and its lanes as a bare number
 *   FA_FMA                          1 where vfma rounds once in double, too
 *   FA_MASKED                       1 where vload_tail and vstore_tail are cheap enough for an inner loop
 *   FA_ABREAST                      vectors side by side where each takes several registers
 *   FA_TILE_VECTORS                 width of a product's tile: 4 with 32 registers, 2 with 16
 *   FA_GEMM_CHUNK                   elements of a chunk of K: a panel of B of that height stays in L1 or L2
 *   FA_PICKED, FA_EIGHT(...)        numbers in a row that vpick takes, and a row made from eight
 *
 *   vmask                           what comparisons give
 *   vlt, vle, veq (a, b)            a < b, a <= b, a == b: false for NaN
 *   vnot(m), vand(m, n)
 *   vselect(m, a, b)                a where m is true, else b
 *   vmask_bits(m), vmask_from_bits  one bit a lane, lane 0 lowest; bits above the lanes are ignored
 *   vmin(a, b), vmax(a, b)          the second operand when the comparison is false (a NaN, or two zeros)
 *   vfma(a, b, c)                   a * b + c rounded once; in double on the x86-64 baseline twice (FA_FMA)
 *   vsqrt(a)
 *   vpick(row, index)               float alone: in every lane the one of 8 numbers whose place is in the lowest three bits
 *                                   of index
 *   tail, vtail(n)                  the first n lanes, for
 *   vload_tail(p, t)                these lanes from memory, 0 in the others; memory beyond them is not touched
 *   vstore_tail(p, v, t)
 *   vstore_packed(p, v, bits)       the lanes of v whose bit is set, without gaps; up to a vector of memory is written
 *   vstore_places(p, first, bits)   their numbers, int32, counted from `first` on; likewise
 *   vload_bytes(p)                  lanes from bytes
 *   vstore_bytes(p, v)              bytes from lanes that are whole numbers from 0 to 255
 *   vstore_flags(p, m)              a byte for each lane: 1 where m is true, else 0
 */

#define vreal FN(vreal)
#define vint FN(vint)
#define vuint FN(vuint)
#define vmask FN(vmask)

typedef real vreal __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef sint vint __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef uint vuint __attribute__((vector_size(FA_VECTOR_BYTES)));
typedef real FN(vunaligned) __attribute__((vector_size(FA_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

enum { FN(lanes) = FA_LANES };

FA_INLINE vreal FN(vset)(real s) {
    return s - (vreal){0}; /* s - 0 is s, for -0 too */
}

FA_INLINE vreal FN(vload)(const real *p) {
    return *(const FN(vunaligned) *)p;
}

FA_INLINE void FN(vstore)(real *p, vreal v) {
    *(FN(vunaligned) *)p = v;
}

/* The same, before what is stored in order after it: the scheduler may not swap them. A stream of stores that goes
 * back and forth within its cache lines takes up to half as long again. */
FA_INLINE void FN(vstore_in_order)(real *p, vreal v) {
    *(volatile FN(vunaligned) *)p = v;
}

/* The first n lanes from memory, zeros in the others. */
FA_INLINE vreal FN(vload_part)(const real *p, ptrdiff_t n) {
    real strip[FN(lanes)] = {0};
    memcpy(strip, p, (size_t)n * sizeof(real));
    return FN(vload)(strip);
}

FA_INLINE void FN(vstore_part)(real *p, vreal v, ptrdiff_t n) {
    real strip[FN(lanes)];
    FN(vstore)(strip, v);
    memcpy(p, strip, (size_t)n * sizeof(real));
}

FA_INLINE vint FN(vbits)(vreal v) {
    return (vint)v;
}

FA_INLINE vreal FN(vabs)(vreal v) {
    return (vreal)((vuint)v & ((uint)-1 >> 1));
}

/* v with its sign bit set where that of s is: the magnitude of v with the sign of s unless v is negative. */
FA_INLINE vreal FN(vsigned)(vreal v, vreal s) {
    return (vreal)((vuint)v | ((vuint)s & ~((uint)-1 >> 1)));
}

/* FA_EACH(f, s): f(0, s), f(1, s), ... for all lanes */
#define FA_2(f, i, s) f(i, s), f(i + 1, s)
#define FA_4(f, i, s) FA_2(f, i, s), FA_2(f, i + 2, s)
#define FA_8(f, i, s) FA_4(f, i, s), FA_4(f, i + 4, s)
#define FA_16(f, i, s) FA_8(f, i, s), FA_8(f, i + 8, s)
#define FA_EACH(f, s) FA_JOIN(FA_, FA_LANES)(f, 0, s)

/* 0, 1, 2, ... as integers and as numbers */
#define FA_PLACE(i, s) i
FA_INLINE vint FN(vplaces)(void) {
    return (vint){FA_EACH(FA_PLACE, 1)};
}
FA_INLINE vreal FN(vlane)(void) {
    vreal v;
    for (int i = 0; i < FN(lanes); i++) v[i] = (real)i;
    return v;
}

/* Lanes of a and b, whose are counted on from a's, in the order FA_EACH(f, s); FA_LANES_BY for s = 8, 4, 2, 1 */
#define FA_LANES_OF(a, b, f, s) FA_SHUFFLE(a, b, FA_EACH(f, s))
#define FA_LANES_BY(a, b, f, s)            \
    ((s) == 8   ? FA_LANES_OF(a, b, f, 8)  \
     : (s) == 4 ? FA_LANES_OF(a, b, f, 4)  \
     : (s) == 2 ? FA_LANES_OF(a, b, f, 2)  \
                : FA_LANES_OF(a, b, f, 1))

/* a0 b0 a1 b1 ... of two vectors, and back */
#define FA_ZIP_LOW(i, s) (i) / 2 + (i) % 2 * FN(lanes)
#define FA_ZIP_HIGH(i, s) ((i) + FN(lanes)) / 2 + (i) % 2 * FN(lanes)
#define FA_EVEN(i, s) 2 * (i)
#define FA_ODD(i, s) 2 * (i) + 1
typedef struct {
    vreal first, second;
} FN(vpair);
FA_INLINE FN(vpair) FN(vinterleave)(vreal a, vreal b) {
    return (FN(vpair)){FA_LANES_OF(a, b, FA_ZIP_LOW, 1), FA_LANES_OF(a, b, FA_ZIP_HIGH, 1)};
}
FA_INLINE FN(vpair) FN(vdeinterleave)(vreal a, vreal b) {
    return (FN(vpair)){FA_LANES_OF(a, b, FA_EVEN, 1), FA_LANES_OF(a, b, FA_ODD, 1)};
}

/* Lanes turned by s places (modulo the lanes), s = 8, 4, 2, 1 */
#define FA_TURNED(i, s) ((i) + (s)) % FN(lanes)
FA_INLINE vreal FN(vturn)(vreal v, int s) {
    return FA_LANES_BY(v, v, FA_TURNED, s);
}

/* Rows to columns, of as many vectors as they have lanes: each turn interleaves the first half with the second. */
FA_INLINE void FN(vtranspose)(vreal *v) {
    enum { half = FN(lanes) / 2 };
    FA_UNROLL
    for (int turn = FN(lanes); turn > 1; turn /= 2) {
        vreal t[FN(lanes)];
        FA_UNROLL
        for (int i = 0; i < half; i++) {
            const FN(vpair) p = FN(vinterleave)(v[i], v[i + half]);
            t[2 * i] = p.first, t[2 * i + 1] = p.second;
        }
        FA_UNROLL
        for (int i = 0; i < FN(lanes); i++) v[i] = t[i];
    }
}

/* Lane sum in one fixed order: halves added until one lane is left. */
FA_INLINE real FN(vsum)(vreal v) {
    if (FN(lanes) > 8) v += FN(vturn)(v, 8);
    if (FN(lanes) > 4) v += FN(vturn)(v, 4);
    if (FN(lanes) > 2) v += FN(vturn)(v, 2);
    v += FN(vturn)(v, 1);
    return v[0];
}
