// Models of one operator, or of a chain of them, in ONNX's protobuf format, written by hand: the format is small, and nothing has to be downloaded.
// Field numbers are those of onnx.proto3.

const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_TENSOR = 4;

/**
 * An ONNX model `y = op(x)` over the last axis of a [rows, cols] f32 tensor; both sizes are left open.
 *
 * @param times - how often the operator is applied, each time to the result of the time before
 */
export function rowOperatorModel(op: "Softmax" | "LogSoftmax", times = 1): Uint8Array {
  const nodes = chain("x", times).map(([from, to]) => [...text(1, from), ...text(2, to), ...text(4, op), ...integer("axis", -1)]);
  return model(op, nodes, [tensor("x", ["rows", "cols"])], tensor("y", ["rows", "cols"]));
}

/** An ONNX model `y = x · weightᵀ` (Gemm) of f32 matrices; sizes are left open. */
export function linearModel(): Uint8Array {
  const gemm = [...text(1, "x"), ...text(1, "weight"), ...text(2, "y"), ...text(4, "Gemm"), ...integer("transB", 1)];
  return model("Gemm", [gemm], [tensor("x", ["rows", "depth"]), tensor("weight", ["cols", "depth"])], tensor("y", ["rows", "cols"]));
}

/** An ONNX model `y = TopK(x, k)` over the last axis of a [rows, cols] f32 tensor: the values, largest first. */
export function topKModel(k: number): Uint8Array {
  const constant = [...text(2, "k"), ...text(4, "Constant"), ...bytes(5, [...text(1, "value"), ...bytes(5, int64s([k])), ...number(20, ATTRIBUTE_TENSOR)])];
  const topK = [...text(1, "x"), ...text(1, "k"), ...text(2, "y"), ...text(2, "indices"), ...text(4, "TopK"), ...integer("axis", -1)];
  return model("TopK", [constant, topK], [tensor("x", ["rows", "cols"])], tensor("y", ["rows", "k"]));
}

/**
 * ONNX Runtime's own operator `y = MultiHeadAttention(q, k, v)` on f32 tensors [batch, length, heads · dim]; sizes are left open.
 *
 * @param times - how often it is applied, each result being the queries of the next time
 */
export function attentionModel(heads: number, times = 1): Uint8Array {
  const inputs = ["q", "k", "v"].map((name) => tensor(name, ["batch", `${name} length`, `${name} width`]));
  const op = "MultiHeadAttention";
  const nodes = chain("q", times).map(([from, to]) => {
    const names = [from, "k", "v"].flatMap((name) => text(1, name));
    return [...names, ...text(2, to), ...text(4, op), ...integer("num_heads", heads), ...text(7, CONTRIBUTED)];
  });
  return model(op, nodes, inputs, tensor("y", ["batch", "q length", "v width"]));
}

/** Names of what each operator of a chain reads and writes, from `first` to "y". */
function chain(first: string, times: number): readonly (readonly [from: string, to: string])[] {
  return Array.from({ length: times }, (_, i) => [i === 0 ? first : `y${i}`, i === times - 1 ? "y" : `y${i + 1}`]);
}

/** The domain of the operators that ONNX Runtime adds to the standard's. */
const CONTRIBUTED = "com.microsoft";

/** ModelProto with a graph of these nodes. */
function model(name: string, nodes: readonly number[][], inputs: readonly number[][], output: readonly number[]): Uint8Array {
  const graph = [...nodes.flatMap((node) => bytes(1, node)), ...text(2, name), ...inputs.flatMap((input) => bytes(11, input)), ...bytes(12, output)];
  const standard = number(2, 13);
  const contributed = [...text(1, CONTRIBUTED), ...number(2, 1)];
  const irVersion = number(1, 8);
  return Uint8Array.from([...irVersion, ...bytes(7, graph), ...bytes(8, standard), ...bytes(8, contributed)]);
}

/** A node's AttributeProto of an integer. */
function integer(name: string, value: number): number[] {
  return bytes(5, [...text(1, name), ...number(3, value), ...number(20, ATTRIBUTE_INT)]);
}

/** TensorProto of whole numbers in one dimension. */
function int64s(values: readonly number[]): number[] {
  return [...number(1, values.length), ...number(2, INT64), ...values.flatMap((value) => number(7, value))];
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
