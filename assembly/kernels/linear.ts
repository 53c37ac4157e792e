import { madd } from "../simd/fma";
import { reduceSum } from "../simd/reduce";
import { loadUpTo16 } from "../simd/tail";

/** Elements of a row that are summed in one go. Constant, so that a sum does not depend on what else a call computes. */
const CHUNK: usize = 512;
/** Rows of W that stay in the first-level cache while all rows of X pass: 30 KB of a chunk. */
const BLOCK: usize = 15;
/** Rows of W in a tile. */
const TILE: usize = 5;

/** Adds a column's sums to what is there; in the first chunk, to the bias or 0. */
function put(y0: usize, y1: usize, first: bool, bias: usize, hasBias: bool, a0: v128, a1: v128): void {
  const start: f32 = hasBias ? load<f32>(bias) : 0;
  const s0 = reduceSum(a0), s1 = reduceSum(a1);
  store<f32>(y0, (first ? start : load<f32>(y0)) + s0);
  if (y1 != y0) store<f32>(y1, (first ? start : load<f32>(y1)) + s1);
}

/**
 * A chunk of two rows of X times `count` ≤ 5 rows of W, all read in place: ten accumulators, whose lanes are neighbouring elements. The
 * second row may be the first again. Columns beyond `count` repeat the last one and are not stored.
 */
function tile(x0: usize, x1: usize, w0: usize, wStride: usize, bytes: usize, count: usize, y0: usize, y1: usize, first: bool, bias: usize, hasBias: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c02 = c00, c03 = c00, c04 = c00;
  let c10 = c00, c11 = c00, c12 = c00, c13 = c00, c14 = c00;
  let w1 = w0 + (count > 1 ? wStride : 0), w2 = w1 + (count > 2 ? wStride : 0);
  let w3 = w2 + (count > 3 ? wStride : 0), w4 = w3 + (count > 4 ? wStride : 0);
  for (const end = x0 + (bytes & ~15); x0 < end; ) {
    const a0 = v128.load(x0), a1 = v128.load(x1);
    let b = v128.load(w0);
    c00 = madd(a0, b, c00);
    c10 = madd(a1, b, c10);
    b = v128.load(w1);
    c01 = madd(a0, b, c01);
    c11 = madd(a1, b, c11);
    b = v128.load(w2);
    c02 = madd(a0, b, c02);
    c12 = madd(a1, b, c12);
    b = v128.load(w3);
    c03 = madd(a0, b, c03);
    c13 = madd(a1, b, c13);
    b = v128.load(w4);
    c04 = madd(a0, b, c04);
    c14 = madd(a1, b, c14);
    x0 += 16;
    x1 += 16;
    w0 += 16;
    w1 += 16;
    w2 += 16;
    w3 += 16;
    w4 += 16;
  }
  const left = bytes & 15;
  if (left) {
    const none = f32x4.splat(0);
    const a0 = loadUpTo16(x0, left, none), a1 = loadUpTo16(x1, left, none);
    let b = loadUpTo16(w0, left, none);
    c00 = madd(a0, b, c00);
    c10 = madd(a1, b, c10);
    b = loadUpTo16(w1, left, none);
    c01 = madd(a0, b, c01);
    c11 = madd(a1, b, c11);
    b = loadUpTo16(w2, left, none);
    c02 = madd(a0, b, c02);
    c12 = madd(a1, b, c12);
    b = loadUpTo16(w3, left, none);
    c03 = madd(a0, b, c03);
    c13 = madd(a1, b, c13);
    b = loadUpTo16(w4, left, none);
    c04 = madd(a0, b, c04);
    c14 = madd(a1, b, c14);
  }
  put(y0, y1, first, bias, hasBias, c00, c10);
  if (count > 1) put(y0 + 4, y1 + 4, first, bias + 4, hasBias, c01, c11);
  if (count > 2) put(y0 + 8, y1 + 8, first, bias + 8, hasBias, c02, c12);
  if (count > 3) put(y0 + 12, y1 + 12, first, bias + 12, hasBias, c03, c13);
  if (count > 4) put(y0 + 16, y1 + 16, first, bias + 16, hasBias, c04, c14);
}

/**
 * Y = X · Wᵀ (+ bias): X has `rows` rows, W has `cols`, both of `depth` contiguous f32; Y has `rows` of `cols`. Strides (of rows, in
 * bytes) may exceed the row. Each result is summed chunk by chunk, four lanes in a chunk, whatever the number of rows and columns.
 */
export function linear_f32(x: usize, xStride: usize, w: usize, wStride: usize, y: usize, yStride: usize, rows: usize, cols: usize, depth: usize, bias: usize, hasBias: bool): void {
  // If W is used only once, its rows are read from end to end.
  const block = rows <= 2 ? TILE : BLOCK;
  for (let n: usize = 0; n < cols; n += block) {
    const end = min(cols, n + block);
    let k: usize = 0;
    do {
      const bytes = min(depth - k, CHUNK) << 2;
      for (let m: usize = 0; m < rows; m += 2) {
        const x0 = x + m * xStride + (k << 2), y0 = y + m * yStride;
        const pair = m + 1 < rows;
        for (let j = n; j < end; j += TILE) {
          const at = j << 2;
          const count = min(TILE, end - j);
          tile(x0, pair ? x0 + xStride : x0, w + j * wStride + (k << 2), wStride, bytes, count, y0 + at, pair ? y0 + yStride + at : y0 + at, k == 0, bias + at, hasBias);
        }
      }
      k += CHUNK;
    } while (k < depth);
  }
}
