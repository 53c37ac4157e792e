import type { Variant } from "./features.ts";
import { decode } from "./inlined.ts";

/** Kernels that share a binary. A runtime loads it when one of them is first needed. `K`: what the binary exports. */
export interface Family<K> {
  readonly binaries: InlinedBinaries;
  /** The same exports, with their types. */
  readonly kernelsOf: (exports: WebAssembly.Exports) => K;
}

/** The two binaries of a family, as scripts/build.ts writes them. */
interface InlinedBinaries {
  /** The family's position in scripts/families.ts. A runtime stores what it has loaded under this number. */
  readonly index: number;
  /** The most frequent bytes, then pieces of the baseline and the relaxed binary in turn: see inlined.ts. */
  readonly singles: string;
  readonly pieces: readonly string[];
}

/** The bytes of one of a family's two binaries. */
export function binaryOf({ binaries: { pieces, singles } }: Family<unknown>, variant: Variant): Uint8Array<ArrayBuffer> {
  return decode(pieces.filter((_, i) => i % 2 === (variant === "baseline" ? 0 : 1)).join(""), singles);
}
