// Finds in a script what scripts/build.ts has inlined, whatever a bundler made of it.
import { SINGLE_COUNT, decode } from "../../src/backend/wasm/module/inlined.ts";

/** The most frequent byte values of a family, in hexadecimal. */
const SINGLES = new RegExp(`["'\`]([0-9a-f]{${2 * SINGLE_COUNT}})["'\`]`);
/** A piece of a binary. */
const PIECE = /["'`]([#-[\]-~]{600,})["'`]/;
const EITHER = new RegExp(`${SINGLES.source}|${PIECE.source}`, "g");

/** All binaries of a script: of each family the baseline one, then the relaxed one. */
export function inlinedBinaries(script: string): Uint8Array<ArrayBuffer>[] {
  const families: { readonly singles: string; readonly pieces: string[] }[] = [];
  // A family is its frequent bytes, then its pieces, in the order of the generated file.
  for (const [, singles, piece] of script.matchAll(EITHER)) {
    if (singles !== undefined) families.push({ singles, pieces: [] });
    else if (piece !== undefined) families.at(-1)?.pieces.push(piece);
  }
  return families.flatMap(({ singles, pieces }) => [0, 1].map((mine) => decode(pieces.filter((_, i) => i % 2 === mine).join(""), singles)));
}

/** How long a script is without the pieces of binaries. */
export function lengthWithoutBinaries(script: string): number {
  return script.length - [...script.matchAll(new RegExp(PIECE, "g"))].reduce((sum, [text]) => sum + text.length, 0);
}
