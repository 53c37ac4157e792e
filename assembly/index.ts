// All families that the package ships, in one binary: onepass/wasm/….wasm.
export * from "./families/rows";
export * from "./families/attention";
export * from "./families/linear";
export * from "./families/sampling";
