import { expectTypeOf } from "vitest";
import type {
  AttentionOptions,
  Engine,
  EngineRecording,
  GpuTensor,
  ModuleTensor,
  OnEngine,
  ResidentTensor,
  SoftmaxOptions,
  Tensor,
  OutputLike,
} from "../../src/index.ts";

// What the compiler says of an engine's methods. Nothing here is called: `npm run check` is the test.

type F32 = Tensor<"f32">;
type Resident = ResidentTensor<"f32">;
interface WithLse {
  readonly out: F32;
  readonly lse: F32;
}

declare const engine: Engine;
declare const recording: EngineRecording;
declare const host: F32;
declare const wide: Tensor<"f64">;
declare const onGpu: GpuTensor<"f32">;
declare const array: Float32Array;
declare const somewhere: F32 | GpuTensor;
declare const flag: boolean;
declare const signal: AbortSignal;

export const results = {
  "without out, where the first argument is"() {
    expectTypeOf(engine.softmax(array)).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.logSoftmax(host, { axis: 0, bias: onGpu, signal })).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.logSumExp(wide, { axis: [0] })).resolves.toEqualTypeOf<Tensor<"f64">>();
    expectTypeOf(engine.softmax(onGpu)).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.softmax(somewhere)).resolves.toEqualTypeOf<F32 | Resident>();
    expectTypeOf(engine.attention(host, onGpu, onGpu)).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.attention(onGpu, host, host)).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.scaledDotProductAttention(onGpu, host, host, { causal: true })).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.attentionScores(onGpu, host, { stage: "raw" })).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.mergeStates([{ out: onGpu, lse: host }])).resolves.toEqualTypeOf<{ readonly out: Resident; readonly lse: Resident }>();
  },

  "with out, there: what is given comes back"() {
    expectTypeOf(engine.softmax(onGpu, { out: array })).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.softmax(wide, { out: wide })).resolves.toEqualTypeOf<Tensor<"f64">>();
    expectTypeOf(engine.softmax(host, { out: onGpu })).resolves.toEqualTypeOf<GpuTensor<"f32">>();
    expectTypeOf(engine.softmax(onGpu, { out: {} as Resident })).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.attention(onGpu, onGpu, onGpu, { out: host })).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.attention(onGpu, onGpu, onGpu, { out: host, returnLse: true })).resolves.toEqualTypeOf<{ readonly out: F32; readonly lse: Resident }>();
  },

  "with an out that may be absent, in either place"() {
    const options: OnEngine<SoftmaxOptions> = {};
    const atHome: { readonly out?: OutputLike } = {};
    expectTypeOf(engine.softmax(onGpu, options)).resolves.toEqualTypeOf<F32 | Resident | GpuTensor>();
    expectTypeOf(engine.softmax(onGpu, atHome)).resolves.toEqualTypeOf<F32 | Resident>();
    expectTypeOf(engine.softmax(host, atHome)).resolves.toEqualTypeOf<F32>();
  },
};

export const logSumExps = {
  "is there when it was asked for"() {
    expectTypeOf(engine.attention(host, host, host, { returnLse: true })).resolves.toEqualTypeOf<WithLse>();
    expectTypeOf(engine.attention(host, host, host, { returnLse: false })).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.attention(host, host, host, { windowSize: [7, 0] })).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.attentionVarlen(host, host, host, { cuSeqlensQ: [0, 1], returnLse: true })).resolves.toEqualTypeOf<WithLse>();
  },

  "may be there when that is not known"() {
    const options: OnEngine<AttentionOptions> = { returnLse: true };
    expectTypeOf(engine.attention(host, host, host, { returnLse: flag })).resolves.toEqualTypeOf<F32 | WithLse>();
    expectTypeOf(engine.attention(host, host, host, options)).resolves.toEqualTypeOf<F32 | GpuTensor | { readonly out: F32 | GpuTensor; readonly lse: F32 }>();
  },
};

export const options = {
  "that are misspelt, or of the wrong type, do not compile"() {
    // @ts-expect-error there is no such option
    void engine.attention(host, host, host, { scale: 1, casual: true });
    // @ts-expect-error there is no such option
    void engine.softmax(host, { axes: 1 });
    // @ts-expect-error ragged batches have no masks
    void engine.attentionVarlen(host, host, host, { cuSeqlensQ: [0], mask: new Uint8Array(1) });
    // @ts-expect-error an axis is a number
    void engine.softmax(host, { axis: "last" });
    // @ts-expect-error sequences have to be told apart
    void engine.attentionVarlen(host, host, host);
    // @ts-expect-error a signal is an object
    void engine.mergeStates([], { signal: true });
  },
};

export const tensors = {
  "are where they were asked to be"() {
    expectTypeOf(engine.empty([1], { device: "wasm" })).toEqualTypeOf<ModuleTensor<"f32">>();
    expectTypeOf(engine.empty([1], { device: "wasm", dtype: "f64" })).toEqualTypeOf<ModuleTensor<"f64">>();
    expectTypeOf(engine.empty([1], { device: "webgpu" })).toEqualTypeOf<Resident>();
    // Where the engine computes is not known from its type.
    expectTypeOf(engine.empty([1])).toEqualTypeOf<ModuleTensor<"f32"> | Resident>();
    // @ts-expect-error the GPU has no f64
    engine.empty([1], { device: "webgpu", dtype: "f64" });
  },

  "keep their dtype on the way to the GPU and back"() {
    expectTypeOf(engine.upload(array)).resolves.toEqualTypeOf<Resident>();
    expectTypeOf(engine.upload(new Uint8Array(1))).resolves.toEqualTypeOf<ResidentTensor<"u8">>();
    expectTypeOf(engine.download(onGpu)).resolves.toEqualTypeOf<F32>();
    expectTypeOf(engine.download({} as GpuTensor<"f16">)).resolves.toEqualTypeOf<Tensor<"f16">>();
    expectTypeOf(engine.download({} as GpuTensor<"u8">).then(({ data }) => data)).resolves.toEqualTypeOf<Uint8Array>();
  },
};

export const recordings = {
  "leaves results on the GPU, or where it is told to"() {
    expectTypeOf(recording.softmax(host)).toEqualTypeOf<Resident>();
    expectTypeOf(recording.softmax(host, { out: onGpu })).toEqualTypeOf<GpuTensor<"f32">>();
    expectTypeOf(recording.attention(onGpu, onGpu, onGpu, { returnLse: true })).toEqualTypeOf<{ readonly out: Resident; readonly lse: Resident }>();
    expectTypeOf(recording.attention(onGpu, onGpu, onGpu, { returnLse: true, out: onGpu }).out).toEqualTypeOf<GpuTensor<"f32">>();
    expectTypeOf(recording.mergeStates([{ out: onGpu, lse: onGpu }]).out).toEqualTypeOf<Resident>();
  },

  "takes no signal, and no array to write to"() {
    // @ts-expect-error there is nothing to cancel
    recording.softmax(host, { signal });
    // @ts-expect-error there is nothing to cancel
    recording.mergeStates([], { signal });
    // @ts-expect-error nothing is read back
    recording.softmax(host, { out: array });
  },
};
