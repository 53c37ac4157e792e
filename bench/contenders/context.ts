import { createInstance, hasRelaxedSimd, type Instance } from "../../src/testing/testing.ts";
import type { Engines } from "../engine/engines.ts";
import type { Machine } from "../machine/limits.ts";
import type { ReadyPeer } from "../peers/peer.ts";

/** What contenders of the engine are made of. */
export interface EngineContext {
  readonly engines: Engines;
  /** Libraries that compute on the GPU. */
  readonly gpuPeers: readonly ReadyPeer[];
  /** Fewer shapes, shorter. */
  readonly quick: boolean;
}

/** What contenders on one thread are made of. */
export interface Context extends EngineContext {
  /** The binaries that run here, the fastest first. */
  readonly instances: readonly Instance[];
  readonly machine: Machine;
  readonly peers: readonly ReadyPeer[];
}

/** One instance of each binary that runs here. */
export function createInstances(): readonly Instance[] {
  return hasRelaxedSimd() ? [createInstance("relaxed"), createInstance("baseline")] : [createInstance("baseline")];
}
