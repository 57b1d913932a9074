/* For sets whose masks are vectors of integers, all ones or 0: what needs no instruction of their own. */

typedef vint vmask;
FA_INLINE vmask FN(vnot)(vmask m) { return ~m; }
FA_INLINE vmask FN(vand)(vmask a, vmask b) { return a & b; }
FA_INLINE vmask FN(vmask_from_bits)(unsigned bits) { return -((((vint){0} + (sint)bits) >> FN(vplaces)()) & 1); }

FA_INLINE void FN(vstore_packed)(real *p, vreal v, unsigned bits) {
    for (; bits; bits &= bits - 1) *p++ = v[__builtin_ctz(bits)];
}
FA_INLINE void FN(vstore_places)(int32_t *p, int32_t first, unsigned bits) {
    for (; bits; bits &= bits - 1) *p++ = first + __builtin_ctz(bits);
}
