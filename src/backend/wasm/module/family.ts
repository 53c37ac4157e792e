import type { Variant } from "./features.ts";
import { decode } from "./inlined.ts";

/** Kernels that share a binary, which a runtime loads when one of them is first needed. `K`: the binary's exports. */
export interface Family<K> {
  /** Its place in scripts/families.ts, by which runtimes keep what they have loaded. */
  readonly index: number;
  /** Its two binaries, pieces in turn, as inlined.ts encodes them. */
  readonly pieces: readonly string[];
  readonly table: string;
  /** The same exports, with their types. */
  readonly kernelsOf: (exports: WebAssembly.Exports) => K;
}

/** The bytes of one of a family's two binaries. */
export function binaryOf({ pieces, table }: Family<unknown>, variant: Variant): Uint8Array<ArrayBuffer> {
  return decode(pieces.filter((_, i) => i % 2 === (variant === "baseline" ? 0 : 1)).join(""), table);
}
