import type { MachineFigure } from "../machine/limits.ts";
import { uniform } from "../inputs.ts";
import type { FoundGpu } from "./find.ts";
import { COPIES_PER_THREAD, COPY, FMA, FMA_FLOPS, matrixMultiply, THREADS } from "./kernels.ts";
import { type GpuPlan, type GpuTimer, USAGE } from "./timer.ts";

/** What a GPU can do by plain WGSL, in operations and bytes (read + written) per second. */
export interface GpuLimits {
  readonly copyBytesPerSecond: number;
  readonly matrixFlopsPerSecond: number;
  readonly fmaFlopsPerSecond: number;
  readonly figures: readonly MachineFigure[];
}

/** How much is measured. Software is asked for little: it computes like a small CPU. */
interface Sizes {
  /** Of each of the two buffers of a copy. */
  readonly copyBytes: number;
  readonly matrix: number;
  /** Sides of the tiles to try. Compiling the larger takes lavapipe ten seconds. */
  readonly tiles: readonly [64] | readonly [64, 128];
  readonly fmaThreads: number;
  readonly fmaTurns: number;
  readonly plan: GpuPlan;
}

const MIB = 2 ** 20;

/** Ten times the second-level cache of the largest GPUs (50 to 128 MB), as two buffers of half of it. */
const REAL: Sizes = { copyBytes: 512 * MIB, matrix: 4096, tiles: [64, 128], fmaThreads: 2 ** 20, fmaTurns: 512, plan: { batchMs: 60, batches: 7 } };
const SOFTWARE: Sizes = { copyBytes: 32 * MIB, matrix: 256, tiles: [64], fmaThreads: 2 ** 12, fmaTurns: 64, plan: { batchMs: 10, batches: 3 } };

/** Measures what a device can do, each kernel checked first. */
export async function measureGpu({ device, emulated }: FoundGpu, timer: GpuTimer): Promise<GpuLimits> {
  const sizes = emulated ? SOFTWARE : REAL;
  const bytes = Math.min(sizes.copyBytes, largestBuffer(device));
  const copy = await measureCopy(device, timer, bytes, sizes.plan);
  const products: { readonly side: 64 | 128; readonly rate: number }[] = [];
  for (const side of sizes.tiles) products.push({ side, rate: await measureProduct(device, timer, side, sizes) });
  const { side, rate: matrix } = products.reduce((best, each) => (each.rate > best.rate ? each : best));
  const fma = await measureFma(device, timer, sizes);
  const how = timer.clock;
  return {
    copyBytesPerSecond: copy,
    matrixFlopsPerSecond: matrix,
    fmaFlopsPerSecond: fma,
    figures: [
      {
        name: "GPU copy, out of cache",
        about: `vec4 of f32, ${bytes / MIB} MiB to ${bytes / MIB} MiB, bytes read + written; ${how}`,
        value: copy / 1e9,
        unit: "GB/s",
      },
      {
        name: "GPU matrix multiply, f32",
        about: `${sizes.matrix}³ in WGSL, tiles of ${side} in workgroup memory; ${how}`,
        value: matrix / 1e9,
        unit: "GFLOP/s",
      },
      { name: "GPU multiply-add, f32", about: `fma in registers, eight independent vec4 per thread; ${how}`, value: fma / 1e9, unit: "GFLOP/s" },
    ],
  };
}

/** The largest tensor that a device holds in one binding, a power of two. */
export function largestBuffer({ limits }: GPUDevice): number {
  return 2 ** Math.floor(Math.log2(Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize)));
}

async function measureCopy(device: GPUDevice, timer: GpuTimer, bytes: number, plan: GpuPlan): Promise<number> {
  const values = new Float32Array(bytes / 4);
  for (let i = 0; i < values.length; i++) values[i] = i % 1_000_003;
  const from = bufferOf(device, values);
  const to = bufferOf(device, bytes);
  const groups = bytes / (16 * THREADS * COPIES_PER_THREAD);
  // Up to 65535 workgroups per dimension.
  const rows = Math.ceil(groups / 32768);
  const run = await prepare(device, COPY, [from, to], [groups / rows, rows, 1]);
  await submit(device, run);
  const got = await readBack(device, to, bytes - 4096, 4096);
  const wrong = got.findIndex((value, i) => value !== values[values.length - 1024 + i]);
  if (wrong >= 0) throw new Error(`the copy loop does not copy: element ${wrong} of the last 1024 is ${got[wrong]}`);
  const ms = await timer.timeEach(run, plan);
  from.destroy();
  to.destroy();
  return (2 * bytes) / (ms / 1000);
}

