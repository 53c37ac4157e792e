import { parseAttention } from "../../src/attention.ts";
import type { Cpu } from "../../src/backend/wasm/cpu.ts";
import { emptyOn } from "../../src/empty.ts";
import type { TensorLike } from "../../src/index.ts";
import { parseSoftmax } from "../../src/softmax.ts";
import type { Instance } from "../../src/testing.ts";

/** A call whose tensors lie where it runs. */
export interface ThreadCase {
  readonly name: string;
  /** The least part of the limit that issue 5 asks for, in percent. */
  readonly asked: number;
  readonly onCpu: (cpu: Cpu) => () => unknown;
  readonly onInstance: (instance: Instance) => () => unknown;
}

/** A call that is not worth sharing, or hardly. */
export interface SmallCase {
  readonly name: string;
  readonly onCpu: (cpu: Cpu) => () => unknown;
  readonly threadsOn: (cpu: Cpu) => number;
}

/** Numbers between −1 and 1, the same everywhere. */
function numbers(count: number): Float32Array {
  let state = 12345;
  return Float32Array.from({ length: count }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31);
}

function countOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

interface Home {
  empty(shape: readonly number[]): { readonly data: Float32Array };
}

function homeOf(cpu: Cpu): Home {
  return { empty: (shape) => emptyOn(cpu.runtime, shape) };
}

function fill(home: Home, shape: readonly number[]): TensorLike {
  const kept = home.empty(shape);
  kept.data.set(numbers(countOf(shape)));
  return kept;
}

function softmaxCase(rows: number, cols: number): ThreadCase {
  const shape = [rows, cols];
  return {
    name: `softmax ${rows}×${cols}`,
    asked: 85,
    onCpu: (cpu) => {
      const [x, out] = [fill(homeOf(cpu), shape), fill(homeOf(cpu), shape)];
      return () => cpu.rows(parseSoftmax(x, { out }));
    },
    onInstance: (instance) => {
      const [x, out] = [fill(instance, shape), fill(instance, shape)];
      return () => instance.softmax(x, { out });
    },
  };
}

function attentionCase(name: string, asked: number, q: readonly number[], k: readonly number[]): ThreadCase {
  const operands = (home: Home) => [fill(home, q), fill(home, k), fill(home, k), fill(home, q)] as const;
  return {
    name,
    asked,
    onCpu: (cpu) => {
      const [qt, kt, vt, out] = operands(homeOf(cpu));
      return () => cpu.attention(parseAttention(qt, kt, vt, { out }));
    },
    onInstance: (instance) => {
      const [qt, kt, vt, out] = operands(instance);
      return () => instance.attention(qt, kt, vt, { out });
    },
  };
}

export const CASES: readonly ThreadCase[] = [
  attentionCase("attention 8×2048×64", 90, [1, 8, 2048, 64], [1, 8, 2048, 64]),
  softmaxCase(1024, 1024),
  attentionCase("decode 32/8×128 over 8192 keys", 85, [1, 32, 1, 128], [1, 8, 8192, 128]),
];

function smallSoftmax(rows: number, cols: number, where: "module" | "array"): SmallCase {
  const shape = [rows, cols];
  return {
    name: `softmax ${rows}×${cols}, ${where}`,
    onCpu: (cpu) => {
      const home: Home = where === "module" ? homeOf(cpu) : { empty: () => ({ data: new Float32Array(rows * cols), shape }) };
      const [x, out] = [fill(home, shape), fill(home, shape)];
      return () => cpu.rows(parseSoftmax(x, { out }));
    },
    threadsOn: (cpu) => {
      const home: Home = where === "module" ? homeOf(cpu) : { empty: () => ({ data: new Float32Array(rows * cols), shape }) };
      return cpu.threadsFor(parseSoftmax(fill(home, shape)));
    },
  };
}

export const SMALL_CASES: readonly SmallCase[] = (["module", "array"] as const).flatMap((where) => [
  smallSoftmax(1, 10, where),
  smallSoftmax(16, 256, where),
  smallSoftmax(64, 1024, where),
  smallSoftmax(128, 1024, where),
  smallSoftmax(160, 1024, where),
  smallSoftmax(192, 1024, where),
  smallSoftmax(256, 1024, where),
  smallSoftmax(512, 1024, where),
  smallSoftmax(1024, 1024, where),
]);
