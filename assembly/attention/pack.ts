import { GROUP_ROWS, ROW_QUERY, rowEntry } from "./layout";

/** Packs queries [dimension][row], multiplied by the scale, group after group. Missing rows become 0. */
export function packQueries(block: usize, rows: usize, groups: usize, dim: usize, scale: f32, packed: usize): void {
  for (let r: usize = 0; r < groups * GROUP_ROWS; r++) {
    let dst = packed + ((r & ~(GROUP_ROWS - 1)) * dim + (r & (GROUP_ROWS - 1)) << 2);
    if (r < rows) {
      let src = load<usize>(rowEntry(block, r), ROW_QUERY);
      for (const end = src + (dim << 2); src < end; src += 4, dst += GROUP_ROWS << 2) store<f32>(dst, load<f32>(src) * scale);
    } else {
      for (let d: usize = 0; d < dim; d++, dst += GROUP_ROWS << 2) store<f32>(dst, 0);
    }
  }
}

/** Packs queries one after the other, multiplied by the scale. */
export function packRows(block: usize, rows: usize, dim: usize, scale: f32, packed: usize): void {
  for (let r: usize = 0; r < rows; r++) {
    let src = load<usize>(rowEntry(block, r), ROW_QUERY);
    for (const end = src + (dim << 2); src < end; src += 4, packed += 4) store<f32>(packed, load<f32>(src) * scale);
  }
}
