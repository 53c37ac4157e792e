import { BackendError, DisposedError, UnsupportedError } from "../../../errors/errors.ts";
import type { GPUCommandEncoderLike, GPUDeviceLike, GPULike } from "../../../tensor/gpu-types.ts";
import { contiguousStrides, elementCount, sameShape } from "../../../tensor/shape.ts";
import type { DType, DTypeData, DeviceArray } from "../../../tensor/tensor.ts";
import { BufferPool, COPY_SRC, NUMBERS, type PoolState } from "../device/buffers.ts";
import { CallOrder } from "../../../calls/call-order.ts";
import { type AdapterInfo, type FoundDevice, type NoDevice, findDevice } from "../device/device.ts";
import { type Job, type ResultTensor, claim, deliver, recordJob, standing } from "./job.ts";
import { pack } from "../plans/pack.ts";
import { PipelineCache } from "../device/pipelines.ts";
import { mapForReading, nudged } from "../device/readback.ts";
import { type Landing, Recorder, type Slice, type Step, deviceSlice, roundUp } from "./recorder.ts";
import { Recording } from "./recording.ts";
import { ResidentTensor } from "../device/resident-tensor.ts";
import type { DeviceTraits } from "../device/traits.ts";

/** Messages that are kept of what the device reported outside of any call. */
const KEPT_ERRORS = 8;

const NOTHING = new Uint8Array(0);

/**
 * A GPU that comes back from a submission within so many milliseconds is given FASTER times as much at once in the next call: parts of
 * a call are too few workgroups for a large GPU where each of them takes long. No submission comes near half a second so.
 */
const QUICK_MS = 100;
const FASTER = 4;

/** Dtypes of tensors on the GPU and the arrays that hold them; bytes of a mask are `u8`. */
const ARRAYS = { f32: Float32Array, f16: Uint16Array, i8: Int8Array, u8: Uint8Array } as const;

export type ResidentType = keyof typeof ARRAYS;

/** A tensor in the CPU's memory, to upload or downloaded. */
export interface HostTensor {
  readonly data: DTypeData[DType] | Uint8Array;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides?: readonly number[];
}

/** A checked tensor on the GPU. */
export interface DeviceTensor {
  readonly data: DeviceArray;
  readonly dtype: ResidentType;
  readonly shape: readonly number[];
}

/** Runs calls on a GPU. Results are on the GPU where the operands were. */
export class WebGpuBackend {
  readonly info: AdapterInfo;
  #traits: DeviceTraits;
  readonly #found: FoundDevice;
  readonly #device: GPUDevice;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #order = new CallOrder();
  readonly #errors: string[] = [];
  /** Resolves with the reason when no call can run any more: the device was lost, or the backend disposed of. */
  readonly lost: Promise<string>;
  #lose: (reason: string) => void = () => undefined;
  /** How to reject what waits for the device, should that be lost. */
  readonly #waiting = new Set<(error: Error) => void>();
  #ended: BackendError | DisposedError | undefined;

  /** Finds a GPU, or the reason why there is none. `given` is a GPU or a GPUDevice to use. */
  static async open(given?: GPULike | GPUDeviceLike): Promise<WebGpuBackend | NoDevice> {
    const found = await findDevice(given);
    return "reason" in found ? found : new WebGpuBackend(found);
  }

  constructor(found: FoundDevice) {
    this.#found = found;
    this.#device = found.device;
    this.info = found.info;
    this.#traits = found.traits;
    this.#pool = new BufferPool(found.device);
    this.#pipelines = new PipelineCache(found.device);
    this.lost = new Promise((resolve) => (this.#lose = resolve));
    WebGpuBackend.#watch(found.device, new WeakRef(this));
    if (!found.owned) return;
    found.device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#errors.push(event.error.message);
      this.#errors.splice(0, this.#errors.length - KEPT_ERRORS);
    });
  }

  get device(): GPUDevice {
    return this.#device;
  }

