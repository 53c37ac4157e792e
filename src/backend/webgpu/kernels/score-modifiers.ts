import type { ProgramFeature } from "../device/program.ts";
import type { Storage } from "../device/traits.ts";

// What happens to a score between q·k and softmax, in WGSL, for every kernel that computes scores. Also the records that say, for each
// sequence of a call, where its numbers are and which keys its rows see. Kernels that use this name their uniform block `u` and their
// tables `tables`, and bind `bias` and `mask`.

/** Rows and keys along each side of a block mask's tile. */
export const TILE = 64;

/** Flags for what a call has besides queries and keys. */
export const BIAS = 1;
export const MASK = 2;
export const TILES = 4;
export const ALIBI = 8;
export const SINKS = 16;
export const LSE = 32;

/** Values of a tile's word in `tables`: skip the tile, take all of it, or (any larger number) where its bits begin, two words per row. */
export const TILE_SKIPPED = 0;
export const TILE_OPEN = 1;

/** Uniforms of all kernels that compute scores. Strides and offsets are in elements, relative to a sequence's own start. */
export const SCORE_UNIFORMS = {
  dim: "u32",
  /** Query heads that share a key/value head. */
  group: "u32",
  qHead: "u32",
  qRow: "u32",
  kHead: "u32",
  kRow: "u32",
  outHead: "u32",
  lseHead: "u32",
  /** Workgroups take `heads` heads, from `firstHead` on (key/value heads for decode). Of all `workgroups`, `gridX` are along x. */
  firstHead: "u32",
  heads: "u32",
  gridX: "u32",
  workgroups: "u32",
  scale: "f32",
  softcap: "f32",
  flags: "u32",
  biasHead: "u32",
  biasRow: "u32",
  biasKey: "u32",
  maskHead: "u32",
  maskRow: "u32",
  maskKey: "u32",
  tilesHead: "u32",
  tilesRow: "u32",
  slopesAt: "u32",
} as const;

/**
 * A sequence's record in `tables`: where its first element is in each binding, and what its rows see. The host has already added batch,
 * first row and the start of the binding, so kernels need none of them. Of the keys in use, row i sees low + i to high + i (exclusive).
 */
export const SEQUENCE = {
  q: "u32",
  k: "u32",
  v: "u32",
  out: "u32",
  lse: "u32",
  bias: "u32",
  mask: "u32",
  tiles: "u32",
  low: "i32",
  high: "i32",
  keys: "i32",
  queries: "i32",
  rows: "u32",
  /** Position of the first query among the keys, for ALiBi. */
  offset: "f32",
  /** The first split-KV chunk that any row sees. */
  chunk: "u32",
} as const;

export type SequenceRecord = Readonly<Record<keyof typeof SEQUENCE, number>>;

/** Words of a record. */
export const SEQUENCE_WORDS = Object.keys(SEQUENCE).length;

const BITS = new DataView(new ArrayBuffer(4));

/** The bits of a number, as f32. */
function bitsOf(value: number): number {
  BITS.setFloat32(0, value);
  return BITS.getUint32(0);
}

/** Something that takes words. */
export interface Words {
  push(...words: readonly number[]): unknown;
}

/** Appends a record. Offsets are modulo 2^32, as are the kernels' sums: one may be negative if a binding starts after it. */
export function pushSequence(tables: Words, record: SequenceRecord): void {
  for (const [field, type] of Object.entries(SEQUENCE)) {
    const value = record[field as keyof SequenceRecord];
    tables.push(type === "f32" ? bitsOf(value) : value >>> 0);
  }
}

const READERS = { u32: "tables[at + N]", i32: "bitcast<i32>(tables[at + N])", f32: "bitcast<f32>(tables[at + N])" } as const;

/** The WGSL element type of a binding of numbers. */
export const ELEMENT: Readonly<Record<Storage, string>> = { f32: "f32", f16: "f16", "f16-packed": "u32" };

/** The features needed to read it. */
export function featuresOf(storage: Storage): readonly ProgramFeature[] {
  return storage === "f16" ? ["shader-f16"] : [];
}

/** A WGSL expression for element `index` of a binding, as f32. */
export function element(storage: Storage, binding: string, index: string): string {
  if (storage === "f32") return `${binding}[${index}]`;
  if (storage === "f16") return `f32(${binding}[${index}])`;
  return `unpack2x16float(${binding}[(${index}) >> 1u])[(${index}) & 1u]`;
}

