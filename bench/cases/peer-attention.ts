import type { Context } from "../context.ts";
import type { Contender } from "../contender.ts";
import type { AttentionInput } from "../heads.ts";
import { peerAttentionTolerance } from "../verify.ts";

/** Dense attention by each library that has it. */
export function peerAttentions({ peers }: Context): readonly Contender<AttentionInput>[] {
  return peers.map(({ name, note, attention }) => ({
    name,
    group: "peer",
    note,
    tolerance: peerAttentionTolerance,
    prepare: (input) => attention(asDense(input)),
  }));
}

/**
 * The same numbers as a problem without shared heads, which not every library knows: query heads that share a head of keys and
 * values are as many queries of one head, if each has a single query.
 */
function asDense(input: AttentionInput): AttentionInput {
  const { heads, kvHeads, queries } = input;
  if (heads === kvHeads) return input;
  if (queries !== 1) throw new Error("heads that share keys and have several queries are not dense");
  return { ...input, heads: kvHeads, queries: heads / kvHeads };
}
