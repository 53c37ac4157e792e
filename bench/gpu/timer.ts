import { quantile } from "../measure/timing.ts";

/** Flags of GPUBufferUsage and GPUMapMode, which are globals in browsers and absent in Node. */
export const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 0x40, storage: 0x80, queryResolve: 0x200 } as const;

/** How long to look. */
export type GpuPlan = readonly [batchMs: number, batches: number];

/** Two time stamps of 64 bits. */
const STAMP_BYTES = 16;

interface Stamps {
  readonly queries: GPUQuerySet;
  readonly resolved: GPUBuffer;
  readonly readable: GPUBuffer;
}

/** Times work on a GPU: by its own clock where it has one that runs, else by ours around a batch that is waited for once. */
export class GpuTimer {
  readonly #device: GPUDevice;
  #stamps: Stamps | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
    if (!device.features.has("timestamp-query")) return;
    this.#stamps = {
      queries: device.createQuerySet({ type: "timestamp", count: 2 }),
      resolved: device.createBuffer({ size: STAMP_BYTES, usage: USAGE.queryResolve | USAGE.copySource }),
      readable: device.createBuffer({ size: STAMP_BYTES, usage: USAGE.copyTarget | USAGE.mapRead }),
    };
  }

  /** Which clock, for people. */
  get clock(): string {
    return this.#stamps === undefined ? "wall time of a batch, waited for once" : "the GPU's time stamps";
  }

  /** Milliseconds that the GPU takes for what `encode` writes into an encoder. It may be asked to write it again. */
  async time(encode: (encoder: GPUCommandEncoder) => void): Promise<number> {
    if (this.#stamps !== undefined) {
      const ms = await this.#timeByStamps(encode, this.#stamps);
      if (ms > 0) return ms;
      // Some drivers leave out passes that are empty, and their time stamps with them.
      this.dispose();
    }
    const encoder = this.#device.createCommandEncoder();
    encode(encoder);
    const commands = encoder.finish();
    await this.#device.queue.onSubmittedWorkDone();
    const before = performance.now();
    this.#device.queue.submit([commands]);
    await this.#device.queue.onSubmittedWorkDone();
    return performance.now() - before;
  }

  async #timeByStamps(encode: (encoder: GPUCommandEncoder) => void, { queries, resolved, readable }: Stamps): Promise<number> {
    const encoder = this.#device.createCommandEncoder();
    // Both are written when a pass has ended: the GPU ends an empty one when all before it has ended.
    encoder.beginComputePass({ timestampWrites: { querySet: queries, endOfPassWriteIndex: 0 } }).end();
    encode(encoder);
    encoder.beginComputePass({ timestampWrites: { querySet: queries, endOfPassWriteIndex: 1 } }).end();
    encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, readable, 0, STAMP_BYTES);
    this.#device.queue.submit([encoder.finish()]);
    await readable.mapAsync(1);
    const [from = 0n, to = 0n] = new BigUint64Array(readable.getMappedRange());
    readable.unmap();
    return Number(to - from) / 1e6;
  }

  /** Milliseconds of one of what `encode` writes: the median of batches that take about `batchMs` each. */
  async timeEach(encode: (encoder: GPUCommandEncoder, count: number) => void, [batchMs, batches]: GpuPlan): Promise<number> {
    // The first one warms caches and clocks.
    await this.time((encoder) => encode(encoder, 1));
    const once = await this.time((encoder) => encode(encoder, 1));
    const count = Math.max(1, Math.min(MOST_IN_BATCH, Math.round(batchMs / once)));
    const each: number[] = [];
    for (let i = 0; i < batches; i++) each.push((await this.time((encoder) => encode(encoder, count))) / count);
    return quantile(each, 0.5);
  }

  dispose(): void {
    this.#stamps?.queries.destroy();
    this.#stamps?.resolved.destroy();
    this.#stamps?.readable.destroy();
    this.#stamps = undefined;
  }
}

/** A clock that has stood still must not ask for a batch without end. */
const MOST_IN_BATCH = 1000;
