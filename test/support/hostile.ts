import {
  BackendError,
  DisposedError,
  OnlineSoftmax,
  UnsupportedError,
  attention,
  attentionScores,
  attentionVarlen,
  createBlockMask,
  empty,
  logSoftmax,
  logSumExp,
  mergeStates,
  softmax,
  tensor,
} from "../../src/index.ts";
import { resizableBuffer } from "./resizable.ts";
import { random } from "./numbers.ts";

/** Values that arguments may be, hostile and harmless ones. */
function valueOf(next: () => number): unknown {
  const pick = <T>(values: readonly (() => T)[]): T => (values[Math.floor(next() * values.length)] ?? (() => undefined as T))();
  const count = Math.floor(next() * 40);
  return pick<unknown>([
    () => Float32Array.from({ length: count }, () => next() * 200 - 100),
    () => new Float64Array(count).fill(next()),
    () => tensor(new Float32Array(24), [1, 2, 3, 4]),
    () => tensor(new Float32Array(24).fill(NaN), [2, 3, 4]),
    () => ({ data: new Float32Array(count), shape: [count >> 1, 2], strides: [next() * 3, count] }),
    () => ({ data: new Float32Array(count), shape: new Array(12).fill(1) }),
    () => Array.from({ length: count }, () => [next(), next()]),
    () => [[1, 2], [3]],
    () => new Uint8Array(count),
    () => new DataView(new ArrayBuffer(count)),
    () => new Proxy(new Float32Array(count), {}),
    () => new Proxy({}, { get: () => count }),
    () => {
      const buffer = resizableBuffer(64);
      const view = new Float32Array(buffer, 0, 16);
      buffer.resize(8);
      return view;
    },
    () => {
      const array = new Float32Array(count);
      structuredClone(array.buffer, { transfer: [array.buffer] });
      return array;
    },
    () => {
      const kept = empty([3, 4]);
      kept.dispose();
      return kept;
    },
    () => null,
    () => undefined,
    () => next() * 1e40,
    () => "lower-right",
    () => Symbol.iterator,
    () => 2n ** 70n,
    () => true,
    () => -1,
    () => [0, 3],
    () => createBlockMask(() => true, { queryLength: 3, keyLength: 3 }),
  ]);
}

const OPTIONS = [
  "axis",
  "algorithm",
  "scale",
  "bias",
  "mask",
  "safe",
  "out",
  "causal",
  "windowSize",
  "queryOffset",
  "softcap",
  "alibiSlopes",
  "sinks",
  "kvLengths",
  "returnLse",
  "cuSeqlensQ",
  "layout",
  "blockMask",
  "dim",
];

const FUNCTIONS: readonly (readonly [(...args: never[]) => unknown, inputs: number])[] = [
  [softmax, 1],
  [logSoftmax, 1],
  [logSumExp, 1],
  [attention, 3],
  [attentionScores, 2],
  [attentionVarlen, 3],
  [mergeStates, 1],
  [tensor, 2],
  [(x: never, options: never) => new OnlineSoftmax().push(x).normalize(x, options), 1],
  [(shape: never) => empty(shape).dispose(), 1],
];

/** Whether an error is one of the package's own, which says what was wrong. */
function isOurs(error: unknown): boolean {
  if (error instanceof UnsupportedError || error instanceof DisposedError || error instanceof BackendError) return true;
  return (error instanceof TypeError || error instanceof RangeError) && /^"[\w[\].]+" /.test(error.message);
}

/** Calls public functions with mixed input. Returns the errors that are not the package's own, each once, and how many calls succeeded. */
export function hostileCalls(calls: number, seed: number): { readonly bare: readonly string[]; readonly succeeded: number } {
  const next = random(seed);
  const bare = new Set<string>();
  let succeeded = 0;
  for (let i = 0; i < calls; i++) {
    const [run, inputs] = FUNCTIONS[i % FUNCTIONS.length] ?? [softmax, 1];
    const first = next() < 0.6 ? tensor(Float32Array.from({ length: 24 }, next), [2, 3, 4]) : valueOf(next);
    const args = Array.from({ length: inputs }, () => (next() < 0.8 ? first : valueOf(next)));
    const options: Record<string, unknown> = {};
    for (const name of OPTIONS) if (next() < 0.04) options[name] = valueOf(next);
    try {
      run(...([...args, options] as never[]));
      succeeded++;
    } catch (error) {
      if (!isOurs(error)) bare.add(error instanceof Error ? (error.stack ?? error.message).split("\n").slice(0, 4).join("\n") : String(error));
    }
  }
  return { bare: [...bare], succeeded };
}
