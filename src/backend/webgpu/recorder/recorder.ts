import { BackendError, TooLargeError, UnsupportedError } from "../../../errors/errors.ts";
import { DeviceArray } from "../../../tensor/tensor.ts";
import { type BufferPool, CHECKED_BYTES, COPY_DST, COPY_SRC, NUMBERS, READBACK, STORAGE, UNIFORMS } from "../device/buffers.ts";
import type { Packable } from "../plans/pack.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import type { Program } from "../device/program.ts";
import type { DeviceTraits } from "../device/traits.ts";

/** A range of a GPU buffer, in bytes. */
export interface Slice {
  readonly buffer: GPUBuffer;
  /** A multiple of 4. Where it is not one of the device's `offsetAlignment`, shaders add {@link Recorder.baseOf}. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Where ranges land for the CPU: their places, and the buffers that these are in, each as much of it as has to be mapped. */
export interface Landing {
  readonly ranges: readonly Slice[];
  readonly buffers: readonly Slice[];
}

/** What is looked at in mapped memory starts at a multiple of so many bytes. */
const MAPPED_ALIGNMENT = 8;

/** A uniform block and its place in the buffer that all of a call's blocks share. */
interface Block {
  readonly block: ArrayBuffer;
  readonly at: number;
}

/** A command. */
export type Step =
  | { readonly program: Program; readonly uniforms: Block; readonly operands: readonly Slice[]; readonly grid: readonly [number, number, number] }
  | { readonly from: Slice; readonly to: Slice };

/**
 * The commands of one call, collected before anything is submitted. What it uploads or needs in between comes from the pool and
 * goes back with {@link Recorder.release}: after submission, since later use is queued behind.
 */
export class Recorder {
  readonly traits: DeviceTraits;
  readonly #device: GPUDevice;
  readonly #pool: BufferPool;
  readonly #submissions: [Step[], ...Step[][]] = [[]];
  readonly #programs = new Map<string, Program>();
  readonly #held: GPUBuffer[] = [];
  readonly #inputs = new Map<object, Slice>();
  /** Buffers that another may take the place of: made here, and without contents that only the caller's arrays had. */
  readonly #replaceable = new Set<GPUBuffer>();
  readonly #checks: boolean;
  /** Uploads into buffers that may have got no memory. */
  readonly #late: { readonly buffer: GPUBuffer; readonly bytes: Uint8Array }[] = [];
  /** What took the place of buffers that got no memory. */
  readonly #replaced = new Map<GPUBuffer, GPUBuffer>();
  #uniforms: GPUBuffer | undefined;
  #uniformBytes = 0;
  /** Floating-point operations of the last submission. */
  #flops = 0;
  #released = false;
  #nothing: Slice | undefined;

  /**
   * Where `checks` is set, uploads into large new buffers wait until those are known to have memory: {@link Recorder.prepare} has to
   * be awaited before {@link Recorder.encode} then.
   */
  constructor(device: GPUDevice, pool: BufferPool, traits: DeviceTraits, { checks = false }: { readonly checks?: boolean } = {}) {
    this.#checks = checks;
    this.#device = device;
    this.#pool = pool;
    this.traits = traits;
  }

  /** The commands, in submissions that a GPU is not long about: one, unless a lot is computed. */
  get submissions(): readonly [readonly Step[], ...(readonly Step[])[]] {
    return this.#submissions;
  }

  /** The programs that {@link Recorder.encode} needs. */
  get programs(): Iterable<Program> {
    return this.#programs.values();
  }

  /**
   * An operand. The first `count` elements of a host array are copied now, once however often it is named; numbers on the GPU are
   * used where they lie, all of them.
   */
  input(data: Packable | DeviceArray, count?: number): Slice {
    const known = this.#inputs.get(data);
    if (data instanceof DeviceArray) {
      if (known !== undefined) return known;
      // Its buffer may be empty as well, or end where it begins.
      if (data.byteLength === 0) return { ...this.nothing(), byteLength: 0 };
      const slice = deviceSlice(data);
      this.hold(slice.buffer);
      this.#inputs.set(data, slice);
      return slice;
    }
    if (data.BYTES_PER_ELEMENT > 4) throw new UnsupportedError("GPUs compute f32 and f16, not f64");
    const bytes = hostBytes(data, count ?? data.length);
    if (known !== undefined && known.byteLength >= bytes.byteLength) return { ...known, byteLength: bytes.byteLength };
    const slice = this.#upload(bytes);
    this.#inputs.set(data, slice);
    return slice;
  }

