import { BackendError } from "../../../errors/errors.ts";
import type { BindingKind, Program } from "./program.ts";

/** `GPUShaderStage.COMPUTE`; Node has no global for it. */
const COMPUTE = 0x4;

const BUFFER_TYPES = { uniform: "uniform", read: "read-only-storage", write: "storage" } as const satisfies Record<BindingKind, GPUBufferBindingType>;

/** A compiled program. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly groupLayout: GPUBindGroupLayout;
  /** The compile error, if any. Arrives after a pipeline made by {@link PipelineCache.compileNow} is already in use. */
  readonly failure: Promise<BackendError | undefined>;
}

const SOUND = Promise.resolve(undefined);

/** Compiles each program once. */
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

  /** The pipeline of a program, if it is compiled already. */
  get(program: Program): Pipeline | undefined {
    return this.#ready.get(program.name);
  }

  /** Compiles in the background. Rejects with a BackendError that shows the faulty line; a later call tries again. */
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

  /** Compiles for immediate use, which may block until the compiler is done. Errors arrive later, in `failure`. */
  compileNow(program: Program): Pipeline {
    const ready = this.#ready.get(program.name);
    if (ready !== undefined) return ready;
    this.#device.pushErrorScope("validation");
    const { descriptor, module, groupLayout } = this.#begin(program);
    const pipeline = this.#device.createComputePipeline(descriptor);
    const failure = this.#device.popErrorScope().then(async (error) => {
      if (error === null) return undefined;
      this.#ready.delete(program.name);
      return describeFailure(program, module, error);
    });
    return this.#keep(program, { pipeline, groupLayout, failure });
  }

  async #compile(program: Program): Promise<Pipeline> {
    // Without the scope, errors are also logged to the console.
    this.#device.pushErrorScope("validation");
    const { descriptor, module, groupLayout } = this.#begin(program);
    const refused = this.#device.popErrorScope();
    try {
      const pipeline = await this.#device.createComputePipelineAsync(descriptor);
      return this.#keep(program, { pipeline, groupLayout, failure: SOUND });
    } catch (error) {
      throw await describeFailure(program, module, (await refused) ?? error);
    }
  }

  #keep({ name }: Program, made: Pipeline): Pipeline {
    this.#ready.set(name, made);
    return made;
  }

  /** Creates what a pipeline is made of. */
  #begin(program: Program) {
    const { group: groupLayout, pipeline: layout } = this.#layoutsOf(program);
    const module = this.#device.createShaderModule({ label: program.name, code: program.wgsl });
    this.#compiled++;
    return { module, groupLayout, descriptor: { label: program.name, layout, compute: { module, entryPoint: "main" } } };
  }

  /** Layouts are explicit because automatic ones leave out buffers that the shader does not use. */
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

/** The compiler's first error with its line of WGSL, or the device's message if the compiler reported none. */
async function describeFailure(program: Program, module: GPUShaderModule, error: unknown): Promise<BackendError> {
  const said = (error as { message?: string }).message ?? String(error);
  // A lost device has no compilation info either; its own error is reported then.
  const info = await module.getCompilationInfo().catch(() => undefined);
  const first = info?.messages.find((message) => message.type === "error");
  if (first === undefined) return new BackendError(`WGSL program "${program.name}" was refused: ${said.trim()}`, { cause: error });
  const line = program.wgsl.split("\n")[first.lineNum - 1] ?? "";
  const place = first.lineNum > 0 ? `:${first.lineNum}:${first.linePos}` : "";
  // Tabs stay tabs, so that the caret lines up with its character.
  const indent = line.slice(0, Math.max(0, first.linePos - 1)).replace(/[^\t]/g, " ");
  return new BackendError(`WGSL program "${program.name}"${place} ${first.message}\n${line}\n${indent}^`, { cause: error });
}
