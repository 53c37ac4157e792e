import { tanh } from "../math/tanh";
import { NEG_INF, constant } from "../simd/constants";
import { loadUpTo16 } from "../simd/tail";
import { nmadd } from "../simd/fma";
import { transpose4x4 } from "../simd/transpose";
import { BIAS, MASK, ROW_BIAS, ROW_HIGH, ROW_LOW, ROW_MASK, ROW_POSITION, ROW_SLOPE, SCORE_ROW, TILE_KEYS } from "./layout";

// The only hook between scores and softmax. A column of a tile is four rows (lanes) by `keys` keys, `pitch` bytes apart.

/** s = c · tanh(s / c) over a whole tile of `bytes`, a multiple of 32. */
export function softcapTile(s: usize, bytes: usize, cap: f32): void {
  const c = f32x4.splat(cap), inverse = f32x4.splat(1.0 / cap);
  for (const end = s + bytes; s < end; s += 16) v128.store(s, f32x4.mul(c, tanh(f32x4.mul(v128.load(s), inverse))));
}

/** s −= slope · |position − key|. */
@inline function addAlibi(s: usize, pitch: usize, row: usize, from: usize, keys: usize): void {
  const slope = v128.load(row + ROW_SLOPE), position = v128.load(row + ROW_POSITION);
  for (let j: usize = 0; j < keys; j++, s += pitch) {
    v128.store(s, nmadd(slope, f32x4.abs(f32x4.sub(position, f32x4.splat(<f32>(from + j)))), v128.load(s)));
  }
}

/** s += bias. Rows of bias are transposed four keys at a time. */
@inline function addBias(s: usize, pitch: usize, row: usize, from: usize, keys: usize, limit: usize): void {
  const zero = f32x4.splat(0);
  const b0 = load<usize>(row + ROW_BIAS), b1 = load<usize>(row + ROW_BIAS, 4), b2 = load<usize>(row + ROW_BIAS, 8), b3 = load<usize>(row + ROW_BIAS, 12);
  for (let j = from, end = from + keys; j < end; j += 4, s += pitch << 2) {
    const at = j << 2;
    const left = (limit - j) << 2;
    const r0 = loadUpTo16(b0 + at, left, zero), r1 = loadUpTo16(b1 + at, left, zero);
    const r2 = loadUpTo16(b2 + at, left, zero), r3 = loadUpTo16(b3 + at, left, zero);
    const low01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5), high01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5), high23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(s, f32x4.add(v128.load(s), v128.shuffle<i64>(low01, low23, 0, 2)));
    v128.store(s + pitch, f32x4.add(v128.load(s + pitch), v128.shuffle<i64>(low01, low23, 1, 3)));
    v128.store(s + 2 * pitch, f32x4.add(v128.load(s + 2 * pitch), v128.shuffle<i64>(high01, high23, 0, 2)));
    v128.store(s + 3 * pitch, f32x4.add(v128.load(s + 3 * pitch), v128.shuffle<i64>(high01, high23, 1, 3)));
  }
}

/** Up to four mask bytes of one row, without reading past `left`. */
@inline function maskBytes(p: usize, left: usize): u32 {
  if (left >= 4) return load<u32>(p);
  let bytes: u32 = load<u8>(p);
  if (left > 1) bytes |= <u32>load<u8>(p, 1) << 8;
  if (left > 2) bytes |= <u32>load<u8>(p, 2) << 16;
  return bytes;
}

/** s = −inf where the mask byte is 0. `m0` … `m3` are the addresses of key `from` in each row's mask. */
@inline function applyMask(s: usize, pitch: usize, m0: usize, m1: usize, m2: usize, m3: usize, keys: usize, limit: usize): void {
  const removed = constant(NEG_INF);
  for (let j: usize = 0; j < keys; j += 4, s += pitch << 2) {
    const left = limit - j;
    let bytes = i32x4.splat(maskBytes(m0 + j, left));
    bytes = i32x4.replace_lane(bytes, 1, maskBytes(m1 + j, left));
    bytes = i32x4.replace_lane(bytes, 2, maskBytes(m2 + j, left));
    bytes = i32x4.replace_lane(bytes, 3, maskBytes(m3 + j, left));
    // Row-major bytes to key-major: byte 4r + k becomes 4k + r. Then each key's four bytes widen to four lanes.
    const keep = i8x16.ne(i8x16.shuffle(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), i32x4.splat(0));
    const low = i16x8.extend_low_i8x16_s(keep), high = i16x8.extend_high_i8x16_s(keep);
    v128.store(s, v128.bitselect(v128.load(s), removed, i32x4.extend_low_i16x8_s(low)));
    v128.store(s + pitch, v128.bitselect(v128.load(s + pitch), removed, i32x4.extend_high_i16x8_s(low)));
    v128.store(s + 2 * pitch, v128.bitselect(v128.load(s + 2 * pitch), removed, i32x4.extend_low_i16x8_s(high)));
    v128.store(s + 3 * pitch, v128.bitselect(v128.load(s + 3 * pitch), removed, i32x4.extend_high_i16x8_s(high)));
  }
}

