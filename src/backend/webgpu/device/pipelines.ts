import { BackendError } from "../../../errors/errors.ts";
import type { BindingKind, Program } from "./program.ts";

/** `GPUShaderStage.COMPUTE`, which Node has no global for. */
const COMPUTE = 0x4;

const BUFFER_TYPES = { uniform: "uniform", read: "read-only-storage", write: "storage" } as const satisfies Record<BindingKind, GPUBufferBindingType>;

/** A compiled program. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly groupLayout: GPUBindGroupLayout;
  /** What the compiler found wrong, where the pipeline is used before it could say so ({@link PipelineCache.compileNow}). */
  readonly failure: Promise<BackendError | undefined>;
}

const SOUND = Promise.resolve(undefined);

/** Compiles programs once each. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #ready = new Map<string, Pipeline>();
  readonly #compiling = new Map<string, Promise<Pipeline>>();
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  #compiled = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** How often a compiler ran. */
  get compiled(): number {
    return this.#compiled;
  }

  /** A program that is compiled already. */
  get(program: Program): Pipeline | undefined {
    return this.#ready.get(program.name);
  }

  /** Compiles in the background. Rejects with a BackendError that shows the line; a later call tries again. */
  compile(program: Program): Promise<Pipeline> {
    const ready = this.#ready.get(program.name);
    if (ready !== undefined) return Promise.resolve(ready);
    let compiling = this.#compiling.get(program.name);
    if (compiling === undefined) {
      compiling = this.#compile(program).finally(() => this.#compiling.delete(program.name));
      this.#compiling.set(program.name, compiling);
    }
    return compiling;
  }

  /** Compiles for use at once, which may block until the compiler is done. An error comes later, in `failure`. */
  compileNow(program: Program): Pipeline {
    const ready = this.#ready.get(program.name);
    if (ready !== undefined) return ready;
    this.#device.pushErrorScope("validation");
    const layouts = this.#layoutsOf(program);
    const module = this.#device.createShaderModule({ label: program.name, code: program.wgsl });
    const pipeline = this.#device.createComputePipeline(descriptor(program, module, layouts.pipeline));
    const failure = this.#device.popErrorScope().then(async (error) => {
      if (error === null) return undefined;
      this.#ready.delete(program.name);
      return describeFailure(program, module, error);
    });
    const made: Pipeline = { pipeline, groupLayout: layouts.group, failure };
    this.#compiled++;
    this.#ready.set(program.name, made);
    return made;
  }

  async #compile(program: Program): Promise<Pipeline> {
    // Without the scope, what the device does not like is reported to the console as well.
    this.#device.pushErrorScope("validation");
    const layouts = this.#layoutsOf(program);
    const module = this.#device.createShaderModule({ label: program.name, code: program.wgsl });
    const refused = this.#device.popErrorScope();
    this.#compiled++;
    let pipeline: GPUComputePipeline;
    try {
      pipeline = await this.#device.createComputePipelineAsync(descriptor(program, module, layouts.pipeline));
    } catch (error) {
      throw await describeFailure(program, module, (await refused) ?? error);
    }
    const made: Pipeline = { pipeline, groupLayout: layouts.group, failure: SOUND };
    this.#ready.set(program.name, made);
    return made;
  }

  /** Layouts are explicit, since the automatic ones leave out what the shader happens not to use. */
  #layoutsOf(program: Program) {
    const key = program.bindings.join();
    let layouts = this.#layouts.get(key);
    if (layouts === undefined) {
      const entries = program.bindings.map((kind, binding) => ({ binding, visibility: COMPUTE, buffer: { type: BUFFER_TYPES[kind] } }));
      const group = this.#device.createBindGroupLayout({ entries });
      layouts = { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#layouts.set(key, layouts);
    }
    return layouts;
  }
}

function descriptor(program: Program, module: GPUShaderModule, layout: GPUPipelineLayout): GPUComputePipelineDescriptor {
  return { label: program.name, layout, compute: { module, entryPoint: "main" } };
}

/** The compiler's first error with its line of WGSL; what the device said where the compiler had nothing to say. */
async function describeFailure(program: Program, module: GPUShaderModule, error: unknown): Promise<BackendError> {
  const said = (error as { message?: string }).message ?? String(error);
  // A device that is lost has no compilation info either; its own error is told then.
  const info = await module.getCompilationInfo().catch(() => undefined);
  const first = info?.messages.find((message) => message.type === "error");
  if (first === undefined) return new BackendError(`WGSL program "${program.name}" was refused: ${said.trim()}`, { cause: error });
  const line = program.wgsl.split("\n")[first.lineNum - 1] ?? "";
  const place = first.lineNum > 0 ? `:${first.lineNum}:${first.linePos}` : "";
  // Tabs stay tabs, so that the caret stands below its character.
  const indent = line.slice(0, Math.max(0, first.linePos - 1)).replace(/[^\t]/g, " ");
  return new BackendError(`WGSL program "${program.name}"${place} ${first.message}\n${line}\n${indent}^`, { cause: error });
}
