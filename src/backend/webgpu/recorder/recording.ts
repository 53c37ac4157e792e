import { type Call, returned } from "../../../calls/call.ts";
import { onlyCpuOf } from "../../../calls/work.ts";
import { type BackendError, UnsupportedError } from "../../../errors/errors.ts";
import type { BufferPool } from "../device/buffers.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import { RECORDERS } from "../plans/recorders.ts";
import type { Recorder } from "./recorder.ts";
import { type RecordCall, recordCall, standing } from "./results.ts";

/** What a recording needs from its GPU. */
export interface RecordingHost {
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  /** @throws what every call throws once the device is gone */
  newRecorder(): Recorder;
}

/**
 * Calls recorded into the caller's encoder, which the caller submits. Their results are on the GPU. Temporary buffers are kept until
 * `dispose()`, which must come after the submission.
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

  /** Records a call and returns its results. If a shader is not compiled yet, it is compiled now, which blocks in some implementations. */
  run(call: Call, record: RecordCall = RECORDERS[call.kind]): unknown {
    const { pool, pipelines } = this.#host;
    const lacking = onlyCpuOf(call);
    if (lacking !== undefined) throw new UnsupportedError(lacking);
    const recorder = this.#host.newRecorder();
    this.#recorders.push(recorder);
    const targets = recordCall(recorder, call, record, "gpu");
    if (targets.some(({ place }) => place !== "gpu")) throw new TypeError('"out" expected a tensor on the GPU, since what is recorded is not read back');
    this.#failures.push(...recorder.encode(this.#encoder, pipelines));
    return returned(standing(pool, recorder, targets));
  }

  /** Resolves once the shaders of everything recorded so far are known to compile. @throws BackendError (as a rejection) if one does not */
  async check(): Promise<void> {
    for (const failure of await Promise.all(this.#failures)) if (failure !== undefined) throw failure;
  }

  /** Returns temporary buffers to the pool. */
  dispose(): void {
    for (const recorder of this.#recorders.splice(0)) recorder.release();
  }
}