  /** Memory for intermediate results, with whatever it held before. */
  scratch(bytes: number): Slice {
    return { buffer: this.#acquire(bytes, NUMBERS), byteOffset: 0, byteLength: bytes };
  }

  /** Copies ranges to memory that the CPU can map, in as few buffers as this GPU lets hold them. */
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

  /** Something to bind where an optional operand is absent; the shader must not rely on what is in it. */
  nothing(): Slice {
    return (this.#nothing ??= this.scratch(16));
  }

  /** Runs a program over `grid` workgroups, which takes `flops`. `uniforms` fills binding 0, `operands` the others in order. */
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

  /** Elements from where a binding of this slice starts to where the slice does. */
  baseOf(slice: Slice, bytesPerElement: number): number {
    return (slice.byteOffset % this.traits.offsetAlignment) / bytesPerElement;
  }

  /** Keeps a buffer of the pool until {@link Recorder.release}, so that it is not reused if its tensor is disposed of before. */
  hold(buffer: GPUBuffer): void {
    this.#pool.retain(buffer);
    this.#held.push(buffer);
  }

  /**
   * Compiles the programs and makes sure that buffers have memory, giving back what the pool keeps where they do not. Undefined
   * when there is nothing to wait for.
   *
   * @throws BackendError (as a rejection) if a program does not compile or there is no memory
   */
  prepare(pipelines: PipelineCache): Promise<void> | undefined {
    const compiling = [...this.programs].filter((program) => pipelines.get(program) === undefined);
    const unsure = this.#held.filter((buffer) => this.#isUnsure(buffer));
    if (compiling.length === 0 && unsure.length === 0) return undefined;
    return Promise.all([...compiling.map((program) => pipelines.compile(program)), ...unsure.map((buffer) => this.#ensure(buffer))]).then(() => {
      // The call was given up meanwhile, and its buffers may be someone else's.
      if (this.#released) return;
      for (const { buffer, bytes } of this.#late) this.#write(this.#live(buffer), bytes);
    });
  }

  /** The buffer that a slice is in after {@link Recorder.prepare}. */
  locate(slice: Slice): Slice {
    return { ...slice, buffer: this.#live(slice.buffer) };
  }

  /**
   * Writes the commands. Dispatches in a row share a pass, and see each other's results. Returns what compilers still have to say of
   * programs that were not compiled before.
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

  /** Gives everything back to the pool. Results that live on have an owner of their own. */
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

  /** Whether a buffer may have got no memory, and is large enough for the call to wait until that is known. */
  #isUnsure(buffer: GPUBuffer): boolean {
    return buffer.size >= CHECKED_BYTES && this.#pool.check(buffer) !== undefined;
  }

  /** Replaces a buffer that got no memory, once, by one made after the pool has given back all it can. */
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

  #upload(bytes: Uint8Array): Slice {
    const buffer = this.#acquire(bytes.byteLength, NUMBERS);
    // The caller may change its array before it is known which buffer holds it. Without a copy nothing can take the buffer's place,
    // and nothing will where the pool has no such amount to give back.
    if (this.#checks && this.#isUnsure(buffer) && this.#pool.state.pooled >= buffer.size) this.#late.push({ buffer, bytes: bytes.slice() });
    else {
      this.#replaceable.delete(buffer);
      this.#write(buffer, bytes);
    }
    return { buffer, byteOffset: 0, byteLength: bytes.byteLength };
  }

  #write(buffer: GPUBuffer, bytes: Uint8Array): void {
    // Without memory, it is told by the commands that use the buffer.
    const unsure = this.#pool.check(buffer) !== undefined;
    if (unsure) this.#device.pushErrorScope("validation");
    const whole = bytes.byteLength & ~3;
    if (whole > 0) this.#device.queue.writeBuffer(buffer, 0, bytes, 0, whole);
    if (whole < bytes.byteLength) {
      // Writes are multiples of four bytes; up to three are added.
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

  /** The binding that shows a slice: it starts at an aligned offset, is a multiple of four bytes and not empty. */
  #bound(slice: Slice): { buffer: GPUBuffer; offset: number; size: number } {
    const offset = slice.byteOffset - (slice.byteOffset % this.traits.offsetAlignment);
    return { buffer: this.#live(slice.buffer), offset, size: Math.max(4, roundUp(slice.byteOffset - offset + slice.byteLength, 4)) };
  }
}

/** The next multiple, or the value if it is one. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** Bytes, because Dawn for Node 0.6 crashes when it is given a Float16Array. */
function hostBytes(data: Packable, count: number): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, count * data.BYTES_PER_ELEMENT);
}

const USES = {
  [STORAGE]: "STORAGE, which lets shaders read it",
  [COPY_SRC]: "COPY_SRC, which lets it be read back",
  [COPY_DST]: "COPY_DST, which lets a result take the place of an operand",
} as const;

/** Where numbers on the GPU lie, checked for what is to be done with them. */
export function deviceSlice({ buffer: given, byteOffset, byteLength }: DeviceArray, use: keyof typeof USES = STORAGE): Slice {
  const buffer = given as GPUBuffer;
  if ((buffer.usage & use) === 0) throw new RangeError(`a tensor's GPU buffer expected usage ${USES[use]}`);
  if (byteOffset + roundUp(byteLength, 4) > buffer.size)
    throw new RangeError(`a tensor of ${byteLength} bytes expected a GPU buffer with room for a multiple of 4 behind ${byteOffset}, got ${buffer.size}`);
  return { buffer, byteOffset, byteLength };
}
