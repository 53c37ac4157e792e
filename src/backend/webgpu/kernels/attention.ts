import { CHUNK_KEYS } from "../../../calls/blocks.ts";
import { type Program, type ProgramSource, programOf } from "../device/program.ts";
import type { DeviceTraits, Storage } from "../device/traits.ts";
import { uniformBlock } from "../device/uniforms.ts";
import { ELEMENT, LSE, SCORE_UNIFORMS, SCORE_WGSL, SINKS, TILE_SKIPPED, element, elements, featuresOf } from "./score-modifiers.ts";

// Flash attention: a workgroup computes `rows` rows, in tiles of `keys` keys, with the running max and sum in registers.
//
// A thread computes four rows by every 16th key of a tile, then the same four rows by every 16th of 64 value columns:
//
//     lane c →   0 1 … 15          keys c, c + 16, …  (neighbouring lanes read neighbouring biases, mask bytes, columns)
//     group ↓ 0  ┌────────┐
//             1  │ 4 rows │         s_j: vec4 of the four rows' scores for key c + 16j
//             …  │ each   │         o_r_h: vec4 of row r's columns c, c + 16, c + 32, c + 48 of half h
//                └────────┘
//
// So each step of q·k reads one vec4 of q and one of k from workgroup memory for 4 × keys/16 products, and each step of p·v reads three
// vec4 for 32 products. Steps come in fours: workgroup memory is indexed by a row of four steps, then by constants, which keeps the
// compiler's bounds checks out of the inner code. Rows of 5 vec4 put neighbouring lanes into different banks. Loops are bounded by
// uniforms and not unrolled further: drivers that compile on the CPU take a minute for 64 unrolled steps.

/** Value columns per workgroup: two halves of 64. */
export const SLICE = 128;
const HALF = 64;

/** Lanes that share four rows. */
const LANES = 16;

/** Dimensions of q and k that are staged at once. */
const STAGED_DIMS = 16;

/** Steps in a row of staged vec4; one extra is left empty. */
const STEPS = 4;

/**
 * Keys per split-KV chunk. Constant, so that a row's bits depend on nothing else. At 128 dimensions, a workgroup then reads 128 KiB of f32
 * keys and values and writes 4 KiB for each row in use; 8 heads with 4096 keys make 256 workgroups.
 */
const CHUNK = CHUNK_KEYS.webgpu;

/** Bytes of workgroup memory for tiles of 64 × 64. WebGPU guarantees only 16 KiB. */
const LARGE_TILE_BYTES = tileBytes({ rows: 64, keys: 64 });

/** What decides the text of an attention kernel. Options of a call are uniforms or tables instead. */
export interface AttentionKey {
  /** Rows per workgroup: 64 of one head (prefill), or 16 across all heads that share a key/value head (decode). */
  readonly rows: 64 | 16;
  readonly keys: 64 | 32;
  readonly storage: Storage;
  /** Whether groups of four lanes find their max by shuffles. */
  readonly subgroups: boolean;
}

/** The kernel for a device. */
export function attentionKey(kind: "prefill" | "decode", storage: Storage, traits: Pick<DeviceTraits, "workgroupStorage" | "subgroups">): AttentionKey {
  const rows = kind === "prefill" ? 64 : 16;
  // Shuffles span four lanes, the smallest subgroup that WebGPU allows.
  const subgroups = traits.subgroups !== undefined && traits.subgroups.min >= 4;
  return { rows, keys: rows === 16 || traits.workgroupStorage >= LARGE_TILE_BYTES ? 64 : 32, storage, subgroups };
}

/** Uniforms. Strides and offsets in elements. */
export const ATTENTION_UNIFORMS = uniformBlock("Uniforms", {
  ...SCORE_UNIFORMS,
  valueDim: "u32",
  vHead: "u32",
  vRow: "u32",
  outRow: "u32",
  lseRow: "u32",
  /** Distance from one chunk to the next, of the outputs and of the log-sum-exps. */
  outChunk: "u32",
  lseChunk: "u32",
  sinksAt: "u32",
  /** Where `tables` lists blocks: each one's sequence record, first row, and chunk. */
  blocksAt: "u32",
  /** Number of blocks. Workgroups are blocks (fastest) × heads × slices. */
  blocks: "u32",
});

