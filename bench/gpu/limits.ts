import { random } from "../../test/support/numbers.ts";
import type { MachineFigure } from "../machine/limits.ts";
import { compare } from "../measure/verify.ts";
import { COPIES_PER_THREAD, COPY, FMA, FMA_FLOPS, matrixMultiply, THREADS } from "./kernels.ts";
import { type GpuPlan, type GpuTimer, USAGE } from "./timer.ts";

/** What a GPU can do by plain WGSL. */
export type GpuLimits = Readonly<Record<"copy" | "matrix" | "fma", MachineFigure>>;

const MIB = 2 ** 20;

/** How much is measured: ten times the second-level cache of the largest GPUs (50 to 128 MB), as two buffers of half of it. */
const REAL = { copyBytes: 512 * MIB, matrix: 4096, tiles: [64, 128] as readonly (64 | 128)[], fmaThreads: 2 ** 20, fmaTurns: 512, plan: [60, 7] as GpuPlan };
/** Software computes like a small CPU, and takes ten seconds to compile the larger tile. */
const SOFTWARE: typeof REAL = { copyBytes: 32 * MIB, matrix: 256, tiles: [64], fmaThreads: 2 ** 12, fmaTurns: 64, plan: [10, 3] };

/** Measures what a device can do, each kernel checked first. */
export async function measureGpu(device: GPUDevice, timer: GpuTimer, isSoftware: boolean): Promise<GpuLimits> {
  const sizes = isSoftware ? SOFTWARE : REAL;
  const bytes = Math.min(sizes.copyBytes, largestBuffer(device));
  const measure = async (name: string, about: string, unit: MachineFigure["unit"], loop: Loop): Promise<MachineFigure> => {
    const value = (await rateOf(device, timer, loop, sizes.plan)) / 1e9;
    return { name, unit, value, about: `${about}; ${timer.clock}` };
  };
  const copy = await measure("GPU copy, out of cache", `vec4 of f32, ${bytes / MIB} MiB to ${bytes / MIB} MiB, bytes read + written`, "GB/s", copyLoop(bytes));
  const products: MachineFigure[] = [];
  for (const side of sizes.tiles) {
    const about = `${sizes.matrix}³ in WGSL, tiles of ${side} in workgroup memory`;
    products.push(await measure("GPU matrix multiply, f32", about, "GFLOP/s", productLoop(sizes.matrix, side)));
  }
  const matrix = products.reduce((best, each) => (each.value > best.value ? each : best));
  const fma = await measure("GPU multiply-add, f32", "fma in registers, eight independent vec4 per thread", "GFLOP/s", fmaLoop(sizes));
  return { copy, matrix, fma };
}

/** The largest tensor that a device holds in one binding, a power of two. */
export function largestBuffer({ limits }: GPUDevice): number {
  return 2 ** Math.floor(Math.log2(Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize)));
}

/** A kernel with its inputs, in the order of its bindings; the last binding is the output. */
interface Loop {
  readonly code: string;
  readonly inputs: readonly (Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>)[];
  readonly outBytes: number;
  readonly grid: readonly [number, number, number];
  /** Bytes or operations of one run. */
  readonly amount: number;
  /** Throws if what lies in the output is wrong. */
  check(read: (at: number, count: number) => Promise<Float32Array>): Promise<void>;
}

function copyLoop(bytes: number): Loop {
  const values = Float32Array.from({ length: bytes / 4 }, (_, i) => i % 1_000_003);
  const groups = bytes / (16 * THREADS * COPIES_PER_THREAD);
  // Up to 65535 workgroups per dimension.
  const rows = Math.ceil(groups / 32768);
  return {
    ...{ code: COPY, inputs: [values], outBytes: bytes, grid: [groups / rows, rows, 1], amount: 2 * bytes },
    async check(read) {
      compare(await read(values.length - 1024, 1024), values.subarray(-1024), 0, 1);
    },
  };
}

/** Sums of n products up to a quarter, added in f32: 1e-4 is ten times what 4096 of them are off by. */
const PRODUCT_TOLERANCE = 1e-4;

function productLoop(n: number, side: 64 | 128): Loop {
  const next = random(n);
  const [a, b] = [0, 1].map(() => Float32Array.from({ length: n * n }, () => next() - 0.5)) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
  return {
    ...{ code: matrixMultiply(side), inputs: [a, b, Uint32Array.of(n)], outBytes: 4 * n * n, grid: [n / side, n / side, 1], amount: 2 * n ** 3 },
    async check(read) {
      for (const row of [0, 65, n - 1]) {
        const want = new Float64Array(n);
        for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) want[j] = (want[j] ?? NaN) + (a[row * n + k] ?? NaN) * (b[k * n + j] ?? NaN);
        compare(await read(row * n, n), want, PRODUCT_TOLERANCE, 1);
      }
    },
  };
}

function fmaLoop({ fmaThreads: threads, fmaTurns: turns }: typeof REAL): Loop {
  // Towards 4, from wherever a chain starts.
  const factors = Float32Array.of(0.5, 0.5, 0.5, 0.5, 2, 2, 2, 2, 0, 0, 0, 0);
  new Uint32Array(factors.buffer)[8] = turns;
  return {
    ...{ code: FMA, inputs: [factors], outBytes: 16 * threads, grid: [threads / THREADS, 1, 1], amount: threads * turns * FMA_FLOPS },
    async check(read) {
      compare(await read(0, 1024), new Float32Array(1024).fill(32), 1e-4, 1);
    },
  };
}

/** Bytes or operations per second of a loop, checked first. */
async function rateOf(device: GPUDevice, timer: GpuTimer, { code, inputs, outBytes, grid, amount, ...loop }: Loop, plan: GpuPlan): Promise<number> {
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }), entryPoint: "main" } });
  const bufferOf = (size: number, usage: number): GPUBuffer => device.createBuffer({ size, usage });
  const out = bufferOf(outBytes, USAGE.storage | USAGE.copySource);
  const buffers = [...inputs.map(({ byteLength }) => bufferOf(byteLength, USAGE.storage | USAGE.copyTarget)), out];
  inputs.forEach((input, i) => device.queue.writeBuffer(buffers[i] ?? out, 0, input));
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  /** Each run after the one before it. */
  const encode = (encoder: GPUCommandEncoder, count: number): void => {
    for (let i = 0; i < count; i++) {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
    }
  };
  const read = async (at: number, count: number): Promise<Float32Array> => {
    const readable = bufferOf(4 * count, USAGE.copyTarget | USAGE.mapRead);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(out, 4 * at, readable, 0, 4 * count);
    device.queue.submit([encoder.finish()]);
    await readable.mapAsync(1);
    const got = new Float32Array(readable.getMappedRange().slice(0));
    readable.destroy();
    return got;
  };
  const encoder = device.createCommandEncoder();
  encode(encoder, 1);
  device.queue.submit([encoder.finish()]);
  await loop.check(read);
  const ms = await timer.timeEach(encode, plan);
  for (const buffer of buffers) buffer.destroy();
  return (1000 * amount) / ms;
}
