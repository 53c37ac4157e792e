import type { MergeCall } from "../../../calls/merge-call.ts";
import type { AbortSignalLike } from "../../../errors/signal.ts";
import type { ScoresCall } from "../../../calls/scores-call.ts";
import type { AttentionCall } from "../../../calls/attention-call.ts";
import { BackendError } from "../../../errors/errors.ts";
import type { GPUCommandEncoderLike, GPUDeviceLike, GPULike, GpuInfo } from "../../../tensor/gpu-types.ts";
import type { RowCall } from "../../../calls/row-call.ts";
import { DeviceArray, type ResidentTensor, type Tensor, deviceView, toView } from "../../../tensor/tensor.ts";
import { recordAttention } from "../plans/attention.ts";
import { recordAttentionScores } from "../plans/attention-scores.ts";
import { type HostTensor, WebGpuBackend } from "./backend.ts";
import type { Job } from "./job.ts";
import type { Recording } from "./recording.ts";
import { recordMergeStates } from "../plans/merge-states.ts";
import { recordRows } from "../plans/rows.ts";

type Resident = ResidentTensor<"f32">;
type Result = Tensor<"f32"> | Resident;

/** Opens a GPU. @throws BackendError with the reason if there is none */
export async function openGpu(given?: GPULike | GPUDeviceLike): Promise<Gpu> {
  const backend = await WebGpuBackend.open(given);
  if ("reason" in backend) throw new BackendError(backend.reason);
  return new Gpu(backend);
}

/** Runs checked calls on a GPU. What is wrong with a call itself is thrown at once (TooLargeError: the CPU may take it), what the GPU fails is a rejection. */
export class Gpu {
  readonly #backend: WebGpuBackend;
  #completed = 0;

  constructor(backend: WebGpuBackend) {
    this.#backend = backend;
  }

  /** Resolves with the reason when the device is lost, or disposed of. */
  get lost(): Promise<string> {
    return this.#backend.lost;
  }

  /** Calls that the device has completed. */
  get completed(): number {
    return this.#completed;
  }

  get device(): GPUDevice {
    return this.#backend.device;
  }

  get maxBufferBytes(): number {
    return this.#backend.traits.bufferBytes;
  }

  /** Bytes that a shader sees of a buffer, wherever they begin: its binding may begin one alignment earlier. */
  get maxSpanBytes(): number {
    const { bindingBytes, offsetAlignment } = this.#backend.traits;
    return bindingBytes - offsetAlignment;
  }

  /** Why something is off. */
  get off(): readonly string[] {
    return this.#backend.info.reasons;
  }

  info(): GpuInfo {
    const { info, traits, state } = this.#backend;
    const { vendor, architecture, description, isFallback } = info;
    const { inUse, pooled } = state.bytes;
    return {
      ...{ vendor, architecture, description, emulated: isFallback },
      ...{ subgroups: traits.subgroups, f16: traits.f16, bytes: { inUse, pooled }, pipelines: state.pipelines },
    };
  }

  rows(call: RowCall, signal?: AbortSignalLike): Promise<Result> {
    return this.#run(rowsJob(call), signal, ([y]) => y);
  }

  attention(call: AttentionCall, signal?: AbortSignalLike): Promise<Result | { readonly out: Result; readonly lse: Result }> {
    return this.#run(attentionJob(call), signal, ([out, lse]) => (call.result.lse === undefined ? out : { out, lse }));
  }

  attentionScores(call: ScoresCall, signal?: AbortSignalLike): Promise<Result> {
    return this.#run(scoresJob(call), signal, ([scores]) => scores);
  }

  mergeStates(call: MergeCall, signal?: AbortSignalLike): Promise<{ readonly out: Result; readonly lse: Result }> {
    return this.#run(mergeJob(call), signal, ([out, lse]) => ({ out, lse }));
  }

  /** Copies a tensor to the GPU; it is read before this returns. */
  async upload(x: unknown): Promise<ResidentTensor> {
    return this.#backend.upload(hostTensor(x));
  }

