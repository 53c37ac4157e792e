import { madd, nmadd } from "../simd/fma";

/** One pair of each lane: (a, b) turned by the angle whose cosine and sine are given. */
@inline function turn(a: usize, b: usize, cos: v128, sin: v128): void {
  const x = v128.load(a), y = v128.load(b);
  v128.store(a, nmadd(y, sin, f32x4.mul(x, cos)));
  v128.store(b, madd(x, sin, f32x4.mul(y, cos)));
}

/**
 * Rotary position embedding, in place. Rows of `dim` numbers lie without gaps, `rows` for each of `heads` heads; row r of every head turns
 * by row r of `table`, which has `half` cosines and then `half` sines. The first 2 · half numbers of a row form pairs: (i, i + half), or
 * (2i, 2i + 1) if `interleaved`.
 */
export function rotary_f32(x: usize, heads: usize, rows: usize, dim: usize, half: usize, interleaved: u32, table: usize): void {
  const width = half << 2;
  for (let h: usize = 0; h < heads; h++) {
    for (let r: usize = 0, angles = table; r < rows; r++, angles += width << 1, x += dim << 2) {
      let i: usize = 0;
      if (!interleaved) for (; i + 16 <= width; i += 16) turn(x + i, x + width + i, v128.load(angles + i), v128.load(angles + width + i));
      const step: usize = interleaved ? 2 : 1, apart: usize = interleaved ? 4 : width;
      for (; i < width; i += 4) {
        // Multiply-add exists for vectors only.
        const p = x + i * step;
        const a = v128.load32_splat(p), b = v128.load32_splat(p + apart);
        const cos = v128.load32_splat(angles + i), sin = v128.load32_splat(angles + width + i);
        v128.store_lane<f32>(p, nmadd(b, sin, f32x4.mul(a, cos)), 0);
        v128.store_lane<f32>(p + apart, madd(a, sin, f32x4.mul(b, cos)), 0);
      }
    }
  }
}
