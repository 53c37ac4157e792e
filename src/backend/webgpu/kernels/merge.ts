import { programOf } from "../device/program.ts";
import { uniformBlock } from "../device/uniforms.ts";

// Merges states (out, lse): chunks of split keys all at once, and the states of mergeStates two at a time.

const THREADS = 256;

/** Columns per workgroup when merging chunks, and lanes that share those chunks. */
export const MERGED_COLUMNS = 32;
const CHUNK_LANES = THREADS / MERGED_COLUMNS;

/** Elements per workgroup when merging two states. */
export const MERGED_ELEMENTS = THREADS;

const CONSTANTS = `
// The bits of −inf, the state of a row that saw nothing. WGSL cannot write infinities as numbers.
const NEG_INF = 0xff800000u;
const LOWEST = -0x1.fffffep+127f;
`;

/** Uniforms for merging chunks. Their states are stored by [sequence, chunk, head, row]. Strides are in elements. */
export const CHUNK_UNIFORMS = uniformBlock("Uniforms", {
  columns: "u32",
  columnBlocks: "u32",
  /** Rows stored per sequence in the chunks' states; a sequence may use fewer. */
  rows: "u32",
  heads: "u32",
  /** Where `tables` describes the sequences. */
  sequencesAt: "u32",
  outHead: "u32",
  outRow: "u32",
  lseHead: "u32",
  lseRow: "u32",
  wantsLse: "u32",
  gridX: "u32",
  workgroups: "u32",
});

/** Words of `tables` per sequence: where its output, log-sum-exp and states begin; number of rows; first chunk, and number of chunks. */
export const CHUNK_SEQUENCE_WORDS = 6;

/**
 * Merges the chunks of split keys. Chunk c of a sequence goes to lane c mod 8 and the lanes are summed in order. So chunks that see
 * nothing, however many, change no bit.
 */
export const MERGE_CHUNKS = programOf("merge chunks", () => ({
  uniforms: CHUNK_UNIFORMS,
  buffers: {
    part_out: ["read", "f32"],
    part_lse: ["read", "u32"],
    tables: ["read", "u32"],
    out: ["write", "f32"],
    lse: ["write", "u32"],
  },
  body: `${CONSTANTS}
var<workgroup> tops: array<f32, ${THREADS}>;
var<workgroup> sums: array<vec2<f32>, ${THREADS}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let id = workgroup.y * u.gridX + workgroup.x;
  if (id >= u.workgroups) { return; }
  let of_row = id / u.columnBlocks;
  let row = of_row % u.rows;
  let head = of_row / u.rows % u.heads;
  let sequence = u.sequencesAt + ${CHUNK_SEQUENCE_WORDS}u * (of_row / u.rows / u.heads);
  if (row >= tables[sequence + 3u]) { return; }
  let states = tables[sequence + 2u] + head * u.rows + row;
  let chunks = tables[sequence + 5u];
  let column = id % u.columnBlocks * ${MERGED_COLUMNS}u + thread % ${MERGED_COLUMNS}u;
  let lane = thread / ${MERGED_COLUMNS}u;
  let first = (lane + ${CHUNK_LANES}u - tables[sequence + 4u] % ${CHUNK_LANES}u) % ${CHUNK_LANES}u;

  var top = LOWEST;
  for (var c = first; c < chunks; c += ${CHUNK_LANES}u) {
    let bits = part_lse[states + c * u.heads * u.rows];
    if (bits != NEG_INF) { top = max(top, bitcast<f32>(bits)); }
  }
  tops[thread] = top;
  workgroupBarrier();
  for (var i = thread % ${MERGED_COLUMNS}u; i < ${THREADS}u; i += ${MERGED_COLUMNS}u) { top = max(top, tops[i]); }

  var sum = vec2(0.0);
  for (var c = first; c < chunks; c += ${CHUNK_LANES}u) {
    let i = states + c * u.heads * u.rows;
    let bits = part_lse[i];
    // The output of a chunk that saw no keys means nothing.
    if (bits == NEG_INF) { continue; }
    let weight = exp(bitcast<f32>(bits) - top);
    var value = 0.0;
    if (weight != 0.0 && column < u.columns) { value = weight * part_out[i * u.columns + column]; }
    sum += vec2(weight, value);
  }
  sums[thread] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var i = 1u; i < ${CHUNK_LANES}u; i++) { sum += sums[thread + i * ${MERGED_COLUMNS}u]; }
  // The chunk with the largest log-sum-exp weighs 1, so a sum of 0 means that the row saw nothing.
  if (column < u.columns) {
    out[tables[sequence] + head * u.outHead + row * u.outRow + column] = select(0.0, sum.y / sum.x, sum.x > 0.0);
  }
  if (u.wantsLse != 0u && column == 0u) {
    lse[tables[sequence + 1u] + head * u.lseHead + row * u.lseRow] = select(NEG_INF, bitcast<u32>(top + log(sum.x)), sum.x > 0.0);
  }
}
`,
}));

