import { VARIANT_SECTION, type Variant } from "../src/backend/wasm/module/features.ts";

/** Appends a custom section that says which binary this is, so that one that is compiled already can be asked. */
export function markVariant(binary: Uint8Array, variant: Variant): Buffer {
  const name = Buffer.from(VARIANT_SECTION);
  const content = Buffer.concat([Buffer.of(name.length), name, Buffer.from(variant)]);
  // 0 is the kind of custom sections; both lengths fit in one byte.
  return Buffer.concat([binary, Buffer.of(0, content.length), content]);
}
