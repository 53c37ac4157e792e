import { type Program, programOf } from "../device/program.ts";
import type { Storage } from "../device/traits.ts";
import { uniformBlock } from "../device/uniforms.ts";
import { ELEMENT, SCORE_UNIFORMS, SCORE_WGSL, element, featuresOf } from "./score-modifiers.ts";

// The L × S matrix that attention never forms. A thread computes four rows by one key, straight from memory. This is for pictures and
// debugging, where writing the matrix costs more than computing it.

const THREADS = 64;

/** Keys and rows per workgroup. */
export const SCORE_KEYS = THREADS;
export const SCORE_ROWS = 4;

/** How far a score is computed. */
export const STAGES = ["raw", "softcapped", "masked", "probabilities"] as const;

/** Uniforms. Strides in elements. */
export const SCORES_UNIFORMS = uniformBlock("Uniforms", {
  ...SCORE_UNIFORMS,
  /** Keys of the result, which are also the stride of its rows. */
  keys: "u32",
  stage: "u32",
  /** Workgroups are key blocks (fastest) × row blocks × heads × sequences. */
  keyBlocks: "u32",
  rowBlocks: "u32",
  /** Where `tables` has the sequences' records, and words per record. */
  sequencesAt: "u32",
  sequenceWords: "u32",
});

/** The program for a storage. */
export function scoresProgram(storage: Storage): Program {
  return programOf(`attention scores ${storage}`, () => {
    const product = ["x", "y", "z", "w"].map((i) => element(storage, "q", `i.${i} + d`)).join(", ");
    return {
      uniforms: SCORES_UNIFORMS,
      buffers: {
        q: ["read", ELEMENT[storage]],
        k: ["read", ELEMENT[storage]],
        bias: ["read", "f32"],
        mask: ["read", "u32"],
        tables: ["read", "u32"],
        lse: ["read", "f32"],
        out: ["write", "u32"],
      },
      features: featuresOf(storage),
      body: `
${SCORE_WGSL}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let id = workgroup.y * u.gridX + workgroup.x;
  if (id >= u.workgroups) { return; }
  let of_row = id / u.keyBlocks;
  let of_head = of_row / u.rowBlocks;
  let head = u.firstHead + of_head % u.heads;
  let sq = sequence_at(u.sequencesAt + of_head / u.heads * u.sequenceWords);
  let key = id % u.keyBlocks * ${THREADS}u + thread;
  let row = of_row % u.rowBlocks * ${SCORE_ROWS}u + vec4(0u, 1u, 2u, 3u);
  if (key >= u.keys) { return; }
  let rows = Rows(min(row, vec4(sq.rows - 1u)), vec4(head));
  let i = sq.q + head * u.qHead + rows.query * u.qRow;
  let k_at = sq.k + head / u.group * u.kHead + key * u.kRow;
  var s = vec4(0.0);
  for (var d = 0u; d < u.dim; d++) { s += vec4(${product}) * ${element(storage, "k", "k_at + d")}; }
  if (u.stage == ${STAGES.indexOf("raw")}u) { s *= u.scale; } else { s = capped(s); }
  var bits = bitcast<vec4<u32>>(s);
  if (u.stage >= ${STAGES.indexOf("masked")}u) {
    let t = modified(s, key, rows, sq, tile_of(sq, head, rows.query.x, key));
    bits = select(vec4(NEG_INF), bitcast<vec4<u32>>(t.values), t.seen);
    if (u.stage == ${STAGES.indexOf("probabilities")}u) {
      let at = sq.lse + head * u.lseHead + rows.query;
      // The log-sum-exp of a row that sees nothing is −inf, but none of its scores is seen.
      let p = exp(t.values - vec4(lse[at.x], lse[at.y], lse[at.z], lse[at.w]));
      bits = select(vec4(0u), bitcast<vec4<u32>>(p), t.seen);
    }
  }
  let out_at = sq.out + head * u.outHead + row * u.keys + key;
${[0, 1, 2, 3].map((r) => `  if (row[${r}] < sq.rows) { out[out_at[${r}]] = bits[${r}]; }`).join("\n")}
}
`,
    };
  });
}
