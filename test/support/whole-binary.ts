import { readFileSync } from "node:fs";
import type { Variant } from "../../src/backend/wasm/module/features.ts";

/** The binary of all families, which the package exports as "onepass/wasm/….wasm" for callers that compile it themselves. */
export function wholeBinary(variant: Variant): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(new URL(`../../build/whole-${variant}.wasm`, import.meta.url)));
}
