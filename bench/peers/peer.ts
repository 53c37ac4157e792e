import { readFileSync } from "node:fs";
import type { Tensor } from "../../src/index.ts";
import type { Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";

/** Another library, before it is loaded. */
export interface Peer {
  readonly name: string;
  /** The package whose version is told. */
  readonly packageName: string;
  /** How it runs, in a few words. */
  readonly note: string;
  /** Computes on the GPU, and takes part in the engine's suites. */
  readonly onGpu?: true;
  /** Loads the library, on one thread. Throws where it does not run. */
  setup(): Promise<Operators>;
}

/** Inputs are made once and kept where the library computes; each run makes its own output, as its users' calls do. */
export interface Operators {
  readonly softmax: (problem: Problem) => Runner | Promise<Runner>;
  /** The k largest of each row, largest first, as values; absent where there is no such operator. */
  readonly topK?: (problem: Problem, k: number) => Runner | Promise<Runner>;
  /** x · weightᵀ; absent where it is not measured. */
  readonly linear?: (problem: Problem) => Runner | Promise<Runner>;
  /** softmax(q·kᵀ/√dim) · v of as many heads of keys and values as of queries. */
  readonly attention: (problem: Problem) => Runner | Promise<Runner>;
}

/** A library that is loaded. */
export interface ReadyPeer extends Peer, Operators {}

/** A library that takes part, by its version, or why it does not. */
export type PeerStatus = Awaited<ReturnType<typeof setUpPeers>>["statuses"][number];

/** Sets up every library of a list that runs here. */
export async function setUpPeers(peers: readonly Peer[]) {
  const ready: ReadyPeer[] = [];
  const statuses: { readonly name: string; readonly version?: string; readonly unavailable?: string }[] = [];
  for (const peer of peers) {
    try {
      ready.push({ ...peer, ...(await peer.setup()) });
      const { version } = JSON.parse(readFileSync(new URL(`node_modules/${peer.packageName}/package.json`, import.meta.url), "utf8")) as { version: string };
      statuses.push({ name: peer.name, version });
    } catch (error) {
      statuses.push({ name: peer.name, unavailable: (String(error).split("\n")[0] ?? "").replace(/ imported from .*/s, "") });
    }
  }
  return { ready, statuses };
}

/** Imports a package of this folder, whose types are absent until it is installed: the caller says what it uses of it. */
export async function load<T>(name: string): Promise<T> {
  return (await import(name)) as T;
}

/** Something of a library's that occupies memory. */
interface Held {
  dispose?(): void;
}

/** A runner that makes a new output at each call, and frees the one before. A promise only where `make` gives one. */
export function makingOutputs<T extends Held>(
  make: () => T | Promise<T>,
  read: (out: T) => Float32Array | Promise<Float32Array>,
  inputs: readonly Held[],
): Runner {
  let out: T | undefined;
  return {
    run() {
      out?.dispose?.();
      const made = make();
      if (!(made instanceof Promise)) out = made;
      else return made.then((value) => (out = value));
    },
    read: () => (out === undefined ? new Float32Array(0) : read(out)),
    dispose() {
      for (const held of [out, ...inputs]) held?.dispose?.();
    },
  };
}

/** [heads, length, dim] as [length, heads, dim], or back: the layout of some libraries. */
export function swapHeads({ data, shape: [heads = 0, length = 0, dim = 0] }: Pick<Tensor<"f32">, "data" | "shape">): Tensor<"f32"> {
  const swapped = new Float32Array(data.length);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < length; i++) swapped.set(data.subarray((h * length + i) * dim, (h * length + i + 1) * dim), (i * heads + h) * dim);
  }
  return { data: swapped, shape: [length, heads, dim], dtype: "f32" };
}

/** Turns operands before the timing, and the output after it, for libraries that want heads behind length. */
export async function withHeadsBehind(
  { operands, outShape: [heads = 0, queries = 0, dim = 0], call }: Problem,
  prepare: Operators["attention"],
): Promise<Runner> {
  const swapped = { call, operands: operands.map(swapHeads), outShape: [queries, heads, dim], options: {}, heat: 0 };
  const inner = await prepare(swapped);
  return { ...inner, read: async () => swapHeads({ data: await inner.read(), shape: [queries, heads, dim] }).data };
}
