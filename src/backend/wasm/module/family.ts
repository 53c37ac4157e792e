import type { Variant } from "./features.ts";
import { decode } from "./inlined.ts";

/** Kernels that share a binary, which a runtime loads when one of them is first needed. `K`: what the binary exports. */
export interface Family<K> {
  readonly binaries: InlinedBinaries;
  /** The same exports, with their types. */
  readonly kernelsOf: (exports: WebAssembly.Exports) => K;
}

/** The two binaries of a family, as scripts/build.ts writes them. */
interface InlinedBinaries {
  /** The family's place in scripts/families.ts, by which a runtime keeps what it has loaded. */
  readonly index: number;
  /** The most frequent bytes, and pieces of the baseline and of the relaxed binary in turn: see inlined.ts. */
  readonly singles: string;
  readonly pieces: readonly string[];
}

/** The bytes of one of a family's two binaries. */
export function binaryOf({ binaries: { pieces, singles } }: Family<unknown>, variant: Variant): Uint8Array<ArrayBuffer> {
  return decode(pieces.filter((_, i) => i % 2 === (variant === "baseline" ? 0 : 1)).join(""), singles);
}
