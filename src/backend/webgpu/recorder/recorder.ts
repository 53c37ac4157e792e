import { BackendError, TooLargeError, UnsupportedError } from "../../../errors/errors.ts";
import { type ArrayHandle, BYTES } from "../../../tensor/array.ts";
import { type BufferPool, CHECKED_BYTES, COPY_DST, COPY_SRC, NUMBERS, READBACK, STORAGE, UNIFORMS } from "../device/buffers.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import type { Program } from "../device/program.ts";
import type { DeviceTraits } from "../device/traits.ts";

/** A range of a GPU buffer, in bytes. */
export interface Slice {
  readonly buffer: GPUBuffer;
  /** A multiple of 4. If it is not a multiple of the device's `offsetAlignment`, shaders add {@link Recorder.baseOf}. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Where ranges land for the CPU: the ranges, and the buffers that hold them, each as long as the part to map. */
export interface Landing {
  readonly ranges: readonly Slice[];
  readonly buffers: readonly Slice[];
}

/** Ranges in mapped memory start at a multiple of this many bytes. */
const MAPPED_ALIGNMENT = 8;

/** A uniform block and its position in the buffer that all blocks of a call share. */
interface Block {
  readonly block: ArrayBuffer;
  readonly at: number;
}

/** A command: a dispatch or a copy. */
export type Step =
  | { readonly program: Program; readonly uniforms: Block; readonly operands: readonly Slice[]; readonly grid: readonly [number, number, number] }
  | { readonly from: Slice; readonly to: Slice };

/**
 * The commands of one call, collected before anything is submitted. Uploads and temporary buffers come from the pool and go back with
 * {@link Recorder.release} after submission, since later use is queued behind.
 */
export class Recorder {
  readonly traits: DeviceTraits;
  readonly #device: GPUDevice;
  readonly #pool: BufferPool;
  readonly #submissions: [Step[], ...Step[][]] = [[]];
  readonly #programs = new Map<string, Program>();
  readonly #held: GPUBuffer[] = [];
  readonly #inputs: { readonly data: ArrayHandle; readonly slice: Slice }[] = [];
  /** Buffers that can be replaced: acquired here, and without contents that only the caller's arrays had. */
  readonly #replaceable = new Set<GPUBuffer>();
  readonly #checks: boolean;
  /** Uploads into buffers that may have no memory. */
  readonly #late: { readonly buffer: GPUBuffer; readonly bytes: Uint8Array }[] = [];
  /** Replacements for buffers that got no memory. */
  readonly #replaced = new Map<GPUBuffer, GPUBuffer>();
  #uniforms: GPUBuffer | undefined;
  #uniformBytes = 0;
  /** Floating-point operations in the last submission. */
  #flops = 0;
  #released = false;
  #nothing: Slice | undefined;

  /**
   * With `checks`, uploads into large new buffers wait until those are known to have memory. {@link Recorder.prepare} must then be awaited
   * before {@link Recorder.encode}.
   */
  constructor(device: GPUDevice, pool: BufferPool, traits: DeviceTraits, { checks = false }: { readonly checks?: boolean } = {}) {
    this.#checks = checks;
    this.#device = device;
    this.#pool = pool;
    this.traits = traits;
  }

  /** The commands, in submissions short enough not to stall the GPU: one, unless a lot is computed. */
  get submissions(): readonly [readonly Step[], ...(readonly Step[])[]] {
    return this.#submissions;
  }

  /** The programs that {@link Recorder.encode} needs. */
  get programs(): Iterable<Program> {
    return this.#programs.values();
  }