  /** Ends a backend with its device. One of the caller's may live longer, and would keep what its closures see. */
  static #watch(device: GPUDevice, watched: WeakRef<WebGpuBackend>): void {
    void device.lost.then(({ reason, message }) => {
      const backend = watched.deref();
      if (backend !== undefined) backend.#end(new BackendError(`the GPU device was lost (${reason}): ${message}`, { cause: reason }));
    });
  }

  get traits(): DeviceTraits {
    return this.#traits;
  }

  /** Why no call can run any more: the device was lost, or the backend disposed of. */
  get ended(): BackendError | DisposedError | undefined {
    return this.#ended;
  }

  /** Bytes of GPU memory, pipelines compiled, and what the device complained of outside of any call. */
  get state(): { readonly bytes: PoolState; readonly pipelines: number; readonly errors: readonly string[] } {
    return { bytes: this.#pool.state, pipelines: this.#pipelines.compiled, errors: this.#errors };
  }

  /**
   * Runs a call: reads its operands now, submits after all earlier calls, and writes `out` just before the promise resolves. What is
   * on the GPU is read and written there by then, too.
   *
   * @throws at once what is wrong with the call itself: TooLargeError where this GPU cannot take it. As a rejection: BackendError if
   * the GPU fails it, the signal's reason if it is aborted; `out` in an array is as it was then
   */
  execute(job: Job, signal?: AbortSignal): Promise<ResultTensor[]> {
    return this.#call(
      signal,
      (recorder) => recordJob(recorder, job),
      async (recorder, results) => {
        /** Those that are there before the GPU is done. */
        let tensors: readonly (ResultTensor | undefined)[] = [];
        const submitted = (): void => {
          tensors = results.map((result) => standing(this.#pool, recorder, result));
        };
        const wanted = results.filter(({ place }) => place === "host").map(({ slice }) => slice);
        try {
          const writes = results.some(({ place }) => place === "given");
          return await this.#finish(recorder, wanted, { signal, writes }, submitted, (landed) => {
            const bytes = landed.values();
            return results.map(({ shape, out }, i) => tensors[i] ?? deliver(shape, out, bytes.next().value ?? NOTHING));
          });
        } catch (error) {
          results.forEach(({ place }, i) => {
            if (place === "resident") (tensors[i] as ResidentTensor | undefined)?.dispose();
          });
          throw error;
        }
      },
    );
  }

  /** Calls that are written into the caller's encoder, and computed when the caller submits it. */
  encode(encoder: GPUCommandEncoderLike): Recording {
    this.#assertUsable();
    const host = { device: this.#device, pool: this.#pool, pipelines: this.#pipelines, traits: this.traits, assertUsable: () => this.#assertUsable() };
    return new Recording(host, encoder as GPUCommandEncoder);
  }

  /** A tensor on the GPU with whatever its memory held before. */
  empty<D extends ResidentType>(shape: readonly number[], dtype: D): ResidentTensor<D> {
    this.#assertUsable();
    return new ResidentTensor(this.#pool, this.#pool.acquire(elementCount(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT, NUMBERS), shape, dtype);
  }

  /** Copies a tensor to the GPU. It is read before the promise is returned. */
  async upload({ data, shape, dtype, strides }: HostTensor, signal?: AbortSignal): Promise<ResidentTensor> {
    if (!(dtype in ARRAYS)) throw new UnsupportedError(`a tensor on the GPU expected dtype f32, f16, i8 or u8, got ${dtype}`);
    const gapless = strides === undefined || sameShape(strides, contiguousStrides(shape));
    return this.#call(
      signal,
      (recorder) => recorder.input(gapless ? data : pack(data, shape, strides), elementCount(shape)),
      async (recorder, slice) => {
        const preparing = recorder.prepare(this.#pipelines);
        if (preparing !== undefined) await this.#wait(preparing, signal);
        this.#assertUsable();
        return claim(this.#pool, recorder, slice, shape, dtype);
      },
    );
  }

  /** Copies a tensor from the GPU, after all earlier calls. */
  async download({ data, shape, dtype }: DeviceTensor, signal?: AbortSignal): Promise<HostTensor> {
    return this.#call(
      signal,
      (recorder) => {
        const slice = deviceSlice(data, COPY_SRC);
        recorder.hold(slice.buffer);
        return slice;
      },
      async (recorder, slice) =>
        this.#finish(
          recorder,
          [slice],
          { signal },
          () => undefined,
          ([bytes = NOTHING]) => ({ data: new ARRAYS[dtype](bytes.slice().buffer), shape, dtype }),
        ),
    );
  }

  /** Resolves when the GPU has done all that was submitted. */
  idle(): Promise<void> {
    this.#assertUsable();
    return this.#wait(this.#device.queue.onSubmittedWorkDone(), undefined);
  }

  /** Destroys buffers that wait for use. */
  trim(): void {
    this.#pool.trim();
  }

  /** Ends everything: calls that are under way reject, tensors lose their memory. A device that was given stays as it is. */
  dispose(): void {
    this.#end(new DisposedError("this engine has been disposed"));
    if (this.#found.owned) this.#device.destroy();
  }

  /** Plans something at once and runs it, with a recorder that gives back what it holds, whatever happens. */
  #call<P, T>(signal: AbortSignal | undefined, plan: (recorder: Recorder) => P, run: (recorder: Recorder, planned: P) => Promise<T>): Promise<T> {
    this.#check(signal);
    const recorder = new Recorder(this.#device, this.#pool, this.traits, { checks: true });
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
   * Prepares, submits in turn, and waits until the GPU has accepted the commands, or is done with them where something is wanted
   * back: `take` gets it, in memory that is the CPU's only then. Without anything to wait for, the submission happens before this
   * returns. A call that takes several stops between them, unless it `writes` what is the caller's.
   */
  async #finish<T>(
    recorder: Recorder,
    wanted: readonly Slice[],
    { signal, writes = false }: { readonly signal: AbortSignal | undefined; readonly writes?: boolean },
    submitted: () => void,
    take: (landed: readonly Uint8Array<ArrayBuffer>[]) => T,
  ): Promise<T> {
    const landing = recorder.land(wanted);
    const earlier = recorder.submissions.slice(0, -1);
    /** What is being computed of the earlier ones. */
    let running: Promise<unknown> | undefined;
    const submit = (): Promise<T> => {
      const done = Promise.all([running, this.#submit(recorder, recorder.submissions.at(-1) ?? [], landing.buffers)]);
      submitted();
      const landed = this.#land(recorder, landing, done, signal, take);
      // Whoever uses next what this call held is queued behind it.
      recorder.release();
      return landed;
    };
    const preparing = recorder.prepare(this.#pipelines);
    if (preparing === undefined && !this.#order.busy && earlier.length === 0) return submit();
    const place = this.#order.enter();
    let done: Promise<T>;
    try {
      await this.#wait(Promise.all([preparing, place.turn]), signal);
      this.#check(signal);
      const between = writes ? undefined : signal;
      for (const steps of earlier) {
        const before = running;
        const began = performance.now();
        running = Promise.all([this.#submit(recorder, steps, []), nudged(this.#device, this.#device.queue.onSubmittedWorkDone())]).then(() => {
          const submissionFlops = Math.max(this.traits.submissionFlops, FASTER * recorder.traits.submissionFlops);
          if (performance.now() - began < QUICK_MS) this.#traits = { ...this.traits, submissionFlops };
        });
        // Who waits for it may have been stopped.
        running.catch(() => undefined);
        // Two are on their way, so that the GPU always has something to do.
        if (before !== undefined) await this.#wait(before, between);
        this.#check(between);
      }
      done = submit();
    } finally {
      place.leave();
    }
    return done;
  }

  /** Whether things have ended since the last promise resolved. */
  #check(signal: AbortSignal | undefined): void {
    this.#assertUsable();
    if (signal?.aborted === true) throw signal.reason;
  }

  /** Encodes and submits, and asks for buffers to be mapped behind that. Resolves when the device has accepted the commands, and has mapped. */
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

  /** Hands out what commands just submitted leave in buffers that the CPU can map. */
  async #land<T>(
    recorder: Recorder,
    { ranges, buffers }: Landing,
    done: Promise<unknown>,
    signal: AbortSignal | undefined,
    take: (landed: readonly Uint8Array<ArrayBuffer>[]) => T,
  ): Promise<T> {
    const mapped = buffers.map((slice) => recorder.locate(slice).buffer);
    for (const buffer of mapped) this.#pool.retain(buffer);
    try {
      await this.#wait(done, signal);
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

  /** Waits for the device, but no longer than it lives and the caller cares. */
  #wait<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        this.#waiting.delete(stop);
        signal?.removeEventListener("abort", abort);
      };
      const stop = (error: unknown): void => {
        done();
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
        reject(error);
      };
      const abort = (): void => stop(signal?.reason);
      this.#waiting.add(stop);
      signal?.addEventListener("abort", abort);
      promise.then((value) => {
        done();
        resolve(value);
      }, stop);
    });
  }

  #assertUsable(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  #end(error: BackendError | DisposedError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#lose(error.message);
    for (const reject of [...this.#waiting]) reject(error);
    this.#pool.dispose();
  }

  /** What a call rejects with: the reason of its signal, the end of the device, an error of ours, or the platform's wrapped in one. */
  #explain(error: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted === true && error === signal.reason) return error;
    if (this.#ended !== undefined) return this.#ended;
    if (
      error instanceof BackendError ||
      error instanceof UnsupportedError ||
      error instanceof DisposedError ||
      error instanceof RangeError ||
      error instanceof TypeError
    )
      return error;
    return new BackendError(`the GPU failed a call: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
