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

/** What a program is written from. */
export interface ProgramSource {
  /** The block that the WGSL knows as `u`. */
  readonly uniforms: { readonly name: string; readonly wgsl: string };
  /** What it is bound to behind the uniforms, in this order: a name, what is done with it, and the type of what it holds. */
  readonly buffers: Readonly<Record<string, readonly ["read" | "write", type: string]>>;
  readonly features?: readonly ProgramFeature[];
  /** All that is not said above. */
  readonly body: string;
}

const ENABLED = { "shader-f16": "f16", subgroups: "subgroups" } as const satisfies Record<ProgramFeature, string>;

const PROGRAMS = new Map<string, Program>();

/** The program of a name. Its text, some 15 KB, is written when it is first asked for. */
export function programOf(name: string, source: () => ProgramSource): Program {
  let program = PROGRAMS.get(name);
  if (program === undefined) PROGRAMS.set(name, (program = write(name, source())));
  return program;
}

function write(name: string, { uniforms, buffers, features = [], body }: ProgramSource): Program {
  const wgsl = `${features.map((feature) => `enable ${ENABLED[feature]};\n`).join("")}
${uniforms.wgsl}
@group(0) @binding(0) var<uniform> u: ${uniforms.name};
${Object.entries(buffers)
  .map(([buffer, [kind, type]], i) => `@group(0) @binding(${i + 1}) var<storage, read${kind === "write" ? "_write" : ""}> ${buffer}: array<${type}>;\n`)
  .join("")}${body}`;
  return { name, wgsl, bindings: ["uniform", ...Object.values(buffers).map(([kind]) => kind)], features };
}