/** Words per block in `tables`. */
export const BLOCK_WORDS = 3;

/** Sizes that follow from a key. */
interface Tiles {
  readonly threads: number;
  /** Groups of four rows. */
  readonly groups: number;
  /** Keys per thread. */
  readonly perThread: number;
  /** Keys whose values are staged at once. */
  readonly valueKeys: number;
  /** Rows of staged vec4. */
  readonly stagedRows: number;
}

function tilesOf({ rows, keys }: Pick<AttentionKey, "rows" | "keys">): Tiles {
  const groups = rows / 4;
  const valueKeys = keys === 64 ? 16 : 8;
  // 32 keys fill only half a vec4; the other half holds the dimension 8 further on.
  const forScores = (STAGED_DIMS / STEPS) * (groups + (keys / 64) * LANES);
  const forValues = ((2 * valueKeys) / STEPS) * LANES;
  return { threads: groups * LANES, groups, perThread: keys / LANES, valueKeys, stagedRows: Math.max(forScores, forValues) };
}

function tileBytes(key: Pick<AttentionKey, "rows" | "keys">): number {
  const { groups, stagedRows } = tilesOf(key);
  return 16 * (groups * key.keys + stagedRows * (STEPS + 1));
}

/** Bytes of workgroup memory and threads that a kernel needs. */
export function attentionNeeds(key: AttentionKey): { readonly workgroupStorage: number; readonly invocations: number } {
  return { workgroupStorage: tileBytes(key), invocations: tilesOf(key).threads };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (count: number, line: (i: number) => string): string => range(count).map(line).join("\n");

/** The program for a key. */
export function attentionProgram(key: AttentionKey): Program {
  const { rows, keys, storage, subgroups } = key;
  return programOf(`attention ${rows}x${keys} ${storage}${subgroups ? " subgroups" : ""}`, () => attentionSource(key));
}

function attentionSource(key: AttentionKey): ProgramSource {
  const { rows, keys, storage, subgroups } = key;
  const { threads, groups, perThread, valueKeys, stagedRows } = tilesOf(key);
  const decode = rows === 16;
  const shared = keys === 32;
  /** The first row of staged keys. */
  const keyRows = (STAGED_DIMS / STEPS) * groups;
  const scores = range(perThread);
  const steps = range(STEPS);
  const accumulators = range(4).flatMap((r) => [`o${r}a`, `o${r}b`]);

  const body = `
/// Staged q and k, four rows or keys per vec4; or staged v, four columns per vec4.
var<workgroup> stage: array<array<vec4<f32>, ${STEPS + 1}>, ${stagedRows}>;
/// The tile's scores, later its weights, by group and key: four rows per vec4.
var<workgroup> tile: array<array<array<vec4<f32>, ${STEPS}>, ${keys / STEPS}>, ${groups}>;
${SCORE_WGSL}
fn load_q(i: u32) -> f32 { return ${element(storage, "q", "i")}; }
/// Keys outside the block's range are not read: they may hold NaN.
fn load_k(at: u32, key: u32, d: u32, low: i32, high: i32) -> f32 {
  if (d >= u.dim || i32(key) < low || i32(key) >= high) { return 0.0; }
  let i = at + key * u.kRow + d;
  return ${element(storage, "k", "i")};
}
fn load_v(i: u32) -> f32 { return ${element(storage, "v", "i")}; }

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let id = workgroup.y * u.gridX + workgroup.x;
  if (id >= u.workgroups) { return; }
  let block = u.blocksAt + ${BLOCK_WORDS}u * (id % u.blocks);
  let of_head = id / u.blocks;
  let slice = of_head / u.heads;
  let sq = sequence_at(tables[block]);
  let first = tables[block + 1u];
  let chunk = tables[block + 2u];
  let lane = thread % ${LANES}u;
  let group = thread / ${LANES}u;

  // The block's rows, and the keys from low to high that any of them sees.
${
  decode
    ? `  let kv_head = u.firstHead + of_head % u.heads;
  let row = first + group * 4u + vec4(0u, 1u, 2u, 3u);
  let limit = sq.rows * u.group;
  // Rows past the last repeat it, and are not written.
  let clamped = min(row, vec4(limit - 1u));
  let rows = Rows(clamped % sq.rows, kv_head * u.group + clamped / sq.rows);
  let start = (sq.chunk + chunk) * ${CHUNK}u;
  let low = max(max(0, sq.low), i32(start));
  let high = select(0, min(min(sq.keys, sq.high + sq.queries - 1), i32(start + ${CHUNK}u)), sq.queries > 0);`
    : `  let head = u.firstHead + of_head % u.heads;
  let kv_head = head / u.group;
  let row = first + group * 4u + vec4(0u, 1u, 2u, 3u);
  let limit = sq.rows;
  let rows = Rows(min(row, vec4(limit - 1u)), vec4(head));
  let queries = min(i32(first) + ${rows}, sq.queries);
  let low = max(0, sq.low + i32(first));
  let high = select(0, min(sq.keys, sq.high + queries - 1), queries > i32(first));`
}
  let q_at = sq.q + rows.head * u.qHead + rows.query * u.qRow;
  let k_at = sq.k + kv_head * u.kHead;
  let v_at = sq.v + kv_head * u.vHead + slice * ${SLICE}u;
  let columns = u.valueDim - min(slice * ${SLICE}u, u.valueDim);
  let halves = select(1u, 2u, columns > ${HALF}u);

  // The rows' state: max, this lane's part of the sum, outputs.
  var m = vec4(LOWEST);
  var l = vec4(0.0);
${accumulators.map((o) => `  var ${o} = vec4(0.0);`).join("\n")}

  for (var tile_from = u32(low) / ${keys}u * ${keys}u; i32(tile_from) < high; tile_from += ${keys}u) {
${
  decode
    ? `    let kind = 1u;`
    : `    let kind = tile_of(sq, head, first, tile_from);
    if (kind == ${TILE_SKIPPED}u) { continue; }`
}
${scores.map((j) => `    var s${j} = vec4(0.0);`).join("\n")}
    for (var d0 = 0u; d0 < u.dim; d0 += ${STAGED_DIMS}u) {
      {
        let d = d0 + lane;
        var four = vec4(0.0);
        if (d < u.dim) {
          let i = q_at + d;
          four = vec4(load_q(i.x), load_q(i.y), load_q(i.z), load_q(i.w));
        }
        stage[lane / ${STEPS}u * ${groups}u + group][lane % ${STEPS}u] = four;
      }
${
  shared
    ? `      if (thread < ${(LANES * STAGED_DIMS) / 2}u) {
        let step = thread % ${STAGED_DIMS / 2}u;
        let column = thread / ${STAGED_DIMS / 2}u;`
    : `      for (var column = group; column < ${LANES}u; column += ${groups}u) {
        let step = lane;`
}
        var four = vec4(0.0);
${lines(4, (n) => {
  const [column, step] = shared ? [n & 1, (n >> 1) * (STAGED_DIMS / 2)] : [n, 0];
  return `        four[${n}] = load_k(k_at, tile_from + column + ${LANES * column}u, d0 + step + ${step}u, low, high);`;
})}
        stage[${keyRows}u + step / ${STEPS}u * ${LANES}u + column][step % ${STEPS}u] = four;
      }
      workgroupBarrier();
      let steps = (min(u.dim - d0, ${shared ? STAGED_DIMS / 2 : STAGED_DIMS}u) + ${STEPS - 1}u) / ${STEPS}u;
      for (var n = 0u; n < steps; n++) {
        let of_q = n * ${groups}u + group;
        let of_k = ${keyRows}u + n * ${LANES}u + lane;
${steps
  .map((i) =>
    shared
      ? `        let q${i} = stage[of_q][${i}]; let r${i} = stage[of_q + ${(STAGED_DIMS / 2 / STEPS) * groups}u][${i}]; let k${i} = stage[of_k][${i}];
        s0 += q${i} * k${i}.x; s1 += q${i} * k${i}.y; s0 += r${i} * k${i}.z; s1 += r${i} * k${i}.w;`
      : `        let q${i} = stage[of_q][${i}]; let k${i} = stage[of_k][${i}];
        ${scores.map((j) => `s${j} += q${i} * k${i}[${j}];`).join(" ")}`,
  )
  .join("\n")}
      }
      workgroupBarrier();
    }

    // Scores are kept in the tile, where a loop can index them.
${scores.map((j) => `    tile[group][lane / ${STEPS}u + ${j * (LANES / STEPS)}u][lane % ${STEPS}u] = s${j};`).join("\n")}
    let turns = min(${perThread}u, (u32(high) - tile_from + ${LANES - 1}u) / ${LANES}u);
    var best = vec4(LOWEST);
    var seen = 0u;
    for (var j = 0u; j < turns; j++) {
      let n = lane / ${STEPS}u + j * ${LANES / STEPS}u;
      let t = modified(capped(tile[group][n][lane % ${STEPS}u]), tile_from + lane + j * ${LANES}u, rows, sq, kind);
      tile[group][n][lane % ${STEPS}u] = t.values;
      best = max(best, select(vec4(LOWEST), t.values, t.seen));
      seen |= dot(vec4<u32>(t.seen), vec4(1u, 2u, 4u, 8u)) << (4u * j);
    }
${
  subgroups
    ? `    best = max(best, subgroupShuffleXor(best, 1u));
    best = max(best, subgroupShuffleXor(best, 2u));
    if (lane % 4u == 0u) { stage[group][lane / 4u] = best; }
    workgroupBarrier();
    best = max(max(stage[group][0], stage[group][1]), max(stage[group][2], stage[group][3]));`
    : `    stage[group * ${LANES / STEPS}u + lane / ${STEPS}u][lane % ${STEPS}u] = best;
    workgroupBarrier();
    for (var n = 0u; n < ${LANES / STEPS}u; n++) {
      let at = group * ${LANES / STEPS}u + n;
      best = max(best, max(max(stage[at][0], stage[at][1]), max(stage[at][2], stage[at][3])));
    }`
}
    workgroupBarrier();
    let top = max(m, best);
    let fade = exp(m - top);
    m = top;
    l *= fade;
${range(4)
  .map((r) => `    o${r}a *= fade[${r}]; o${r}b *= fade[${r}];`)
  .join("\n")}
    for (var j = 0u; j < turns; j++) {
      let n = lane / ${STEPS}u + j * ${LANES / STEPS}u;
      let there = ((vec4(seen) >> (vec4(0u, 1u, 2u, 3u) + 4u * j)) & vec4(1u)) != vec4(0u);
      let p = select(vec4(0.0), exp(tile[group][n][lane % ${STEPS}u] - top), there);
      l += p;
      tile[group][n][lane % ${STEPS}u] = p;
    }

    for (var part = 0u; part < ${keys}u; part += ${valueKeys}u) {
      let v_from = tile_from + part;
      if (i32(v_from) >= high) { break; }
      if (i32(v_from) + ${valueKeys} <= low || columns == 0u) { continue; }
      for (var n = group; n < halves * ${valueKeys}u; n += ${groups}u) {
        let half = n / ${valueKeys}u;
        let step = n % ${valueKeys}u;
        let key = v_from + step;
        var four = vec4(0.0);
        if (i32(key) >= low && i32(key) < high) {
          let column = half * ${HALF}u + lane;
          let i = v_at + key * u.vRow + column;
${lines(4, (n) => `          if (column + ${LANES * n}u < columns) { four[${n}] = load_v(i + ${LANES * n}u); }`)}
        }
        stage[(half * ${valueKeys / STEPS}u + step / ${STEPS}u) * ${LANES}u + lane][step % ${STEPS}u] = four;
      }
      workgroupBarrier();
      let steps = (min(u32(high) - v_from, ${valueKeys}u) + ${STEPS - 1}u) / ${STEPS}u;
      for (var n = 0u; n < steps; n++) {
        let of_tile = part / ${STEPS}u + n;
        let of_v = n * ${LANES}u + lane;
${steps.map((i) => `        let w${i} = tile[group][of_tile][${i}]; let a${i} = stage[of_v][${i}]; ${accumulate("a", i)}`).join("\n")}
        if (halves == 2u) {
${steps.map((i) => `          let b${i} = stage[of_v + ${(valueKeys / STEPS) * LANES}u][${i}]; ${accumulate("b", i)}`).join("\n")}
        }
      }
      workgroupBarrier();
    }
  }

  // Adds up the lanes' parts of the sum.
  stage[group * ${LANES / STEPS}u + lane / ${STEPS}u][lane % ${STEPS}u] = l;
  workgroupBarrier();
  var sum = vec4(0.0);
  for (var n = 0u; n < ${LANES / STEPS}u; n++) {
    let at = group * ${LANES / STEPS}u + n;
    sum += stage[at][0] + stage[at][1] + (stage[at][2] + stage[at][3]);
  }

  // The key with the max counts 1, so a sum of 0 means that the row saw nothing. Its outputs may then be 0 · NaN, from values that other
  // rows see.
  var saw = sum > vec4(0.0);

  // A sink joins once, at the end of the first chunk. Rows that are not in use have none.
  var fade = vec4(1.0);
  if ((u.flags & ${SINKS}u) != 0u && chunk == 0u) {
    let bits = ${elements("tables", "(u.sinksAt + rows.head)")};
    let there = (bits != vec4(NEG_INF)) & (vec4<i32>(rows.query) < vec4(sq.queries));
    let sink = select(vec4(LOWEST), bitcast<vec4<f32>>(bits), there);
    let top = max(m, sink);
    fade = exp(m - top);
    sum = sum * fade + select(vec4(0.0), exp(sink - top), there);
    m = top;
  }
  let any = sum > vec4(0.0);
  var factor = select(vec4(0.0), fade / sum, any);
  var logs = select(vec4(NEG_INF), bitcast<vec4<u32>>(m + log(select(vec4(1.0), sum, any))), any);
  var out_at = sq.out + rows.head * u.outHead + rows.query * u.outRow + chunk * u.outChunk + slice * ${SLICE}u;
  var lse_at = sq.lse + rows.head * u.lseHead + rows.query * u.lseRow + chunk * u.lseChunk;
  // Writes row by row: after each, the next row takes its place. This keeps the code short without indexing registers.
  let count = min(4u, limit - min(limit, row.x));
  for (var r = 0u; r < count; r++) {
    if ((u.flags & ${LSE}u) != 0u && slice == 0u && lane == 0u) { lse[lse_at.x] = logs.x; }
    for (var n = 0u; n < 4u && lane + n * ${LANES}u < columns; n++) { out[out_at.x + lane + n * ${LANES}u] = select(0.0, o0a[n] * factor.x, saw.x); }
    for (var n = 0u; n < 4u && lane + n * ${LANES}u + ${HALF}u < columns; n++) { out[out_at.x + lane + n * ${LANES}u + ${HALF}u] = select(0.0, o0b[n] * factor.x, saw.x); }
${accumulators
  .slice(0, 6)
  .map((o, i) => `    ${o} = ${accumulators[i + 2]};`)
  .join("\n")}
    factor = factor.yzww;
    saw = saw.yzww;
    logs = logs.yzww;
    out_at = out_at.yzww;
    lse_at = lse_at.yzww;
  }
}
`;
  return {
    uniforms: ATTENTION_UNIFORMS,
    buffers: {
      q: ["read", ELEMENT[storage]],
      k: ["read", ELEMENT[storage]],
      v: ["read", ELEMENT[storage]],
      bias: ["read", "f32"],
      mask: ["read", "u32"],
      tables: ["read", "u32"],
      out: ["write", "f32"],
      lse: ["write", "u32"],
    },
    features: [...featuresOf(storage), ...(subgroups ? (["subgroups"] as const) : [])],
    body,
  };
}

/** o += p · v for one key: four rows by four columns. */
function accumulate(half: "a" | "b", i: number): string {
  return range(4)
    .map((r) => `o${r}${half} += w${i}[${r}] * ${half}${i};`)
    .join(" ");
}