async function measureProduct(device: GPUDevice, timer: GpuTimer, side: 64 | 128, { matrix: n, plan }: Sizes): Promise<number> {
  const random = uniform(n);
  const [a, b] = [0, 1].map(() => Float32Array.from({ length: n * n }, () => random() - 0.5)) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
  const product = bufferOf(device, 4 * n * n);
  const buffers = [bufferOf(device, a), bufferOf(device, b), product, bufferOf(device, Uint32Array.of(n))];
  const run = await prepare(device, matrixMultiply(side), buffers, [n / side, n / side, 1]);
  await submit(device, run);
  for (const row of [0, 65, n - 1]) checkRow(await readBack(device, product, 4 * n * row, 4 * n), a, b, n, row);
  const ms = await timer.timeEach(run, plan);
  for (const buffer of buffers) buffer.destroy();
  return (2 * n ** 3) / (ms / 1000);
}

/** Sums of n products up to a quarter, added in f32: 1e-4 is ten times what 4096 of them are off by. */
const PRODUCT_TOLERANCE = 1e-4;

function checkRow(got: Float32Array, a: Float32Array, b: Float32Array, n: number, row: number): void {
  for (let j = 0; j < n; j++) {
    let want = 0;
    for (let k = 0; k < n; k++) want += (a[row * n + k] ?? NaN) * (b[k * n + j] ?? NaN);
    if (!(Math.abs((got[j] ?? NaN) - want) < PRODUCT_TOLERANCE))
      throw new Error(`the matrix product is wrong at ${row}, ${j}: expected ${want}, got ${got[j]}`);
  }
}

async function measureFma(device: GPUDevice, timer: GpuTimer, { fmaThreads: threads, fmaTurns: turns, plan }: Sizes): Promise<number> {
  // Towards 4, from wherever a chain starts.
  const factors = Float32Array.of(0.5, 0.5, 0.5, 0.5, 2, 2, 2, 2, 0, 0, 0, 0);
  new Uint32Array(factors.buffer)[8] = turns;
  const sums = bufferOf(device, 16 * threads);
  const buffers = [bufferOf(device, factors), sums];
  const run = await prepare(device, FMA, buffers, [threads / THREADS, 1, 1]);
  await submit(device, run);
  const got = await readBack(device, sums, 0, 4096);
  if (!got.every((value) => Math.abs(value - 32) < 1e-3)) throw new Error(`the multiply-add loop expected 8 · 4 everywhere, got ${got[0]}`);
  const ms = await timer.timeEach(run, plan);
  for (const buffer of buffers) buffer.destroy();
  return (threads * turns * FMA_FLOPS) / (ms / 1000);
}

type Encode = (encoder: GPUCommandEncoder, count: number) => void;

/** A program with its operands, to be written into an encoder as often as wanted, each run after the one before it. */
async function prepare(device: GPUDevice, code: string, buffers: readonly GPUBuffer[], grid: readonly [number, number, number]): Promise<Encode> {
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }), entryPoint: "main" } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return (encoder, count) => {
    for (let i = 0; i < count; i++) {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
    }
  };
}

async function submit(device: GPUDevice, encode: Encode): Promise<void> {
  const encoder = device.createCommandEncoder();
  encode(encoder, 1);
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
}

function bufferOf(device: GPUDevice, content: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | number): GPUBuffer {
  const size = typeof content === "number" ? content : content.byteLength;
  const buffer = device.createBuffer({ size, usage: USAGE.storage | USAGE.copySource | USAGE.copyTarget });
  if (typeof content !== "number") device.queue.writeBuffer(buffer, 0, content);
  return buffer;
}

async function readBack(device: GPUDevice, buffer: GPUBuffer, from: number, bytes: number): Promise<Float32Array> {
  const readable = device.createBuffer({ size: bytes, usage: USAGE.copyTarget | USAGE.mapRead });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, from, readable, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await readable.mapAsync(1);
  const got = new Float32Array(readable.getMappedRange().slice(0));
  readable.destroy();
  return got;
}
