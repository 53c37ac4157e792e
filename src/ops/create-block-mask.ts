import { BlockMask, type BlockMaskOptions, type MaskMod } from "../calls/block-mask.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions } from "../errors/options.ts";

const KNOWN = new Set(["queryLength", "keyLength", "batch", "heads"]);

/**
 * Calls a predicate once for every query and key and stores the result in tiles, for the `blockMask` option of `attention`.
 *
 * @param maskMod - whether query index `q` may attend to key index `k`
 * @param options - lengths, plus batch and heads if the mask differs between them
 * @throws TypeError if `maskMod` is not a function, RangeError if a size is not a non-negative integer
 *
 * @example
 * ```ts
 * const documents = [0, 0, 0, 1, 1]; // attend within a document, causally
 * const mask = createBlockMask((b, h, q, k) => documents[q] === documents[k] && k <= q, { queryLength: 5, keyLength: 5 });
 * mask.sparsity; // 0
 * ```
 */
export function createBlockMask(maskMod: MaskMod, options: BlockMaskOptions): BlockMask {
  if (typeof maskMod !== "function") throw new TypeError(`"maskMod" expected a function, got ${describe(maskMod)}`);
  checkOptions(options, KNOWN);
  if (!(options as unknown)) throw new TypeError(`"options" expected an object with "queryLength" and "keyLength", got ${describe(options)}`);
  const { queryLength, keyLength, batch = 1, heads = 1 } = options;
  const full = { queryLength, keyLength, batch, heads };
  for (const [name, value] of Object.entries(full)) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`"${name}" expected a non-negative integer, got ${describe(value)}`);
  }
  return new BlockMask(maskMod, full);
}
