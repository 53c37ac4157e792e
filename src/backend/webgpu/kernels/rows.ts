import { type Program, type ProgramSource, programOf } from "../device/program.ts";
import { uniformBlock } from "../device/uniforms.ts";
import { expWgsl, logWgsl } from "./exp-log.ts";

// Softmax, its logarithm and log Σ exp over rows, in one shader. Which operation, how the rows lie and what modifies them are uniforms.
//
// A workgroup of 256 threads takes 256 / lanes rows, with `lanes` threads each, a power of two. A thread loads up to 32 numbers of its row
// into registers (8 if they are loaded one by one). A chunk is what the lanes of a row hold together. The thread takes their max m and
// l = Σ exp(x − m), and goes on to the next chunk, rescaling l when m grows: the online softmax. The states (m, l) of the lanes merge into that
// of the row. Then every chunk is written, the last one first: it is still in registers, as exponentials, so a row of one chunk is read
// once and costs one exponential per number. Earlier chunks are read again, from a cache unless the row is long.
//
// Long rows are split into segments, over many workgroups. Phase PARTIAL leaves one state per segment in `states`; phase FINISH merges the
// states of the row and writes its own segment. How a row is split depends on its length and on how it lies in memory (row-tiling.ts),
// never on other rows.
//
// Absent scores are below every visible one: NOTHING is the lowest finite f32, and visible scores are raised to at least LOWEST, the next
// one up. They are 2·10³¹ apart, so exp(NOTHING − m) is exactly 0 for the m of any row that sees something. Arithmetic never takes
// infinities or NaN on purpose: WGSL need not honour them.

/** Threads per workgroup. Every device allows this many. */
export const WORKGROUP = 256;
/**
 * Vectors of four per thread. 8 loads in flight hide the latency of memory; single numbers, at four loads per vector, get there with two
 * vectors. More would also mean more code: a software driver took minutes to compile 8 vectors of single numbers.
 */
const VECTORS = { vector: 8, scalar: 2 } as const;

/** Numbers per thread. */
export function heldBy(vector: boolean): number {
  return 4 * VECTORS[vector ? "vector" : "scalar"];
}

export const OPS = { softmax: 0, logSoftmax: 1, logSumExp: 2 } as const;
export const PHASES = { whole: 0, partial: 1, finish: 2 } as const;

/** What decides the text of the shader; everything else is a uniform. */
export interface RowKey {
  /** f16 is always read in pairs: unpacking is one instruction, and reading is just as fast. */
  readonly storage: "f32" | "f16-packed";
  /** Lanes exchange states by shuffles instead of through workgroup memory. */
  readonly subgroups: boolean;
  /** Rows are dense and begin at multiples of four numbers, with no bias or mask, so each load and store takes four numbers. */
  readonly vector: boolean;
}

/** Uniforms. Strides and bases are in numbers (bytes for the mask), in the order x, result, bias, mask. */
export const ROW_UNIFORMS = uniformBlock("Uniforms", {
  /** Strides of the column dimensions, then of the row dimensions, each outermost first. */
  strides: { array: "vec4<u32>", length: 8 },
  sizes: { array: "vec4<u32>", length: 2 },
  /** Where the first row begins in its binding. */
  base: { array: "vec4<u32>", length: 1 },
  colDims: "u32",
  dims: "u32",
  rows: "u32",
  cols: "u32",
  laneBits: "u32",
  /** Chunks per segment. */
  chunks: "u32",
  /** Segments per row, over as many workgroups. */
  segments: "u32",
  /** States per row in `states`. */
  states: "u32",
  op: "u32",
  phase: "u32",
  across: "u32",
  standard: "u32",
  hasBias: "u32",
  hasMask: "u32",
  /** How many lanes are sure to share a subgroup. */
  subgroupMin: "u32",
  /** Bits of −∞, and of what a row that sees nothing is filled with. WGSL rejects both as constants. */
  minusInfinity: "u32",
  nothing: "u32",
  scale: "f32",
});

export type RowUniforms = Parameters<typeof ROW_UNIFORMS.pack>[0];

const ELEMENTS = {
  f32: { vector: "vec4<f32>", scalar: "f32" },
  "f16-packed": { vector: "vec2<u32>", scalar: "u32" },
} as const;

/** The buffers after the uniforms. `lse` has one number per row, `y` one row per row. */
export function rowBuffers({ storage, vector }: RowKey) {
  const modifiers = { bias: ["read", "f32"], mask: ["read", "u32"] } as const;
  return {
    x: ["read", ELEMENTS[storage][vector ? "vector" : "scalar"]],
    ...(vector ? {} : modifiers),
    states: ["write", "vec2<f32>"],
    y: ["write", vector ? "vec4<f32>" : "f32"],
    lse: ["write", "f32"],
  } as const satisfies ProgramSource["buffers"];
}