/** A WGSL expression for the elements of a binding at four indices. */
export function elements(binding: string, index: string): string {
  return `vec4(${["x", "y", "z", "w"].map((i) => `${binding}[${index}.${i}]`).join(", ")})`;
}

/**
 * WGSL for `Sequence`, `Rows` and `modified`. Masked scores are marked by a flag rather than by their value: WGSL promises nothing about
 * infinities, and the lowest finite number is a score like any other.
 */
export const SCORE_WGSL = `
// The bits of −inf, which masks wherever it appears. It cannot be written as a number: constants must be finite.
const NEG_INF = 0xff800000u;
const LOWEST = -0x1.fffffep+127f;

struct Sequence {
${Object.entries(SEQUENCE)
  .map(([field, type]) => `  ${field}: ${type},`)
  .join("\n")}
}

fn sequence_at(at: u32) -> Sequence {
  return Sequence(${Object.values(SEQUENCE)
    .map((type, n) => READERS[type].replace("N", `${n}u`))
    .join(", ")});
}

/// Four rows: the query and head of each.
struct Rows {
  query: vec4<u32>,
  head: vec4<u32>,
}

/// Four scores of one key, and whether they count.
struct Scores {
  values: vec4<f32>,
  seen: vec4<bool>,
}

/// Drivers compute tanh from exponentials, which cancel near 0 and overflow far from it. So near 0 this uses Cephes' polynomial.
fn tanh_of(x: vec4<f32>) -> vec4<f32> {
  let z = x * x;
  let near = ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z - 3.33332819422e-1) * z * x + x;
  // Beyond 20 the result is 1 in f32.
  let far = sign(x) * (1.0 - 2.0 / (exp(2.0 * min(abs(x), vec4(20.0))) + 1.0));
  return select(far, near, abs(x) < vec4(0.625));
}

/// scale · q·k, capped.
fn capped(dots: vec4<f32>) -> vec4<f32> {
  let s = dots * u.scale;
  if (u.softcap == 0.0) { return s; }
  return u.softcap * tanh_of(s / u.softcap);
}

/// Applies ALiBi, bias and every mask to the scores of four rows and one key. \`tile\` is the word in \`tables\` for the block mask's tile.
fn modified(scores: vec4<f32>, key: u32, rows: Rows, sq: Sequence, tile: u32) -> Scores {
  var s = scores;
  if ((u.flags & ${ALIBI}u) != 0u) {
    let slope = bitcast<vec4<f32>>(${elements("tables", "(u.slopesAt + rows.head)")});
    s -= slope * abs(sq.offset + vec4<f32>(rows.query) - f32(key));
  }
  let query = vec4<i32>(rows.query);
  let low = query + sq.low;
  let high = select(vec4(0), min(vec4(sq.keys), query + sq.high), query < vec4(sq.queries));
  var seen = (vec4(i32(key)) >= low) & (vec4(i32(key)) < high);
  if ((u.flags & ${BIAS}u) != 0u) {
    let i = sq.bias + rows.head * u.biasHead + rows.query * u.biasRow + key * u.biasKey;
    let b = ${elements("bias", "i")};
    seen &= bitcast<vec4<u32>>(b) != vec4(NEG_INF);
    s += b;
  }
  if ((u.flags & ${MASK}u) != 0u) {
    let i = sq.mask + rows.head * u.maskHead + rows.query * u.maskRow + key * u.maskKey;
    let words = ${elements("mask", "(i >> vec4(2u))")};
    seen &= ((words >> ((i & vec4(3u)) * 8u)) & vec4(255u)) != vec4(0u);
  }
  if (tile == ${TILE_SKIPPED}u) {
    seen = vec4(false);
  } else if (tile != ${TILE_OPEN}u) {
    let i = tile + (rows.query % ${TILE}u) * 2u + (key % ${TILE}u) / 32u;
    seen &= ((${elements("tables", "i")} >> vec4(key % 32u)) & vec4(1u)) != vec4(0u);
  }
  // A key of −inf masks, as a bias does.
  seen &= bitcast<vec4<u32>>(s) != vec4(NEG_INF);
  return Scores(s, seen);
}

/// The word in \`tables\` for the tile of a head's query and key.
fn tile_of(sq: Sequence, head: u32, query: u32, key: u32) -> u32 {
  if ((u.flags & ${TILES}u) == 0u) { return ${TILE_OPEN}u; }
  return tables[sq.tiles + head * u.tilesHead + query / ${TILE}u * u.tilesRow + key / ${TILE}u];
}
`;
