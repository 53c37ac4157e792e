import { CallOrder } from "../../../calls/call-order.ts";
import { type Call, type ResultTensor, returned } from "../../../calls/call.ts";
import { BackendError, DisposedError, UnsupportedError, messageOf } from "../../../errors/errors.ts";
import type { AbortSignalLike } from "../../../errors/signal.ts";
import type { GPUCommandEncoderLike, GPUDeviceLike, GPULike, GpuInfo } from "../../../tensor/gpu-types.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import { contiguousStrides, elementCount, sameShape } from "../../../tensor/shape.ts";
import { type Tensor, type View } from "../../../tensor/tensor.ts";
import { BufferPool, COPY_SRC, NUMBERS, type PoolState } from "../device/buffers.ts";
import { type FoundDevice, findDevice } from "../device/device.ts";
import { Lifetime } from "../device/lifetime.ts";
import { PipelineCache } from "../device/pipelines.ts";
import { mapForReading, nudged } from "../device/readback.ts";
import { ResidentTensor } from "../device/resident-tensor.ts";
import type { DeviceTraits } from "../device/traits.ts";
import { pack } from "../plans/pack.ts";
import { RECORDERS } from "../plans/recorders.ts";
import { type Landing, Recorder, type Slice, type Step, deviceSlice, roundUp } from "./recorder.ts";
import { Recording } from "./recording.ts";
import { type RecordCall, claim, deliver, recordCall, standing } from "./results.ts";

/** How many of the errors reported outside of any call are kept. */
const KEPT_ERRORS = 8;

const NOTHING = new Uint8Array(0);

/**
 * If a GPU finishes a submission within QUICK_MS, the next call may submit FASTER times as much at once: a small submission has too few
 * workgroups to fill a large GPU. Even so, none comes near half a second.
 */
const QUICK_MS = 100;
const FASTER = 4;

/** Dtypes of GPU tensors and the arrays they are downloaded to. */
const ARRAYS = { f32: Float32Array, f16: Uint16Array, i8: Int8Array, u8: Uint8Array } as const;

/** Opens a GPU: the one given, the caller's device, or the platform's. @throws BackendError with the reason if there is none */
export async function openGpu(given?: GPULike | GPUDeviceLike): Promise<Gpu> {
  const found = await findDevice(given);
  if ("reason" in found) throw new BackendError(found.reason);
  return new Gpu(found);
}

/** Runs checked calls on a GPU. Results stay on the GPU if the first operand is there. */
export class Gpu {
  readonly #found: FoundDevice;
  readonly #device: GPUDevice;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #order = new CallOrder();
  readonly #life = new Lifetime();
  readonly #errors: string[] = [];
  #traits: DeviceTraits;
  #completed = 0;

