import type { BackendError } from "../../../errors/errors.ts";
import type { BufferPool } from "../device/buffers.ts";
import { type Job, type ResultTensor, recordJob, standing } from "./job.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import { Recorder } from "./recorder.ts";
import type { DeviceTraits } from "../device/traits.ts";

/** What a recording uses of its backend. */
export interface RecordingHost {
  readonly device: GPUDevice;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  readonly traits: DeviceTraits;
  /** Throws when no call can run any more. */
  assertUsable(): void;
}

/**
 * Calls that are written into an encoder of the caller, who submits it. Their results are on the GPU. What they need in between
 * stays theirs until `dispose()`, which has to come after the submission.
 */
export class Recording {
  readonly #host: RecordingHost;
  readonly #encoder: GPUCommandEncoder;
  readonly #recorders: Recorder[] = [];
  readonly #failures: Promise<BackendError | undefined>[] = [];

  constructor(host: RecordingHost, encoder: GPUCommandEncoder) {
    this.#host = host;
    this.#encoder = encoder;
  }

  /** Records a call. A shader that is not compiled yet is compiled now, which blocks in some implementations. */
  run(job: Job): ResultTensor[] {
    const { device, pool, pipelines, traits } = this.#host;
    this.#host.assertUsable();
    const recorder = new Recorder(device, pool, traits);
    this.#recorders.push(recorder);
    const results = recordJob(recorder, job, "gpu");
    if (results.some((result) => result.place === "host")) throw new TypeError('"out" expected a tensor on the GPU, since what is recorded is not read back');
    this.#failures.push(...recorder.encode(this.#encoder, pipelines));
    return results.flatMap((result) => standing(pool, recorder, result) ?? []);
  }

  /** Resolves when the shaders of everything recorded so far are known to compile. @throws BackendError (as a rejection) if one does not */
  async check(): Promise<void> {
    for (const failure of await Promise.all(this.#failures)) if (failure !== undefined) throw failure;
  }

  /** Gives back what the calls needed in between. */
  dispose(): void {
    for (const recorder of this.#recorders.splice(0)) recorder.release();
  }
}