/** Uniforms for merging two states a and b, with rows by [batch, head, length]. Offsets and strides are in elements. */
export const PAIR_UNIFORMS = uniformBlock("Uniforms", {
  columns: "u32",
  heads: "u32",
  length: "u32",
  elements: "u32",
  gridX: "u32",
  /** Whether there is a b. */
  pair: "u32",
  /** Start, and strides along batch, head and row: of outputs a, b and merged, then of the log-sum-exps. */
  outs: { array: "vec4<u32>", length: 3 },
  lses: { array: "vec4<u32>", length: 3 },
});

/**
 * Merges two states. The one with the larger log-sum-exp goes first, with weight 1. So both orders compute the same, even if the compiler
 * fuses multiply-adds.
 */
export const MERGE_PAIR = programOf("merge pair", () => ({
  uniforms: PAIR_UNIFORMS,
  buffers: {
    out_a: ["read", "f32"],
    lse_a: ["read", "u32"],
    out_b: ["read", "f32"],
    lse_b: ["read", "u32"],
    out: ["write", "f32"],
    lse: ["write", "u32"],
  },
  body: `${CONSTANTS}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let id = (workgroup.y * u.gridX + workgroup.x) * ${THREADS}u + thread;
  if (id >= u.elements) { return; }
  // An output without columns still has log-sum-exps.
  let width = max(u.columns, 1u);
  let column = id % width;
  let row = id / width;
  let at = vec4(1u, row / u.length / u.heads, row / u.length % u.heads, row % u.length);
  let of_a = lse_a[dot(at, u.lses[0])];
  var of_b = NEG_INF;
  if (u.pair != 0u) { of_b = lse_b[dot(at, u.lses[1])]; }
  var a = 0.0;
  var b = 0.0;
  // The output of a state that saw no keys means nothing.
  if (u.columns > 0u && of_a != NEG_INF) { a = out_a[dot(at, u.outs[0]) + column]; }
  if (u.columns > 0u && of_b != NEG_INF) { b = out_b[dot(at, u.outs[1]) + column]; }
  let x = select(bitcast<f32>(of_a), LOWEST, of_a == NEG_INF);
  let y = select(bitcast<f32>(of_b), LOWEST, of_b == NEG_INF);
  let swapped = of_a == NEG_INF || (of_b != NEG_INF && y > x);
  let top = max(x, y);
  let weight = select(exp(min(x, y) - top), 0.0, of_a == NEG_INF || of_b == NEG_INF);
  let larger = select(a, b, swapped);
  let smaller = select(select(b, a, swapped), 0.0, weight == 0.0);
  let sum = 1.0 + weight;
  if (u.columns > 0u) { out[dot(at, u.outs[2]) + column] = (larger + weight * smaller) / sum; }
  if (column == 0u) { lse[dot(at, u.lses[2])] = select(bitcast<u32>(top + log(sum)), NEG_INF, of_a == NEG_INF && of_b == NEG_INF); }
}
`,
}));