  /**
   * An operand. The first `count` elements of an array are copied now, and only once if it is named several times. Numbers on the GPU are
   * all used in place.
   */
  input(data: ArrayHandle, count = data.length): Slice {
    const known = this.#inputs.find((input) => input.data.sameAs(data))?.slice;
    const bytes = count * BYTES[data.dtype];
    if (known !== undefined && known.byteLength >= bytes) return data.place === "gpu" ? known : { ...known, byteLength: bytes };
    let slice: Slice;
    if (data.place === "gpu") {
      // Its buffer may be empty too, or end where the tensor begins.
      if (data.length === 0) return { ...this.nothing(), byteLength: 0 };
      slice = deviceSlice(data);
      this.hold(slice.buffer);
    } else {
      if (BYTES[data.dtype] > 4) throw new UnsupportedError("GPUs compute f32 and f16, not f64");
      const { buffer, byteOffset } = data.view();
      // As bytes, because Dawn for Node 0.6 crashes when it is given a Float16Array.
      slice = this.upload(new Uint8Array(buffer, byteOffset, bytes));
    }
    this.#inputs.push({ data, slice });
    return slice;
  }

  /** Copies bytes to the GPU now. */
  upload(bytes: Uint8Array): Slice {
    const buffer = this.#acquire(bytes.byteLength, NUMBERS);
    // Replacing the buffer later takes a copy of the bytes, since the caller may change its array first. But if the pool cannot give back
    // that much, nothing will replace it, so no copy is made.
    if (this.#checks && this.#isUnsure(buffer) && this.#pool.state.pooled >= buffer.size) this.#late.push({ buffer, bytes: bytes.slice() });
    else {
      this.#replaceable.delete(buffer);
      this.#write(buffer, bytes);
    }
    return { buffer, byteOffset: 0, byteLength: bytes.byteLength };
  }

  /** Memory for intermediate results, with whatever it held before. */
  scratch(bytes: number): Slice {
    return { buffer: this.#acquire(bytes, NUMBERS), byteOffset: 0, byteLength: bytes };
  }

  /** Copies ranges to memory that the CPU can map, in as few buffers as this GPU allows. */
  land(wanted: readonly Slice[]): Landing {
    const buffers: Slice[] = [];
    let left = wanted.reduce((bytes, { byteLength }) => bytes + roundUp(byteLength, MAPPED_ALIGNMENT), 0);
    let room = 0;
    const ranges = wanted.map((slice): Slice => {
      const bytes = roundUp(slice.byteLength, MAPPED_ALIGNMENT);
      if (bytes > room) {
        room = Math.min(left, this.traits.bufferBytes);
        buffers.push({ buffer: this.#acquire(room, READBACK), byteOffset: 0, byteLength: room });
      }
      const whole = buffers.at(-1);
      if (bytes === 0 || whole === undefined) return slice;
      const range = { ...slice, buffer: whole.buffer, byteOffset: whole.byteLength - room };
      this.copy(slice, range);
      room -= bytes;
      left -= bytes;
      return range;
    });
    return { ranges, buffers };
  }

  /** Something to bind for an absent optional operand; the shader must not rely on its contents. */
  nothing(): Slice {
    return (this.#nothing ??= this.scratch(16));
  }

  /** Runs a program over `grid` workgroups, which takes `flops` operations. `uniforms` fills binding 0, `operands` the others in order. */
  run(program: Program, uniforms: ArrayBuffer, operands: readonly Slice[], grid: readonly [number, number, number], flops = 0): void {
    const { bindings, name } = program;
    if (operands.length !== bindings.length - 1) throw new BackendError(`program "${name}" has ${bindings.length - 1} operands, got ${operands.length}`);
    if (Math.max(...grid) > this.traits.workgroupsPerDimension)
      throw new TooLargeError(
        `program "${name}" needs [${grid.join(", ")}] workgroups, but this GPU allows ${this.traits.workgroupsPerDimension} per dimension`,
      );
    const written = operands.filter((_, i) => bindings[i + 1] === "write").map((slice) => slice.buffer);
    operands.forEach((slice, i) => {
      if (bindings[i + 1] === "read" && written.includes(slice.buffer)) throw new BackendError(`program "${name}" reads and writes the same buffer`);
      const bytes = this.#bound(slice).size;
      if (bytes > this.traits.bindingBytes)
        throw new TooLargeError(`program "${name}" binds ${bytes} bytes, but this GPU allows ${this.traits.bindingBytes} in one binding`);
    });
    if (Math.min(...grid) === 0) return;
    this.#programs.set(name, program);
    this.#flops += flops;
    if (this.#flops > this.traits.submissionFlops && this.#flops > flops) {
      this.#submissions.push([]);
      this.#flops = flops;
    }
    this.#add({ program, uniforms: { block: uniforms, at: this.#uniformBytes }, operands, grid });
    this.#uniformBytes += roundUp(uniforms.byteLength, this.traits.offsetAlignment);
  }

  /** Copies between buffers; lengths are multiples of 4 and equal. */
  copy(from: Slice, to: Slice): void {
    if (from.byteLength !== to.byteLength) throw new BackendError(`a copy of ${from.byteLength} bytes into ${to.byteLength}`);
    if (from.byteLength > 0) this.#add({ from, to });
  }

  #add(step: Step): void {
    this.#submissions.at(-1)?.push(step);
  }

  /** Elements from the start of a slice's binding to the slice itself. */
  baseOf(slice: Slice, bytesPerElement: number): number {
    return (slice.byteOffset % this.traits.offsetAlignment) / bytesPerElement;
  }

  /** Keeps a pooled buffer until {@link Recorder.release}, so that it is not reused if its tensor is disposed of earlier. */
  hold(buffer: GPUBuffer): void {
    if (this.#pool.retain(buffer)) this.#held.push(buffer);
  }

  /**
   * Compiles the programs and makes sure that buffers have memory. If they do not, the pool first gives back what is idle. Returns
   * `undefined` if there is nothing to wait for.
   *
   * @throws BackendError (as a rejection) if a program does not compile or there is no memory
   */
  prepare(pipelines: PipelineCache): Promise<void> | undefined {
    const compiling = [...this.programs].filter((program) => pipelines.get(program) === undefined);
    const unsure = this.#held.filter((buffer) => this.#isUnsure(buffer));
    if (compiling.length === 0 && unsure.length === 0) return undefined;
    return Promise.all([...compiling.map((program) => pipelines.compile(program)), ...unsure.map((buffer) => this.#ensure(buffer))]).then(() => {
      // If the call was given up meanwhile, its buffers may be someone else's.
      if (this.#released) return;
      for (const { buffer, bytes } of this.#late) this.#write(this.#live(buffer), bytes);
    });
  }

  /** A slice in the buffer that holds it after {@link Recorder.prepare}. */
  locate(slice: Slice): Slice {
    return { ...slice, buffer: this.#live(slice.buffer) };
  }

  /**
   * Writes the commands. Consecutive dispatches share a pass and see each other's results. Returns the errors that compilers may still
   * report for programs that were not compiled before.
   */
  encode(encoder: GPUCommandEncoder, pipelines: PipelineCache, steps: readonly Step[] = this.#submissions.flat()): Promise<BackendError | undefined>[] {
    const failures: Promise<BackendError | undefined>[] = [];
    let pass: GPUComputePassEncoder | undefined;
    for (const step of steps) {
      if ("from" in step) {
        pass?.end();
        pass = undefined;
        const from = this.locate(step.from);
        const to = this.locate(step.to);
        encoder.copyBufferToBuffer(from.buffer, from.byteOffset, to.buffer, to.byteOffset, roundUp(from.byteLength, 4));
        continue;
      }
      pass ??= encoder.beginComputePass();
      this.#uniforms ??= this.#writeUniforms();
      const { pipeline, groupLayout, failure } = pipelines.compileNow(step.program);
      failures.push(failure);
      const resources = [
        { buffer: this.#uniforms, offset: step.uniforms.at, size: step.uniforms.block.byteLength },
        ...step.operands.map((slice) => this.#bound(slice)),
      ];
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, this.#device.createBindGroup({ layout: groupLayout, entries: resources.map((resource, binding) => ({ binding, resource })) }));
      pass.dispatchWorkgroups(...step.grid);
    }
    pass?.end();
    return failures;
  }

  /** Returns everything to the pool. Results that live on have their own owner. */
  release(): void {
    this.#released = true;
    for (const buffer of this.#held.splice(0)) this.#pool.release(buffer);
  }

  #acquire(bytes: number, usage: number): GPUBuffer {
    const buffer = this.#pool.acquire(bytes, usage);
    this.#held.push(buffer);
    this.#replaceable.add(buffer);
    return buffer;
  }

  #live(buffer: GPUBuffer): GPUBuffer {
    return this.#replaced.get(buffer) ?? buffer;
  }

  /** Whether a buffer may have no memory, and is so large that the call waits until that is known. */
  #isUnsure(buffer: GPUBuffer): boolean {
    return buffer.size >= CHECKED_BYTES && this.#pool.check(buffer) !== undefined;
  }

  /** Replaces a buffer that got no memory. Tries once, after the pool has given back all it can. */
  async #ensure(buffer: GPUBuffer): Promise<void> {
    if ((await this.#pool.check(buffer)) !== false || this.#released) return;
    const { size, usage } = buffer;
    this.#pool.trim();
    if (this.#replaceable.has(buffer)) {
      this.#pool.discard(buffer);
      const again = this.#acquire(size, usage);
      this.#replaced.set(buffer, again);
      if ((await this.#pool.check(again)) !== false) return;
      this.#pool.discard(again);
    }
    throw new BackendError(`the GPU has no memory for a buffer of ${size} bytes (${this.#pool.state.inUse} bytes are in use)`);
  }

  #write(buffer: GPUBuffer, bytes: Uint8Array): void {
    // If the buffer has no memory, the commands that use it report that.
    const unsure = this.#pool.check(buffer) !== undefined;
    if (unsure) this.#device.pushErrorScope("validation");
    const whole = bytes.byteLength & ~3;
    if (whole > 0) this.#device.queue.writeBuffer(buffer, 0, bytes, 0, whole);
    if (whole < bytes.byteLength) {
      // Writes must be multiples of four bytes, so up to three are added.
      const tail = new Uint8Array(4);
      tail.set(bytes.subarray(whole));
      this.#device.queue.writeBuffer(buffer, whole, tail);
    }
    if (unsure) void this.#device.popErrorScope().catch(() => null);
  }

  #writeUniforms(): GPUBuffer {
    const all = new Uint8Array(this.#uniformBytes);
    for (const step of this.#submissions.flat()) if ("uniforms" in step) all.set(new Uint8Array(step.uniforms.block), step.uniforms.at);
    const buffer = this.#acquire(all.byteLength, UNIFORMS);
    this.#device.queue.writeBuffer(buffer, 0, all);
    return buffer;
  }

  /** The binding that shows a slice. It starts at an aligned offset, is a multiple of four bytes, and is not empty. */
  #bound(slice: Slice): { buffer: GPUBuffer; offset: number; size: number } {
    const offset = slice.byteOffset - (slice.byteOffset % this.traits.offsetAlignment);
    return { buffer: this.#live(slice.buffer), offset, size: Math.max(4, roundUp(slice.byteOffset - offset + slice.byteLength, 4)) };
  }
}

/** Rounds up to a multiple. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

const USES = {
  [STORAGE]: "STORAGE, which lets shaders read it",
  [COPY_SRC]: "COPY_SRC, which lets it be read back",
  [COPY_DST]: "COPY_DST, which lets a result take the place of an operand",
} as const;

/** Where a GPU tensor's numbers are. Checks that its buffer allows the use. */
export function deviceSlice({ owner, byteOffset, byteLength }: ArrayHandle, use: keyof typeof USES = STORAGE): Slice {
  const buffer = owner as GPUBuffer;
  if ((buffer.usage & use) === 0) throw new RangeError(`a tensor's GPU buffer expected usage ${USES[use]}`);
  if (byteOffset + roundUp(byteLength, 4) > buffer.size)
    throw new RangeError(`a tensor of ${byteLength} bytes expected a GPU buffer with room for a multiple of 4 behind ${byteOffset}, got ${buffer.size}`);
  return { buffer, byteOffset, byteLength };
}
