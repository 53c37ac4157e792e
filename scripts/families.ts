/** A family of kernels: a binary in both variants, compiled from assembly/families/<name>.ts. */
export interface FamilyEntry {
  readonly name: string;
  /** Where its static data starts, in bytes. All families share the first page of one memory; check-wasm asserts that they do not overlap. */
  readonly memoryBase: number;
  /** Whether the package's users get it: in the core, and in the whole binaries through assembly/index.ts. */
  readonly shipped: boolean;
}

/** All families. A runtime stores a loaded family under its position in this table (src/backend/wasm/module/family.ts). */
export const FAMILIES: readonly FamilyEntry[] = [
  { name: "rows", memoryBase: 1024, shipped: true },
  { name: "attention", memoryBase: 2048, shipped: true },
  { name: "sampling", memoryBase: 3072, shipped: true },
  { name: "linear", memoryBase: 4096, shipped: true },
  { name: "testing", memoryBase: 5120, shipped: false },
];
