import { createInstance, hasRelaxedSimd, type Instance } from "../src/testing/testing.ts";
import type { Engines } from "./engine/engines.ts";
import type { Machine } from "./machine/limits.ts";
import type { ReadyPeer } from "./peers/peer.ts";

/** What the suites of the engine build their contenders from. */
export interface EngineContext {
  readonly engines: Engines;
  /** Libraries that compute on the GPU. */
  readonly peers: readonly ReadyPeer[];
  readonly quick: boolean;
}

/** What the suites build their contenders from. */
export interface Context {
  /** The binaries that this engine runs, the fastest first. */
  readonly instances: readonly Instance[];
  readonly machine: Machine;
  readonly peers: readonly ReadyPeer[];
  /** Fewer shapes, shorter. */
  readonly quick: boolean;
}

/** One instance of each binary that runs here. */
export function createInstances(): readonly Instance[] {
  return hasRelaxedSimd() ? [createInstance("relaxed"), createInstance("baseline")] : [createInstance("baseline")];
}