  constructor(found: FoundDevice) {
    this.#found = found;
    this.#device = found.device;
    this.#traits = found.traits;
    this.#pool = new BufferPool(found.device);
    this.#pipelines = new PipelineCache(found.device);
    Gpu.#watch(found.device, new WeakRef(this));
    if (!found.owned) return;
    found.device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#errors.push(event.error.message);
      this.#errors.splice(0, this.#errors.length - KEPT_ERRORS);
    });
  }

  /** Ends this when the device is lost. The reference is weak because the caller's device may live longer. */
  static #watch(device: GPUDevice, watched: WeakRef<Gpu>): void {
    void device.lost.then(({ reason, message }) => {
      const gpu = watched.deref();
      if (gpu !== undefined) gpu.#end(new BackendError(`the GPU device was lost (${reason}): ${message}`, { cause: reason }));
    });
  }

  get device(): GPUDevice {
    return this.#device;
  }

  get traits(): DeviceTraits {
    return this.#traits;
  }

  /** Resolves with the reason when no call can run any more: the device was lost, or this was disposed of. */
  get lost(): Promise<string> {
    return this.#life.lost;
  }

  /** Why no call can run any more; `undefined` while calls can. */
  get ended(): BackendError | DisposedError | undefined {
    return this.#life.ended;
  }

  /** Calls that the device has completed. */
  get completed(): number {
    return this.#completed;
  }

  /** Bytes of a buffer that a shader can see, wherever they begin: the binding may have to begin up to one alignment earlier. */
  get maxSpanBytes(): number {
    return this.#traits.bindingBytes - this.#traits.offsetAlignment;
  }

  /** Why something is off. */
  get off(): readonly string[] {
    return this.#found.info.reasons;
  }

  /** Bytes of GPU memory, pipelines compiled, and errors reported outside of any call. */
  get state(): { readonly bytes: PoolState; readonly pipelines: number; readonly errors: readonly string[] } {
    return { bytes: this.#pool.state, pipelines: this.#pipelines.compiled, errors: this.#errors };
  }

  info(): GpuInfo {
    const { vendor, architecture, description, isFallback: emulated } = this.#found.info;
    const { inUse, pooled } = this.#pool.state;
    const { subgroups, f16 } = this.#traits;
    return { vendor, architecture, description, emulated, subgroups, f16, bytes: { inUse, pooled }, pipelines: this.#pipelines.compiled };
  }

  /**
   * Runs a call and returns its results as `returned` does. It reads the operands now, submits after all earlier calls, and writes `out`
   * just before the promise resolves. By then, operands and results on the GPU have also been read and written.
   *
   * @throws immediately if the call itself is wrong: TooLargeError if this GPU cannot take it. As a rejection: BackendError if the GPU
   *   fails it, the signal's reason if it is aborted; an `out` in an array is unchanged then
   */
  run(call: Call, signal?: AbortSignalLike, record: RecordCall = RECORDERS[call.kind]): Promise<unknown> {
    return this.#call(
      signal,
      (recorder) => recordCall(recorder, call, record),
      async (recorder, targets) => {
        let tensors: Record<string, ResultTensor> = {};
        const submitted = (): void => {
          tensors = standing(this.#pool, recorder, targets);
        };
        const wanted = targets.filter(({ place }) => place !== "gpu");
        const writes = targets.some(({ place, result }) => place === "gpu" && result.out !== undefined);
        try {
          return await this.#finish(
            recorder,
            wanted.map(({ slice }) => slice),
            { signal, writes },
            submitted,
            (landed) => {
              wanted.forEach(({ name, result }, i) => (tensors[name] = deliver(result, landed[i] ?? NOTHING)));
              this.#completed++;
              return returned(tensors);
            },
          );
        } catch (error) {
          for (const { name, result } of targets) if (result.out === undefined) (tensors[name] as Partial<ResidentTensor> | undefined)?.dispose?.();
          throw error;
        }
      },
    );
  }

  /** Calls recorded into the caller's encoder, and computed when the caller submits it. */
  encode(encoder: GPUCommandEncoderLike): Recording {
    this.#life.check();
    return new Recording({ pool: this.#pool, pipelines: this.#pipelines, newRecorder: () => this.#newRecorder(false) }, encoder as GPUCommandEncoder);
  }

  /** A tensor on the GPU, with whatever its memory held before. */
  empty(shape: readonly number[]): ResidentTensor<"f32"> {
    this.#life.check();
    return new ResidentTensor(this.#pool, this.#pool.acquire(elementCount(shape) * 4, NUMBERS), shape, "f32");
  }

  /** Copies a tensor to the GPU. Reads it before the promise is returned. */
  async upload({ data, shape, strides }: View, signal?: AbortSignalLike): Promise<ResidentTensor> {
    const { dtype } = data;
    if (data.place === "gpu") throw new TypeError(`"x" expected a tensor in the CPU's memory, got one in a GPU buffer`);
    if (!(dtype in ARRAYS)) throw new UnsupportedError(`a tensor on the GPU expected dtype f32, f16, i8 or u8, got ${dtype}`);
    return await this.#call(
      signal,
      (recorder) => recorder.input(sameShape(strides, contiguousStrides(shape)) ? data : pack(data, shape, strides)),
      async (recorder, slice) => {
        const preparing = recorder.prepare(this.#pipelines);
        if (preparing !== undefined) await this.#life.wait(preparing, signal);
        this.#life.check();
        return claim(this.#pool, recorder, slice, shape, dtype);
      },
    );
  }

  /** Copies a tensor from the GPU, after all earlier calls. */
  async download({ data, shape }: View, signal?: AbortSignalLike): Promise<Tensor> {
    const dtype = data.dtype as keyof typeof ARRAYS;
    return await this.#call(
      signal,
      (recorder) => {
        const slice = deviceSlice(data, COPY_SRC);
        recorder.hold(slice.buffer);
        return slice;
      },
      (recorder, slice) =>
        this.#finish(
          recorder,
          [slice],
          { signal },
          () => undefined,
          ([bytes = NOTHING]) => ({ data: new ARRAYS[dtype](bytes.slice().buffer), shape, dtype }),
        ),
    );
  }

  /** Resolves when the GPU has finished everything submitted. */
  idle(): Promise<void> {
    this.#life.check();
    return this.#life.wait(this.#device.queue.onSubmittedWorkDone());
  }

  /** Keeps the pooled buffers among a call's arrays, even of tensors that are disposed of, until the returned function is called. */
  hold(arrays: readonly ArrayHandle[]): () => void {
    const buffers = arrays.flatMap(({ place, owner }) => (place === "gpu" ? [owner as GPUBuffer] : [])).filter((buffer) => this.#pool.retain(buffer));
    return () => {
      for (const buffer of buffers) this.#pool.release(buffer);
    };
  }

  /** Destroys idle buffers. */
  trim(): void {
    this.#pool.trim();
  }

  /** Ends everything: pending calls reject, tensors lose their memory. A device that was passed in stays as it is. */
  dispose(): void {
    this.#end(new DisposedError("this engine has been disposed"));
    if (this.#found.owned) this.#device.destroy();
  }

  /** Plans a call now and runs it. Its recorder is released, even after a failure. */
  #call<P, T>(signal: AbortSignalLike | undefined, plan: (recorder: Recorder) => P, run: (recorder: Recorder, planned: P) => Promise<T>): Promise<T> {
    this.#life.check(signal);
    const recorder = this.#newRecorder(true);
    const failed = (error: unknown): never => {
      recorder.release();
      throw this.#explain(error, signal);
    };
    let planned: P;
    try {
      planned = plan(recorder);
    } catch (error) {
      return failed(error);
    }
    return run(recorder, planned).then((result) => {
      recorder.release();
      return result;
    }, failed);
  }

  /**
   * Prepares, submits in turn, and waits until the GPU has accepted the commands, or finished them if results are wanted back. `take`
   * receives those in memory that is mapped only while it runs. If there is nothing to wait for, the submission happens before this
   * returns. A call with several submissions can be aborted between them, unless it `writes` the caller's memory.
   */
  async #finish<T>(
    recorder: Recorder,
    wanted: readonly Slice[],
    { signal, writes = false }: { readonly signal: AbortSignalLike | undefined; readonly writes?: boolean },
    submitted: () => void,
    take: (landed: readonly Uint8Array<ArrayBuffer>[]) => T,
  ): Promise<T> {
    const landing = recorder.land(wanted);
    const earlier = recorder.submissions.slice(0, -1);
    /** The earlier submissions still running. */
    let running: Promise<unknown> | undefined;
    const submit = (): Promise<T> => {
      const done = Promise.all([running, this.#submit(recorder, recorder.submissions.at(-1) ?? [], landing.buffers)]);
      submitted();
      const landed = this.#land(recorder, landing, done, signal, take);
      // Later calls that reuse this memory are queued behind this one.
      recorder.release();
      return landed;
    };
    const preparing = recorder.prepare(this.#pipelines);
    if (preparing === undefined && !this.#order.busy && earlier.length === 0) return submit();
    const entry = this.#order.enter();
    let done: Promise<T>;
    try {
      await this.#life.wait(Promise.all([preparing, entry.turn]), signal);
      this.#life.check(signal);
      const between = writes ? undefined : signal;
      for (const steps of earlier) {
        const before = running;
        const began = performance.now();
        running = Promise.all([this.#submit(recorder, steps, []), nudged(this.#device, this.#device.queue.onSubmittedWorkDone())]).then(() => {
          const submissionFlops = Math.max(this.#traits.submissionFlops, FASTER * recorder.traits.submissionFlops);
          if (performance.now() - began < QUICK_MS) this.#traits = { ...this.#traits, submissionFlops };
        });
        // Nobody may be waiting for it by then.
        running.catch(() => undefined);
        // Two are in flight, so that the GPU always has something to do.
        if (before !== undefined) await this.#life.wait(before, between);
        this.#life.check(between);
      }
      done = submit();
    } finally {
      entry.leave();
    }
    return done;
  }

  /** Encodes and submits, then requests mapping of the landing buffers. Resolves when the device has accepted the commands and mapped the buffers. */
  #submit(recorder: Recorder, steps: readonly Step[], landing: readonly Slice[]): Promise<unknown> {
    let mapped: Promise<void>[];
    this.#device.pushErrorScope("validation");
    try {
      const encoder = this.#device.createCommandEncoder();
      // Everything is compiled by now.
      void recorder.encode(encoder, this.#pipelines, steps);
      this.#device.queue.submit([encoder.finish()]);
      mapped = landing.map((slice) => mapForReading(this.#device, recorder.locate(slice).buffer, slice.byteLength));
    } catch (error) {
      void this.#device.popErrorScope().catch(() => null);
      throw error;
    }
    const accepted = this.#device.popErrorScope().then((error) => {
      if (error !== null) throw new BackendError(`the GPU refused the commands of a call: ${error.message}`, { cause: error });
    });
    return Promise.all([accepted, ...mapped]);
  }

  /** Hands out what the submitted commands leave in buffers that the CPU can map. */
  async #land<T>(
    recorder: Recorder,
    { ranges, buffers }: Landing,
    done: Promise<unknown>,
    signal: AbortSignalLike | undefined,
    take: (landed: readonly Uint8Array<ArrayBuffer>[]) => T,
  ): Promise<T> {
    const mapped = buffers.map((slice) => recorder.locate(slice).buffer);
    for (const buffer of mapped) this.#pool.retain(buffer);
    try {
      await this.#life.wait(done, signal);
      const taken = take(
        ranges.map((range) => {
          const { buffer, byteOffset, byteLength } = recorder.locate(range);
          return byteLength === 0 ? NOTHING : new Uint8Array(buffer.getMappedRange(byteOffset, roundUp(byteLength, 4)), 0, byteLength);
        }),
      );
      for (const buffer of mapped) {
        buffer.unmap();
        this.#pool.release(buffer);
      }
      return taken;
    } catch (error) {
      // They may be mapped, or about to be.
      for (const buffer of mapped) this.#pool.discard(buffer);
      throw error;
    }
  }

  #newRecorder(checks: boolean): Recorder {
    this.#life.check();
    return new Recorder(this.#device, this.#pool, this.#traits, { checks });
  }

  #end(error: BackendError | DisposedError): void {
    this.#life.end(error);
    this.#pool.dispose();
  }

  /** The error that a call rejects with: its signal's reason, why the device ended, one of our errors, or the platform's error wrapped in one. */
  #explain(error: unknown, signal: AbortSignalLike | undefined): unknown {
    if (signal?.aborted === true && error === signal.reason) return error;
    if (this.#life.ended !== undefined) return this.#life.ended;
    if (
      error instanceof BackendError ||
      error instanceof UnsupportedError ||
      error instanceof DisposedError ||
      error instanceof RangeError ||
      error instanceof TypeError
    )
      return error;
    return new BackendError(`the GPU failed a call: ${messageOf(error)}`, { cause: error });
  }
}
