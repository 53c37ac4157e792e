// Models of one operator in ONNX's protobuf format, written by hand: the format is small, and nothing has to be downloaded.
// Field numbers are those of onnx.proto3.

const FLOAT = 1;
const ATTRIBUTE_INT = 2;

/** An ONNX model `y = op(x)` over the last axis of a [rows, cols] f32 tensor; both sizes are left open. */
export function rowOperatorModel(op: "Softmax" | "LogSoftmax"): Uint8Array {
  const node = [...text(1, "x"), ...text(2, "y"), ...text(4, op), ...integer("axis", -1)];
  return model(op, node, [tensor("x", ["rows", "cols"])], tensor("y", ["rows", "cols"]));
}

/** ONNX Runtime's own operator `y = MultiHeadAttention(q, k, v)` on f32 tensors [batch, length, heads · dim]; sizes are left open. */
export function attentionModel(heads: number): Uint8Array {
  const inputs = ["q", "k", "v"].map((name) => tensor(name, ["batch", `${name} length`, `${name} width`]));
  const op = "MultiHeadAttention";
  const names = ["q", "k", "v"].flatMap((name) => text(1, name));
  const node = [...names, ...text(2, "y"), ...text(4, op), ...integer("num_heads", heads), ...text(7, CONTRIBUTED)];
  return model(op, node, inputs, tensor("y", ["batch", "q length", "v width"]));
}

/** The domain of the operators that ONNX Runtime adds to the standard's. */
const CONTRIBUTED = "com.microsoft";

/** ModelProto with a graph of one node. */
function model(name: string, node: readonly number[], inputs: readonly number[][], output: readonly number[]): Uint8Array {
  const graph = [...bytes(1, node), ...text(2, name), ...inputs.flatMap((input) => bytes(11, input)), ...bytes(12, output)];
  const standard = number(2, 13);
  const contributed = [...text(1, CONTRIBUTED), ...number(2, 1)];
  const irVersion = number(1, 8);
  return Uint8Array.from([...irVersion, ...bytes(7, graph), ...bytes(8, standard), ...bytes(8, contributed)]);
}

/** A node's AttributeProto of an integer. */
function integer(name: string, value: number): number[] {
  return bytes(5, [...text(1, name), ...number(3, value), ...number(20, ATTRIBUTE_INT)]);
}

/** ValueInfoProto of an f32 tensor whose sizes have names. */
function tensor(name: string, sizes: readonly string[]): number[] {
  const shape = sizes.flatMap((size) => bytes(1, text(2, size)));
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
