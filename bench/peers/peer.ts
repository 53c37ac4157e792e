import { readFileSync } from "node:fs";
import type { Runner } from "../contender.ts";
import type { Heads } from "../heads.ts";

/** Another library, before it is loaded. */
export interface Peer {
  readonly name: string;
  /** Loads the library, on one thread. Throws where it does not run. */
  setup(): Promise<ReadyPeer>;
}

/** A library that is loaded. Inputs are made once and kept where it computes; each run makes its own output, as its users' calls do. */
export interface ReadyPeer {
  readonly name: string;
  readonly version: string;
  /** How it runs, in a few words. */
  readonly note: string;
  readonly softmax: (x: Float32Array, rows: number, cols: number) => Runner | Promise<Runner>;
  /** softmax(q·kᵀ/√dim) · v of as many heads of keys and values as of queries. */
  readonly attention: (input: Heads) => Runner | Promise<Runner>;
}

/** Imports a package of this folder, whose types are absent until it is installed: the caller says what it uses of it. */
export async function load<T>(name: string): Promise<T> {
  return (await import(name)) as T;
}

/** The installed version of a package of this folder. */
export function versionOf(name: string): string {
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")) as { version: string };
  return version;
}

/** [heads, length, dim] as [length, heads, dim], or back with `heads` and `length` exchanged. */
export function swapHeadsAndLength(x: Float32Array, heads: number, length: number): Float32Array {
  const dim = x.length / heads / length;
  const y = new Float32Array(x.length);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) y.set(x.subarray((h * length + i) * dim, (h * length + i + 1) * dim), (i * heads + h) * dim);
  }
  return y;
}