/** The shader for a key. */
export function rowProgram(key: RowKey): Program {
  return programOf(`rows ${key.storage}${key.vector ? " vector" : ""}${key.subgroups ? " subgroups" : ""}`, () => rowSource(key));
}

function rowSource(key: RowKey): ProgramSource {
  const { storage, subgroups, vector } = key;
  const vectors = heldBy(vector) / 4;
  const each = (line: (register: string, k: number) => string): string => unroll(vectors, line);
  const body = `
var<workgroup> shared_states: array<vec2<f32>, ${WORKGROUP}>;

const NOTHING = -0x1.fffffep+127f;
const LOWEST = -0x1.fffffcp+127f;
${constants("OP", OPS)}
${constants("PHASE", PHASES)}
${expWgsl("exp1", "f32")}
${expWgsl("exp4", "vec4<f32>")}
${logWgsl("log1")}
// Where a row begins. Its last dimension varies fastest.
fn row_place(row: u32) -> vec4<u32> {
  var at = u.base[0];
  var rest = row;
  for (var d = u.dims; d > u.colDims; d--) {
    let size = u.sizes[(d - 1u) / 4u][(d - 1u) % 4u];
    at += (rest % size) * u.strides[d - 1u];
    rest /= size;
  }
  return at;
}
${vector ? vectorAccess(storage) : scalarAccess(storage)}
// Merges the states (m, l) of two parts of a row. Both orders give the same bits: one factor is exactly 1.
fn merge(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let high = select(b, a, a.x >= b.x);
  let low = select(a, b, a.x >= b.x);
  return vec2(high.x, high.y + low.y * exp1(low.x - high.x));
}
${subgroups ? MERGE_LANES_BY_SHUFFLES : MERGE_LANES}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>, @builtin(local_invocation_index) thread: u32${
    subgroups ? ", @builtin(subgroup_size) subgroup_size: u32, @builtin(subgroup_invocation_id) subgroup_lane: u32" : ""
  }) {
  let lanes = 1u << u.laneBits;
  let rows_here = ${WORKGROUP}u >> u.laneBits;
  // Neighbouring threads take neighbouring numbers: of one row, or of as many rows if rows lie across memory.
  let lane = select(thread & (lanes - 1u), thread / rows_here, u.across != 0u);
  let row_here = select(thread >> u.laneBits, thread % rows_here, u.across != 0u);

  // The grid is folded, since there may be more workgroups than one dimension holds.
  let workgroup = id.y * grid.x + id.x;
  let segment = workgroup % u.segments;
  let row = workgroup / u.segments * rows_here + row_here;
  let present = row < u.rows;
  let at = row_place(select(0u, row, present));

  let stride = 4u * lanes;
  let chunk_length = ${vectors}u * stride;
  let begin = segment * u.chunks * chunk_length;
  let segment_end = min(u.cols, begin + u.chunks * chunk_length);
  // A row past the last takes part as an empty one: all threads must reach the barriers.
  let end = select(0u, segment_end, present);
  let first = ${vector ? "4u * lane" : "lane"};
  let is_softmax = u.op == OP_SOFTMAX;

${each((v) => `  var ${v} = vec4(NOTHING);`)}
  var state = vec2(NOTHING, 0.0);
  if (u.phase == PHASE_FINISH) {
    let states_end = select(0u, u.states, present);
    for (var s = lane; s < states_end; s += lanes) {
      state = merge(state, states[row * u.states + s]);
    }
  } else {
    for (var chunk = begin; chunk < segment_end; chunk += chunk_length) {
      let c = chunk + first;
${each((v, k) => `      ${v} = load(at, c + ${k}u * stride, end);`)}
      var m = 0.0;
      if (u.standard == 0u) {
        let m4 = ${tree("max", 0, vectors)};
        m = max(state.x, max(max(m4.x, m4.y), max(m4.z, m4.w)));
      } else {
        // At 88.8 \`exp4\` gives NaN, as an overflow should.
${each((v) => `        ${v} = min(${v}, vec4(88.8));`)}
      }
      var sum = vec4(0.0);
${each(
  (v, k) => `      if (chunk + ${k}u * stride < segment_end) {
        let e = exp4(${v} - m);
        sum += e;
        ${v} = select(${v}, e, is_softmax);
      }`,
)}
      state = vec2(m, state.y * exp1(state.x - m) + ((sum.x + sum.y) + (sum.z + sum.w)));
    }
    // A lane that saw nothing counted exp(NOTHING − NOTHING) = 1.
    if (state.x == NOTHING) {
      state.y = 0.0;
    }
  }

  let mine = state.x;
  state = merge_lanes(state, ${subgroups ? "thread, subgroup_size, subgroup_lane" : "row_here * lanes + lane, lane"});
  if (u.phase == PHASE_PARTIAL) {
    if (present && lane == 0u) {
      states[row * u.states + segment] = state;
    }
    return;
  }
  let nothing = state.y == 0.0;
  if (u.op == OP_LOG_SUM_EXP) {
    if (present && lane == 0u) {
      lse[at.y] = select(state.x + log1(state.y), bitcast<f32>(u.minusInfinity), nothing);
    }
    return;
  }

  let inverse = 1.0 / state.y;
  let log_sum = log1(state.y);
  let last = begin + (segment_end - begin - 1u) / chunk_length * chunk_length;
  for (var chunk = last; ; chunk -= chunk_length) {
    let c = chunk + first;
    var factor = inverse;
    if (chunk == last && u.phase == PHASE_WHOLE) {
      factor *= exp1(mine - state.x);
    } else {
${each((v, k) => `      ${v} = load_again(at, c + ${k}u * stride, end);`)}
      if (is_softmax) {
        if (u.standard != 0u) {
${each((v) => `          ${v} = min(${v}, vec4(88.8));`)}
        }
${each((v) => `        ${v} = exp4(${v} - state.x);`)}
      }
    }
    if (is_softmax) {
${each((v) => `      ${v} *= factor;`)}
    } else {
      let masked = vec4(bitcast<f32>(u.minusInfinity));
${each((v) => `      ${v} = select((${v} - state.x) - log_sum, masked, ${v} == vec4(NOTHING));`)}
    }
    if (nothing) {
      let instead = vec4(bitcast<f32>(u.nothing));
${each((v) => `      ${v} = instead;`)}
    }
${each((v, k) => `    store(at, c + ${k}u * stride, end, ${v});`)}
    if (chunk == begin) {
      break;
    }
  }
}
`;
  return { uniforms: ROW_UNIFORMS, buffers: rowBuffers(key), features: subgroups ? ["subgroups"] : [], body };
}

