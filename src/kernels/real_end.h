/* Takes back what real.h defined. */
#undef real
#undef vec
#undef NAME
#undef WIDTH
#undef LANES
#undef BLOCK
#undef ROUND_MAGIC
#undef EXPONENT_BIAS
#undef LOG2E
#undef LN2_HI
#undef LN2_LO
#undef LN2_SHORT_HI
#undef LN2_SHORT_LO
#undef REAL_MAX
#undef REAL_MIN
#undef FRAME_MAX
#undef GROUP
