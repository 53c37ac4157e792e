import type { AttentionCall } from "../../attention-arguments.ts";
import type { RowCall } from "../../row-call.ts";
import type { Tensor } from "../../tensor.ts";
import { runAttentionCall } from "./attention.ts";
import type { Variant } from "./features.ts";
import { runRowCall } from "./row-calls.ts";
import { type Runtime, createRuntime } from "./runtime.ts";

export interface CpuOptions {
  readonly variant?: Variant;
  readonly threads?: "auto" | number;
  readonly maxMemoryBytes?: number;
  readonly workerUrl?: string | { readonly href: string };
  readonly module?: object;
}

/** The CPU of an engine. */
export interface Cpu {
  readonly runtime: Runtime;
  readonly threads: number;
  /** Why there are not more threads. */
  readonly reasons: readonly string[];
  rows(call: RowCall, signal?: AbortSignal): Promise<Tensor<"f32" | "f64">> | Tensor<"f32" | "f64">;
  attention(call: AttentionCall, signal?: AbortSignal): ReturnType<typeof runAttentionCall> | Promise<ReturnType<typeof runAttentionCall>>;
  dispose(): void;
}

// eslint-disable-next-line @typescript-eslint/require-await -- threads start asynchronously
export async function createCpu({ variant }: CpuOptions = {}): Promise<Cpu> {
  const runtime = createRuntime(variant);
  return {
    runtime,
    threads: 1,
    reasons: [],
    rows: (call) => runRowCall(runtime, call),
    attention: (call) => runAttentionCall(runtime, call),
    dispose: () => undefined,
  };
}
