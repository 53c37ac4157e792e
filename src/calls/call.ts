import { ArrayHandle, type ModuleOwner, type Place, type ResultType } from "../tensor/array.ts";
import { contiguousStrides, elementCount } from "../tensor/shape.ts";
import type { GpuTensor, Tensor } from "../tensor/tensor.ts";

/** A tensor that a call reads. Each kind of call names its strides in its own way. */
export interface Operand {
  readonly data: ArrayHandle;
}

/** Where the caller wants a result: its array, the array's strides, and what the call returns for it. */
export interface Output {
  readonly data: ArrayHandle<ResultType | "f16" | "bf16">;
  readonly strides: readonly number[];
  readonly tensor: Tensor<ResultType> | GpuTensor;
}

/** A result of a call. */
export interface Result {
  readonly shape: readonly number[];
  readonly dtype: ResultType;
  /** Where the caller wants it, if specified. */
  readonly out: Output | undefined;
}

/** The kinds of calls; each backend has a plan for each of them. */
export type CallKind = "rows" | "attention" | "scores" | "merge" | "sampling" | "product" | "rotary";

/**
 * An operation with checked arguments: named operands, named results and numbers. Pure data, the same for every backend. Names are
 * those of the arguments, for messages.
 */
export interface Call {
  readonly kind: CallKind;
  readonly operands: Readonly<Record<string, Operand | undefined>>;
  readonly results: Readonly<Record<string, Result | undefined>>;
}

/** The part of a call that names arrays. */
export type UsedArrays = Pick<Call, "operands" | "results">;

/** A result as the call returns it. */
export type ResultTensor = Tensor<ResultType> | GpuTensor;

/** Attention with its log-sum-exp. */
export interface OutAndLse {
  readonly out: Tensor<"f32">;
  readonly lse: Tensor<"f32">;
}

/** What a call returns on the CPU: its result, or all results by name if there are several. Calls of sampling say more themselves. */
export type Returned<C extends Call> = C["kind"] extends "rows"
  ? Tensor<"f32" | "f64">
  : C["kind"] extends "scores" | "product" | "rotary"
    ? Tensor<"f32">
    : C["kind"] extends "merge"
      ? OutAndLse
      : C["kind"] extends "sampling"
        ? unknown
        : Tensor<"f32"> | OutAndLse;

/** A call's operands by name, in the order of its arguments. */
export function operandsOf({ operands }: UsedArrays): (readonly [name: string, operand: Operand])[] {
  return Object.entries(operands).filter((entry): entry is [string, Operand] => entry[1] !== undefined);
}

/** A call's results by name. */
export function resultsOf({ results }: UsedArrays): (readonly [name: string, result: Result])[] {
  return Object.entries(results).filter((entry): entry is [string, Result] => entry[1] !== undefined);
}

/** Where the first operand is. This decides where results without an `out` go. */
export function firstPlace(call: Call): Place {
  for (const name of Object.keys(call.operands)) {
    const operand = call.operands[name];
    if (operand !== undefined) return operand.data.place;
  }
  return "host";
}

/** Where a result goes: to the caller's `out`, else to the GPU if the first operand is there, else to a new array. */
export function resultPlace({ out }: Result, first: Place): Place {
  return out?.data.place ?? (first === "gpu" ? "gpu" : "host");
}

/** The arrays that a call reads, and those of the caller that it writes. */
export function arraysOf(call: UsedArrays): ArrayHandle[] {
  const outs = resultsOf(call).flatMap(([, { out }]) => (out === undefined ? [] : [out.data]));
  return [...operandsOf(call).map(([, { data }]) => data), ...outs];
}

/** Keeps the module memory that a call uses, whoever owns it, until the returned function is called. */
export function holdMemory(call: UsedArrays): () => void {
  const owners = new Set(arraysOf(call).flatMap((data) => (data.place === "module" ? [data.owner as ModuleOwner] : [])));
  const holds = [...owners].map((owner) => owner.hold());
  return () => {
    for (const release of holds) release();
  };
}

/** A call that its caller can no longer change: arrays are copied now; those in `memory` and on a GPU are read later. */
export function snapshot<C extends Call>(call: C, memory: ModuleOwner): C {
  // An array that a call names twice is copied once.
  const copies: { readonly of: ArrayHandle; readonly copy: ArrayHandle }[] = [];
  const operands: Record<string, Operand> = {};
  for (const [name, operand] of operandsOf(call)) {
    const { data } = operand;
    const copy = copies.find(({ of }) => of.sameAs(data))?.copy ?? data.snapshot(memory);
    copies.push({ of: data, copy });
    operands[name] = { ...operand, data: copy };
  }
  return { ...call, operands };
}

const ARRAYS = { f32: Float32Array, f64: Float64Array, i32: Int32Array, f16: Uint16Array, bf16: Uint16Array } as const;

/** A new array for a result. */
export function newOutput(shape: readonly number[], dtype: Output["data"]["dtype"]): Output {
  const data = new ARRAYS[dtype](elementCount(shape));
  return { data: ArrayHandle.of(data, dtype), strides: contiguousStrides(shape), tensor: { data, shape, dtype } as Output["tensor"] };
}

/** What a call returns: its result, or all results by name if there are several. */
export function returned(tensors: Readonly<Record<string, ResultTensor>>): unknown {
  const names = Object.keys(tensors);
  return names.length === 1 ? tensors[names[0] ?? ""] : tensors;
}
