/** What a shader does with a buffer: reads the uniform block, reads numbers, or writes (and may read) them. */
export type BindingKind = "uniform" | "read" | "write";

/** An optional feature that a program's WGSL enables. */
export type ProgramFeature = "shader-f16" | "subgroups";

/**
 * A compute shader and what it is bound to. The entry point is `main`; the buffers are in group 0, numbered by their place in
 * `bindings`, and number 0 is the uniform block.
 */
export interface Program {
  /** Everything that decides the text: programs of equal names are the same program, compiled once. */
  readonly name: string;
  readonly wgsl: string;
  readonly bindings: readonly BindingKind[];
  readonly features: readonly ProgramFeature[];
}