function constants(prefix: string, values: Readonly<Record<string, number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `const ${prefix}_${name.replace(/[A-Z]/g, "_$&").toUpperCase()} = ${value}u;`)
    .join("\n");
}

/** One line for each vector that a thread holds. Unrolled, because an indexed array may end up in memory. */
function unroll(vectors: number, line: (register: string, k: number) => string): string {
  return Array.from({ length: vectors }, (_, k) => line(`v${k}`, k)).join("\n");
}

/** Applies a function of two arguments to the registers, as a tree. */
function tree(f: string, from: number, to: number): string {
  if (to - from === 1) return `v${from}`;
  const middle = (from + to) / 2;
  return `${f}(${tree(f, from, middle)}, ${tree(f, middle, to)})`;
}

/** Loads and stores four adjacent numbers. `c` is a multiple of 4, and so are the strides and bases. */
function vectorAccess(storage: RowKey["storage"]): string {
  const read =
    storage === "f32"
      ? `  let raw = x[(at.x + c) / 4u];
  let masked = bitcast<vec4<u32>>(raw) == vec4(0xff800000u);`
      : `  let pairs = x[(at.x + c) / 4u];
  let raw = vec4(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
  let masked = vec4(pairs.x & 0xffffu, pairs.x >> 16u, pairs.y & 0xffffu, pairs.y >> 16u) == vec4(0xfc00u);`;
  return `
fn load(at: vec4<u32>, c: u32, end: u32) -> vec4<f32> {
  if (c >= end) {
    return vec4(NOTHING);
  }
${read}
  return select(max(raw * u.scale, vec4(LOWEST)), vec4(NOTHING), masked);
}

fn load_again(at: vec4<u32>, c: u32, end: u32) -> vec4<f32> {
  return load(at, c, end);
}

fn store(at: vec4<u32>, c: u32, end: u32, value: vec4<f32>) {
  if (c < end) {
    y[(at.y + c) / 4u] = value;
  }
}
`;
}

