// A model of one operator in ONNX's protobuf format, written by hand: the format is small, and nothing has to be downloaded.
// Field numbers are those of onnx.proto3.

const FLOAT = 1;
const ATTRIBUTE_INT = 2;

/** An ONNX model `y = op(x)` over the last axis of a [rows, cols] f32 tensor; both sizes are left open. */
export function rowOperatorModel(op: "Softmax" | "LogSoftmax"): Uint8Array {
  const axis = [...text(1, "axis"), ...number(3, -1), ...number(20, ATTRIBUTE_INT)];
  const node = [...text(1, "x"), ...text(2, "y"), ...text(4, op), ...bytes(5, axis)];
  const graph = [...bytes(1, node), ...text(2, op), ...bytes(11, matrix("x")), ...bytes(12, matrix("y"))];
  const opset = number(2, 13);
  const irVersion = number(1, 8);
  return Uint8Array.from([...irVersion, ...bytes(7, graph), ...bytes(8, opset)]);
}

/** ValueInfoProto of a [rows, cols] f32 tensor. */
function matrix(name: string): number[] {
  const shape = ["rows", "cols"].flatMap((size) => bytes(1, text(2, size)));
  const tensorType = [...number(1, FLOAT), ...bytes(2, shape)];
  return [...text(1, name), ...bytes(2, bytes(1, tensorType))];
}

// The three forms of a protobuf field: a varint, a length with bytes, and text as bytes.

function number(field: number, value: number): number[] {
  return [...varint(BigInt(field << 3)), ...varint(BigInt.asUintN(64, BigInt(value)))];
}

function bytes(field: number, content: readonly number[]): number[] {
  return [...varint(BigInt((field << 3) | 2)), ...varint(BigInt(content.length)), ...content];
}

function text(field: number, content: string): number[] {
  return bytes(field, [...new TextEncoder().encode(content)]);
}

function varint(value: bigint): number[] {
  const out: number[] = [];
  for (; value > 127n; value >>= 7n) out.push(Number(value & 127n) | 128);
  return [...out, Number(value)];
}