/** s = −inf outside each row's visible keys. */
@inline function applyRange(s: usize, pitch: usize, low: v128, high: v128, from: usize, keys: usize): void {
  const removed = constant(NEG_INF);
  for (let j: usize = 0; j < keys; j++, s += pitch) {
    const key = i32x4.splat(<i32>(from + j));
    const visible = v128.andnot(i32x4.lt_s(key, high), i32x4.lt_s(key, low));
    v128.store(s, v128.bitselect(v128.load(s), removed, visible));
  }
}

/**
 * Applies ALiBi, bias, masks and visible range to one column: the keys `from` … `from + keys` (a multiple of four) of the four rows
 * whose table entries start at `row`. `flags` tell which of bias and mask there are. An address cannot tell: copies of some of the keys
 * are addressed from key 0, which lies before them and may be at 0. `limit` is one past the last key that has a bias and a mask byte.
 * `tile` is a 64 × 64 byte mask of the whole tile, in which these rows start at `tileRow`, or 0.
 */
export function modifyColumn(s: usize, pitch: usize, row: usize, from: usize, keys: usize, limit: usize, tile: usize, tileRow: usize, flags: u32): void {
  if (v128.any_true(v128.load(row + ROW_SLOPE))) addAlibi(s, pitch, row, from, keys);
  if (flags & BIAS) addBias(s, pitch, row, from, keys, limit);
  if (flags & MASK) {
    const m = row + ROW_MASK;
    applyMask(s, pitch, load<usize>(m) + from, load<usize>(m, 4) + from, load<usize>(m, 8) + from, load<usize>(m, 12) + from, keys, limit - from);
  }
  if (tile) {
    const t = tile + (tileRow << 6) + (from & 63);
    applyMask(s, pitch, t, t + 64, t + 128, t + 192, keys, 64);
  }
  const low = v128.load(row + ROW_LOW), high = v128.load(row + ROW_HIGH);
  const whole = v128.and(i32x4.le_s(low, i32x4.splat(<i32>from)), i32x4.ge_s(high, i32x4.splat(<i32>(from + keys))));
  if (!i32x4.all_true(whole)) applyRange(s, pitch, low, high, from, keys);
}

/** Whether anything but softcap changes the scores of one of `rows` rows at `row` for the keys `from` … `to`. */
@inline function modifiesRows(row: usize, rows: usize, from: usize, to: usize, tile: usize, flags: u32): bool {
  if (tile || flags & (BIAS | MASK)) return true;
  for (const end = row + (rows << 2); row < end; row += 4) {
    if (load<usize>(row, ROW_LOW) > from || load<usize>(row, ROW_HIGH) < to || load<f32>(row, ROW_SLOPE) != 0) return true;
  }
  return false;
}

/**
 * Like `modifyColumn`, for up to four rows of a tile whose scores lie one row after the other at `s`, of the keys `from` … `to`. They
 * pass through `columns`. Places around these keys become −inf, from and to a multiple of sixteen.
 */
export function modifyRows(s: usize, rows: usize, row: usize, from: usize, to: usize, limit: usize, tile: usize, tileRow: usize, flags: u32, columns: usize): void {
  const at = from & (TILE_KEYS - 1), count = to - from;
  if (modifiesRows(row, rows, from, to, tile, flags)) {
    const first = at & ~3, keys = (at + count - first + 3) & ~3;
    const r = s + (first << 2);
    for (let i: usize = 0; i < keys << 2; i += 16) {
      const p = r + i;
      transpose4x4(p, p + SCORE_ROW, p + 2 * SCORE_ROW, p + 3 * SCORE_ROW, columns + (i << 2), 16);
    }
    modifyColumn(columns, 16, row, from & ~3, keys, limit, tile, tileRow, flags);
    for (let i: usize = 0; i < keys << 2; i += 16) {
      const c = columns + (i << 2);
      transpose4x4(c, c + 16, c + 32, c + 48, r + i, SCORE_ROW);
    }
  }
  for (const end = s + rows * SCORE_ROW; s < end; s += SCORE_ROW) {
    for (let j = at & ~15; j < at; j++) store<f32>(s + (j << 2), -Infinity);
    for (let j = at + count; j & 15; j++) store<f32>(s + (j << 2), -Infinity);
  }
}
