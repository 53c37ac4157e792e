// WGSL that does one thing each, as fast as plain WGSL can: what attention and softmax on the GPU are measured against. None of it is
// part of the package.

/** Threads of a workgroup: what every device allows. */
export const THREADS = 256;

/** Each thread copies this many vec4, a whole grid apart, so that a workgroup reads and writes contiguous memory at every step. */
export const COPIES_PER_THREAD = 4;

/** Copies `from` to `to`, a multiple of THREADS · COPIES_PER_THREAD · 16 bytes. */
export const COPY = `
@group(0) @binding(0) var<storage, read> from_: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> to_: array<vec4<f32>>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * groups.x + group.x) * ${THREADS * COPIES_PER_THREAD}u + thread;
  ${Array.from({ length: COPIES_PER_THREAD }, (_, i) => `to_[first + ${i * THREADS}u] = from_[first + ${i * THREADS}u];`).join("\n  ")}
}`;

/** Independent chains per thread: 4 vec4 cover a latency of 4 cycles where a scheduler issues one instruction per cycle, and more. */
const CHAINS = 8;
/** Multiply-adds of each chain in one turn of the loop, unrolled: the loop's own instructions are then few. */
const UNROLLED = 8;
/** Floating-point operations of one thread in one turn. */
export const FMA_FLOPS = CHAINS * UNROLLED * 4 * 2;

/** Multiply-adds in registers and nothing else. The factors come from memory, so that no compiler works the sums out beforehand. */
export const FMA = `
@group(0) @binding(0) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = factors[0];
  let b = factors[1];
  let turns = bitcast<u32>(factors[2].x);
  ${Array.from({ length: CHAINS }, (_, i) => `var s${i} = vec4<f32>(${i}.0);`).join("\n  ")}
  for (var i = 0u; i < turns; i++) {
    ${Array.from({ length: UNROLLED }, () => Array.from({ length: CHAINS }, (_, i) => `s${i} = fma(s${i}, a, b);`).join(" ")).join("\n    ")}
  }
  sums[id.x] = ${Array.from({ length: CHAINS }, (_, i) => `s${i}`).join(" + ")};
}`;

/** Depth of a tile of the product. */
export const TILE_DEPTH = 16;

/**
 * c = a · b of n × n matrices, n a multiple of the tile. Each workgroup keeps a tile of c in registers, `side` / 16 squared per
 * thread, and brings tiles of a (turned) and b through workgroup memory:
 *
 *            b: 16 × side                 thread (x, y) of 16 × 16 has rows y · r … and columns x · 4 …, in steps of 64 beyond
 *   a: side × 16   c: side × side         the first 4, so that neighbours read neighbouring vec4
 */
export function matrixMultiply(side: 64 | 128): string {
  const rows = side / 16;
  const vectors = side / 64;
  const loads = (side * TILE_DEPTH) / 4 / THREADS;
  const each = (count: number, text: (i: number) => string): string => Array.from({ length: count }, (_, i) => text(i)).join("\n    ");
  return `
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> size: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;
var<workgroup> tileA: array<f32, ${side * TILE_DEPTH}>;
var<workgroup> tileB: array<vec4<f32>, ${(side * TILE_DEPTH) / 4}>;
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let n4 = size[0] / 4u;
  let firstRow = group.y * ${side}u;
  let firstColumn4 = group.x * ${side / 4}u;
  var sums: array<vec4<f32>, ${rows * vectors}>;
  for (var depth = 0u; depth < size[0]; depth += ${TILE_DEPTH}u) {
    ${each(
      loads,
      (i) => `{
      let e = thread + ${i * THREADS}u;
      let row = e / ${TILE_DEPTH / 4}u;
      let k = (e % ${TILE_DEPTH / 4}u) * 4u;
      let x = a[(firstRow + row) * n4 + (depth + k) / 4u];
      tileA[k * ${side}u + row] = x.x;
      tileA[(k + 1u) * ${side}u + row] = x.y;
      tileA[(k + 2u) * ${side}u + row] = x.z;
      tileA[(k + 3u) * ${side}u + row] = x.w;
      tileB[e] = b[(depth + e / ${side / 4}u) * n4 + firstColumn4 + e % ${side / 4}u];
    }`,
    )}
    workgroupBarrier();
    for (var k = 0u; k < ${TILE_DEPTH}u; k++) {
      ${each(vectors, (v) => `let b${v} = tileB[k * ${side / 4}u + ${v * 16}u + at.x];`)}
      ${each(rows, (r) => `{ let x = tileA[k * ${side}u + at.y * ${rows}u + ${r}u]; ${Array.from({ length: vectors }, (_, v) => `sums[${r * vectors + v}] = fma(vec4<f32>(x), b${v}, sums[${r * vectors + v}]);`).join(" ")} }`)}
    }
    workgroupBarrier();
  }
  ${each(rows, (r) => Array.from({ length: vectors }, (_, v) => `c[(firstRow + at.y * ${rows}u + ${r}u) * n4 + firstColumn4 + ${v * 16}u + at.x] = sums[${r * vectors + v}];`).join(" "))}
}`;
}