/** Loads and stores four numbers of one row that are `lanes` columns apart, wherever they lie. */
function scalarAccess(storage: RowKey["storage"]): string {
  const four = (expression: (component: string) => string): string => `vec4(${["x", "y", "z", "w"].map(expression).join(", ")})`;
  const read =
    storage === "f32"
      ? `  let raw = ${four((i) => `x[x_at.${i}]`)};
  var keep = there & (bitcast<vec4<u32>>(raw) != vec4(0xff800000u));`
      : `  let bits = (${four((i) => `x[x_at.${i} / 2u]`)} >> (x_at % 2u * 16u)) & vec4(0xffffu);
  let raw = ${four((i) => `unpack2x16float(bits.${i}).x`)};
  var keep = there & (bits != vec4(0xfc00u));`;
  const load = (name: string, outerColumns: string): string => `
fn ${name}(at: vec4<u32>, c: u32, end: u32) -> vec4<f32> {
  if (c >= end) {
    return vec4(NOTHING);
  }
  let columns = c + (vec4(0u, 1u, 2u, 3u) << vec4(u.laneBits));
  let there = columns < vec4(end);
  var rest = select(vec4(c), columns, there);
  var x_at = vec4(at.x);
  var bias_at = vec4(at.z);
  var mask_at = vec4(at.w);
${outerColumns}  x_at += rest * u.strides[0].x;
${read}
  var scores = raw * u.scale;
  if (u.hasBias != 0u) {
    bias_at += rest * u.strides[0].z;
    let addends = ${four((i) => `bias[bias_at.${i}]`)};
    keep &= bitcast<vec4<u32>>(addends) != vec4(0xff800000u);
    scores += addends;
  }
  if (u.hasMask != 0u) {
    mask_at += rest * u.strides[0].w;
    let words = ${four((i) => `mask[mask_at.${i} / 4u]`)};
    keep &= ((words >> (mask_at % 4u * 8u)) & vec4(0xffu)) != vec4(0u);
  }
  return select(vec4(NOTHING), max(scores, vec4(LOWEST)), keep);
}
`;
  // Only logSumExp over several axes has columns in more than one dimension, and it does not read its rows again.
  return `${load(
    "load",
    `  for (var d = u.colDims; d > 1u; d--) {
    let size = u.sizes[(d - 1u) / 4u][(d - 1u) % 4u];
    let strides = u.strides[d - 1u];
    let i = rest % size;
    x_at += i * strides.x;
    bias_at += i * strides.z;
    mask_at += i * strides.w;
    rest /= size;
  }
`,
  )}${load("load_again", "")}
fn store(at: vec4<u32>, c: u32, end: u32, value: vec4<f32>) {
  let lanes = 1u << u.laneBits;
  let stride = u.strides[0].y;
  for (var j = 0u; j < 4u; j++) {
    let column = c + j * lanes;
    if (column < end) {
      y[at.y + column * stride] = value[j];
    }
  }
}
`;
}

/** Merges the states of a row's lanes. `slot` is lane + lanes · row within the workgroup. */
const MERGE_LANES = `
fn merge_lanes(own: vec2<f32>, slot: u32, lane: u32) -> vec2<f32> {
  if (u.laneBits == 0u) {
    return own;
  }
  var state = own;
  shared_states[slot] = state;
  for (var half = 1u << (u.laneBits - 1u); half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) {
      state = merge(state, shared_states[slot + half]);
      shared_states[slot] = state;
    }
  }
  workgroupBarrier();
  return shared_states[slot - lane];
}
`;

/**
 * The same by shuffles, for any subgroup size that divides 256. It assumes that threads of a subgroup are neighbours. Every driver ensures
 * this for one-dimensional workgroups, though WGSL does not say so. If a row has several subgroups, each merges the states of all of them,
 * so that one barrier is enough.
 */
const MERGE_LANES_BY_SHUFFLES = `
fn merge_lanes(own: vec2<f32>, thread: u32, subgroup_size: u32, subgroup_lane: u32) -> vec2<f32> {
  var state = own;
  let lanes = 1u << u.laneBits;
  let near = min(lanes, subgroup_size);
  for (var step = 1u; step < near; step <<= 1u) {
    state = merge(state, subgroupShuffleXor(state, step));
  }
  if (lanes <= u.subgroupMin) {
    return state;
  }
  shared_states[thread] = state;
  workgroupBarrier();
  let groups = lanes / near;
  let turns = min(groups, subgroup_size);
  let first = thread & ~(lanes - 1u);
  var turn = subgroup_lane % turns;
  state = shared_states[first + turn * near];
  for (turn += turns; turn < groups; turn += turns) {
    state = merge(state, shared_states[first + turn * near]);
  }
  for (var step = 1u; step < turns; step <<= 1u) {
    state = merge(state, subgroupShuffleXor(state, step));
  }
  return state;
}
`;
