/** What a shader does with a buffer: reads the uniform block, reads numbers, or writes (and may read) them. */
export type BindingKind = "uniform" | "read" | "write";

/** An optional feature that a program's WGSL enables. */
export type ProgramFeature = "shader-f16" | "subgroups";

/**
 * A compute shader and its bindings. The entry point is `main`. The buffers are in group 0, numbered by their position in `bindings`;
 * number 0 is the uniform block.
 */
export interface Program {
  /** Encodes everything that decides the text: programs with the same name are the same program and compiled once. */
  readonly name: string;
  readonly wgsl: string;
  readonly bindings: readonly BindingKind[];
  readonly features: readonly ProgramFeature[];
}

/** What a program is generated from. */
export interface ProgramSource {
  /** The uniform block, called `u` in the WGSL. */
  readonly uniforms: { readonly name: string; readonly wgsl: string };
  /** The buffers bound after the uniforms, in this order: name, access and element type. */
  readonly buffers: Readonly<Record<string, readonly ["read" | "write", type: string]>>;
  readonly features?: readonly ProgramFeature[];
  /** The rest of the WGSL. */
  readonly body: string;
}

const ENABLED = { "shader-f16": "f16", subgroups: "subgroups" } as const satisfies Record<ProgramFeature, string>;

const PROGRAMS = new Map<string, Program>();

/** The program with a name. Its text, about 15 KB, is generated on first use. */
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
