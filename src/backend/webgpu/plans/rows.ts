import { TooLargeError, UnsupportedError } from "../../../errors/errors.ts";
import { type RowCall, resultStrides } from "../../../calls/row-call.ts";
import { type RowDim, rowDims } from "../../../calls/row-dims.ts";
import { BYTES } from "../../../tensor/array.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import { OPERANDS, type PerOperand, type RowPiece, type RowRole, perOperand, rowGrid, rowKey, spanOf, splitRows, tileRows } from "../kernels/row-tiling.ts";
import { OPS, PHASES, ROW_UNIFORMS, type RowUniforms, rowBuffers, rowProgram } from "../kernels/rows.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";

/** Bits that a shader writes but cannot have as constants. */
const MINUS_INFINITY = 0xff800000;
const NOT_A_NUMBER = 0x7fc00000;

/** Bytes of a state: max and sum. */
const STATE_BYTES = 8;

/**
 * Records a row operation. The result is written to `out` as f32, row-major and without gaps.
 *
 * @throws TooLargeError if a single row of an operand spans more than the device can bind; nothing is recorded then
 */
export function recordRows(recorder: Recorder, call: RowCall, { out }: { readonly out: Slice }): void {
  const { op, shape, axes, operands, results } = call;
  const { x, bias, mask } = operands;
  const { dtype } = x.data;
  if (dtype === "f64") throw new UnsupportedError(`"x" has dtype f64; WebGPU computes f32 and f16`);
  if (elementCount(results.out.shape) === 0) return;
  const { traits } = recorder;
  const storage = dtype === "f16" ? "f16-packed" : "f32";
  const bytes = { x: BYTES[dtype], y: 4, bias: 4, mask: 1 };
  const y = resultStrides(call, contiguousStrides(results.out.shape));
  const plan = rowDims(shape, axes, { x: x.strides, y, bias: bias?.strides, mask: mask?.strides });

  // A binding may have to begin up to one alignment early.
  const most = perOperand((o) => Math.floor((traits.bindingBytes - traits.offsetAlignment) / bytes[o]));
  const pieces = splitRows(plan, most);
  if (!Array.isArray(pieces)) {
    const name = pieces.operand === "y" ? "out" : pieces.operand;
    const needed = pieces.span * bytes[pieces.operand];
    throw new TooLargeError(`"${name}" has rows that each span ${needed} bytes; this device binds at most ${traits.bindingBytes} at once`);
  }

  const all = spanOf([...plan.rows, ...plan.cols]);
  // Rows without elements still have a log-sum-exp, −∞, but nothing to bind.
  const xs = all.x === 0 ? recorder.scratch(16) : recorder.input(x.data, all.x);
  const slices = {
    x: xs,
    y: out,
    // Absent operands are never read, but what is bound for them must not be a buffer that is written.
    bias: bias === undefined || all.bias === 0 ? xs : recorder.input(bias.data, all.bias),
    mask: mask === undefined || all.mask === 0 ? xs : recorder.input(mask.data, all.mask),
  };
  const aligned = recorder.baseOf(xs, bytes.x) % 4 === 0 && recorder.baseOf(out, bytes.y) % 4 === 0;
  const tiling = tileRows(plan, { bias: bias !== undefined, mask: mask !== undefined }, aligned);
  const key = rowKey(storage, tiling, traits);
  const program = rowProgram(key);
  const names = Object.keys(rowBuffers(key)) as (keyof ReturnType<typeof rowBuffers>)[];
  const { segments, laneBits } = tiling;
  const mostRows = Math.max(...pieces.map((piece) => piece.rowCount));
  const [unused, alsoUnused] = [recorder.nothing(), recorder.scratch(16)];
  const states = segments > 1 ? recorder.scratch(mostRows * segments * STATE_BYTES) : alsoUnused;

  for (const piece of pieces) {
    const bound = bindPiece(recorder, piece, slices, bytes);
    const buffers = { ...bound.slices, states, y: op === "logSumExp" ? unused : bound.slices.y, lse: op === "logSumExp" ? bound.slices.y : unused };
    const bindings = names.map((name) => buffers[name]);
    const uniforms: RowUniforms = {
      ...dimensions(plan.cols, piece.rows),
      base: bound.base,
      rows: piece.rowCount,
      cols: plan.colCount,
      laneBits,
      chunks: tiling.chunks,
      segments,
      states: segments,
      op: OPS[op],
      phase: PHASES.whole,
      across: Number(tiling.across),
      standard: Number(call.algorithm === "standard"),
      hasBias: Number(bias !== undefined),
      hasMask: Number(mask !== undefined),
      subgroupMin: traits.subgroups?.min ?? 0,
      minusInfinity: MINUS_INFINITY,
      nothing: !call.safe ? NOT_A_NUMBER : op === "softmax" ? 0 : MINUS_INFINITY,
      scale: call.scale,
    };
    const run = (changes: Partial<RowUniforms>, workgroups: number): void => {
      const grid = rowGrid(piece.rowCount, laneBits, workgroups, traits.workgroupsPerDimension);
      recorder.run(program, ROW_UNIFORMS.pack({ ...uniforms, ...changes }), bindings, grid);
    };
    if (segments === 1) run({}, 1);
    else {
      run({ phase: PHASES.partial }, segments);
      // A row's log-sum-exp is a single number, so there is nothing to share.
      const writers = op === "logSumExp" ? 1 : segments;
      run({ phase: PHASES.finish, segments: writers }, writers);
    }
  }
}

/** The part of each operand that a piece touches, and the index of its first element in the binding. */
function bindPiece(recorder: Recorder, { offset, span }: RowPiece, whole: Readonly<Record<RowRole, Slice>>, bytes: PerOperand) {
  const part = (o: RowRole): Slice => {
    const { buffer, byteOffset } = whole[o];
    return span[o] === 0 ? whole[o] : { buffer, byteOffset: byteOffset + offset[o] * bytes[o], byteLength: span[o] * bytes[o] };
  };
  const slices = { x: part("x"), y: part("y"), bias: part("bias"), mask: part("mask") };
  return { slices, base: OPERANDS.map((o) => recorder.baseOf(slices[o], bytes[o])) };
}

/** The uniforms that say where elements are: dimensions of columns, then of rows. */
function dimensions(cols: readonly RowDim[], rows: readonly RowDim[]): Pick<RowUniforms, "strides" | "sizes" | "colDims" | "dims"> {
  const dims = [...cols, ...rows];
  return { strides: dims.flatMap((dim) => OPERANDS.map((o) => dim[o])), sizes: dims.map((dim) => dim.size), colDims: cols.length, dims: dims.length };
}
