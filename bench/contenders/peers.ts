import type { HeadSizes } from "../../test/cases/shapes.ts";
import type { Contender } from "../measure/contender.ts";
import type { Call, Problem } from "../measure/problem.ts";
import { toleranceOf } from "../measure/verify.ts";
import type { ReadyPeer } from "../peers/peer.ts";

/** Each library on softmax, or on attention that is dense or is made so. */
export function byPeers(peers: readonly ReadyPeer[], { op }: Call, skipped?: string): readonly Contender[] {
  return peers.map(({ name, note, onGpu, softmax, attention, linear }) => ({
    ...{ name, note, skipped: op === "linear" && linear === undefined ? "its matrix product is not tried here" : skipped, group: "peer" },
    tolerance: (problem) => toleranceOf(problem, "other") + (onGpu === true ? toleranceOf(problem, "webgpu") : 0),
    prepare: (problem) => (op === "attention" ? attention(asDense(problem)) : op === "linear" && linear !== undefined ? linear(problem) : softmax(problem)),
  }));
}

/**
 * The same numbers as a problem without shared heads, which not every library knows: query heads that share a head of keys and
 * values are as many queries of one head, if each has a single query.
 */
function asDense(problem: Problem): Problem {
  const { heads, kvHeads, queries, keys, dim } = problem.call as HeadSizes;
  if (heads === kvHeads) return problem;
  if (queries !== 1) throw new Error("heads that share keys and have several queries are not dense");
  const shared = { heads: kvHeads, kvHeads, queries: heads / kvHeads, keys, dim };
  const outShape = [kvHeads, shared.queries, dim];
  const [q, ...kv] = problem.operands;
  return { ...problem, call: { op: "attention", ...shared }, operands: q ? [{ ...q, shape: outShape }, ...kv] : [], outShape };
}
