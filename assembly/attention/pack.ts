import { ROW_QUERY, rowEntry } from "./layout";

/** Packs queries [dimension][lanes], multiplied by the scale, group after group. Missing rows become 0. */
export function packQueries(block: usize, rows: usize, groups: usize, lanes: usize, dim: usize, scale: f32, packed: usize): void {
  for (let r: usize = 0; r < groups * lanes; r++) {
    let dst = packed + (r / lanes) * lanes * (dim << 2) + ((r % lanes) << 2);
    if (r < rows) {
      let src = load<usize>(rowEntry(block, r), ROW_QUERY);
      for (const end = src + (dim << 2); src < end; src += 4, dst += lanes << 2) store<f32>(dst, load<f32>(src) * scale);
    } else {
      for (let d: usize = 0; d < dim; d++, dst += lanes << 2) store<f32>(dst, 0);
    }
  }
}