  /** Copies a tensor from the GPU. */
  async download(x: unknown): Promise<Tensor> {
    if (typeof x !== "object" || x === null) throw new TypeError(`"x" expected a tensor in a GPU buffer`);
    return await this.#backend.download(deviceView("x", x, ["f32", "f16", "u8", "i8"]));
  }

  empty(shape: readonly number[]): ResidentTensor<"f32"> {
    return this.#backend.empty(shape, "f32");
  }

  encode(encoder: GPUCommandEncoderLike): GpuRecording {
    return new GpuRecording(this.#backend.encode(encoder));
  }

  /** Resolves when the GPU has done all that was submitted. */
  idle(): Promise<void> {
    return this.#backend.idle();
  }

  /** Gives back to the system what waits for the next call. */
  trim(): void {
    this.#backend.trim();
  }

  dispose(): void {
    this.#backend.dispose();
  }

  /** Runs a job; the second of its results is there where it has two. */
  #run<T>(job: Job, signal: AbortSignalLike | undefined, take: (results: readonly [Result, Result]) => T): Promise<T> {
    return this.#backend.execute(job, signal as AbortSignal | undefined).then((results) => {
      this.#completed++;
      return take(results as unknown as [Result, Result]);
    });
  }
}

/** Checked calls recorded into an encoder of the caller's. */
export class GpuRecording {
  readonly #recording: Recording;

  constructor(recording: Recording) {
    this.#recording = recording;
  }

  rows(call: RowCall): Resident {
    return this.#run(rowsJob(call))[0];
  }

  attention(call: AttentionCall): Resident | { readonly out: Resident; readonly lse: Resident } {
    const [out, lse] = this.#run(attentionJob(call));
    return call.result.lse === undefined ? out : { out, lse };
  }

  attentionScores(call: ScoresCall): Resident {
    return this.#run(scoresJob(call))[0];
  }

  mergeStates(call: MergeCall): { readonly out: Resident; readonly lse: Resident } {
    const [out, lse] = this.#run(mergeJob(call));
    return { out, lse };
  }

  #run(job: Job): readonly [Resident, Resident] {
    return this.#recording.run(job) as unknown as [Resident, Resident];
  }

  check(): Promise<void> {
    return this.#recording.check();
  }

  dispose(): void {
    this.#recording.dispose();
  }
}

function rowsJob(call: RowCall): Job {
  const { x, bias, mask, shape, out } = call;
  return {
    operands: [x.data, bias?.data, mask?.data],
    results: [{ shape, out }],
    record: (recorder, [y]) => {
      if (y !== undefined) recordRows(recorder, call, y);
    },
  };
}

function attentionJob(call: AttentionCall): Job {
  const { q, k, v, bias, mask, result } = call;
  return {
    operands: [q.data, k.data, v.data, bias?.data, mask?.data],
    results: [{ shape: result.shape, out: result.out }, ...(result.lse === undefined ? [] : [{ shape: result.lse.shape }])],
    record: (recorder, [out, lse]) => {
      if (out !== undefined) recordAttention(recorder, call, out, lse);
    },
  };
}

function scoresJob(call: ScoresCall): Job {
  const { q, k, bias, mask, shape } = call;
  return {
    operands: [q.data, k.data, bias?.data, mask?.data],
    results: [{ shape }],
    record: (recorder, [scores]) => {
      if (scores !== undefined) recordAttentionScores(recorder, call, scores);
    },
  };
}

function mergeJob(call: MergeCall): Job {
  return {
    operands: call.parts.flatMap(({ out, lse }) => [out.data, lse.data]),
    results: [{ shape: call.shape }, { shape: call.lseShape }],
    record: (recorder, [out, lse]) => {
      if (out !== undefined && lse !== undefined) recordMergeStates(recorder, call, out, lse);
    },
  };
}

/** A tensor of the caller's, or the bytes of a mask. */
function hostTensor(x: unknown): HostTensor {
  const { data, ...view } = toView("x", x);
  if (data instanceof DeviceArray) throw new TypeError(`"x" expected a tensor in the CPU's memory, got one in a GPU buffer`);
  return { data, ...view };
}
