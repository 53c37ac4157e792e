import { jaxJs } from "./jax-js.ts";
import { onnxruntimeNode } from "./onnxruntime-node.ts";
import { onnxruntimeWeb } from "./onnxruntime-web.ts";
import { onnxruntimeWebgpu } from "./onnxruntime-webgpu.ts";
import type { Peer, ReadyPeer } from "./peer.ts";
import { tfjsWasm } from "./tfjs-wasm.ts";

/** WebAssembly first, then native code. */
export const PEERS: readonly Peer[] = [onnxruntimeWeb, tfjsWasm, jaxJs, onnxruntimeNode];

/** Libraries that compute on the GPU, for the suites of the engine. */
export const GPU_PEERS: readonly Peer[] = onnxruntimeWebgpu;

/** A library that takes part, or why it does not. */
export interface PeerStatus {
  readonly name: string;
  readonly version?: string;
  readonly note?: string;
  readonly unavailable?: string;
}

/** Sets up every library of a list that runs here. */
export async function setUpPeers(peers: readonly Peer[]): Promise<{ readonly ready: readonly ReadyPeer[]; readonly statuses: readonly PeerStatus[] }> {
  const ready: ReadyPeer[] = [];
  const statuses: PeerStatus[] = [];
  for (const peer of peers) {
    try {
      const done = await peer.setup();
      ready.push(done);
      statuses.push({ name: done.name, version: done.version, note: done.note });
    } catch (error) {
      statuses.push({ name: peer.name, unavailable: (String(error).split("\n")[0] ?? "").replace(/ imported from .*/s, "") });
    }
  }
  return { ready, statuses };
}
