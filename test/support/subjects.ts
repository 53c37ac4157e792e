import { describe, test } from "vitest";
import type {
  AttentionOptions,
  AttentionResultWithLse,
  AttentionScoresOptions,
  AttentionVarlenOptions,
  Layout,
  LogSoftmaxOptions,
  LogSumExpOptions,
  PartialAttention,
  SoftmaxOptions,
  Tensor,
  TensorLike,
} from "../../src/index.ts";
import { mergeStates } from "../../src/index.ts";
import { type Instance, type Variant, createInstance, hasRelaxedSimd } from "../../src/testing.ts";
import { type Store, dtypeOf } from "./layouts.ts";
import type { Backend, FloatType } from "./tolerances.ts";
import { unavailable } from "./variants.ts";

// What the suites against the reference are run on: the plain functions with either binary, and engines. All of them mean the
// same (SEMANTICS); what little a backend is excused is said here and nowhere else.

export type Awaitable<T> = T | Promise<T>;

/** Whose memory a tensor may lie in: an array of the caller, the module's memory, or a buffer on the GPU. */
export type Home = "array" | "module" | "device";

/** Something that computes, and what may be asked of it. */
export interface Subject {
  readonly name: string;
  readonly kind: Backend;
  /** Where operands may lie, the caller's arrays first. What lies on the GPU is contiguous. */
  readonly homes: readonly Home[];
  /** What rows may be made of; attention is f32 everywhere. */
  readonly dtypes: readonly FloatType[];
  /**
   * Whether NaN and +inf in an input reach the result. WGSL may assume that they do not occur, so the GPU promises nothing about
   * them (SEMANTICS 15). That they do *not* reach a result that they should not is asked of every subject.
   */
  readonly propagates: boolean;
  /** Whether numbers below the smallest normal one are kept; WGSL may flush them to 0. */
  readonly denormals: boolean;
  /** The instance behind the plain functions, for tests that look at its memory. */
  readonly instance?: Instance;

  softmax(x: TensorLike, options?: SoftmaxOptions): Awaitable<Tensor<FloatType>>;
  logSoftmax(x: TensorLike, options?: LogSoftmaxOptions): Awaitable<Tensor<FloatType>>;
  logSumExp(x: TensorLike, options?: LogSumExpOptions): Awaitable<Tensor<FloatType>>;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions & { readonly returnLse: true }): Awaitable<AttentionResultWithLse>;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions & { readonly returnLse?: false }): Awaitable<Tensor<"f32">>;
  attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Awaitable<Tensor<"f32"> | AttentionResultWithLse>;
  attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Awaitable<Tensor<"f32">>;
  mergeStates(
    parts: readonly PartialAttention[],
    options?: { readonly layout?: Layout },
  ): Awaitable<{ readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> }>;

  /** Keeps numbers in the subject's own memory. */
  keep(data: Float32Array | Float64Array | Uint8Array): Awaitable<Store>;
  /** The numbers of a contiguous result, wherever they lie, as a copy. */
  read(result: Tensor<FloatType>): Awaitable<Float32Array | Float64Array>;
}

/** The plain functions with a binary and a memory of their own. */
export function subjectOf(instance: Instance): Subject {
  return {
    ...instance,
    name: instance.variant,
    kind: "wasm",
    homes: ["array", "module"],
    dtypes: ["f32", "f64"],
    propagates: true,
    denormals: true,
    instance,
    mergeStates,
    keep: (data) => keepInModule(instance, data),
    read: ({ data }) => data.slice(),
  };
}

/** Numbers in module memory, which may grow between two looks: every view is a fresh one. */
export function keepInModule(instance: Pick<Instance, "empty">, given: Float32Array | Float64Array | Uint8Array): Store {
  const bytes = given instanceof Uint8Array;
  const kept = instance.empty([bytes ? Math.ceil(given.length / 4) : given.length], { dtype: given instanceof Float64Array ? "f64" : "f32" });
  const data = (): typeof given => {
    const all = kept.data;
    return bytes ? new Uint8Array(all.buffer, all.byteOffset, given.length) : all;
  };
  data().set(given);
  return {
    view: (first, shape, strides) => ({
      get data() {
        return data().subarray(first) as never;
      },
      shape,
      ...dtypeOf(given),
      ...(strides && { strides }),
    }),
    read: () => data().slice(),
    dispose: () => kept.dispose(),
  };
}

/** What may be asked for by name, and what stands in the way of having it, if anything does. */
interface Candidate {
  readonly name: string;
  readonly unavailable: string | undefined;
  readonly make: () => Subject;
}

function plain(variant: Variant): Candidate {
  const missing = variant === "relaxed" && !hasRelaxedSimd();
  return { name: variant, unavailable: missing ? "this JavaScript engine has no relaxed SIMD" : undefined, make: () => subjectOf(createInstance(variant)) };
}

const CANDIDATES: readonly Candidate[] = [plain("baseline"), plain("relaxed")];

/** Which of them this process is about: a project of vitest.config.ts says so. */
const CHOSEN = (process.env["ONEPASS_SUBJECTS"] ?? "baseline relaxed").split(" ");

/**
 * A suite that runs once for each subject of this process. One that cannot be had here is skipped by name and with the reason; in
 * CI that is a failure, because there all are required.
 */
export function describeSubjects(title: string, body: (subject: Subject) => void): void {
  for (const name of CHOSEN) {
    const candidate = CANDIDATES.find((c) => c.name === name);
    if (candidate === undefined) throw new RangeError(`ONEPASS_SUBJECTS expected names out of ${CANDIDATES.map((c) => c.name).join(", ")}, got ${name}`);
    describe(`${title}, ${name}`, () => {
      const reason = candidate.unavailable;
      if (reason === undefined) body(candidate.make());
      else test(`needs ${name}`, ({ skip }) => unavailable(skip, reason));
    });
  }
}
