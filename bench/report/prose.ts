// What the report says whatever the figures are.

export const INTRO =
  "Softmax turns scores into probabilities: the last step of every classifier and language model, and the heart of attention. This report times onepass on shapes from real models, beside plain JavaScript, other libraries and what the machine can do at all. Every result was checked against float64 first.";

export const HOW_SOFTMAX_EVOLVED =
  "Three ways to compute the same thing; onepass has a real kernel for each. Its default, auto, is the fastest that cannot overflow. Attention carries the state of the third, m and l, over tiles of keys and values, so that its matrix of scores is never stored.";

/** The steps from the formula to one pass. */
export const SOFTMAX_STEPS = [
  {
    name: "standard",
    formula: "eˣ / Σ eˣ",
    text: "The definition. Reads the row, stores the exponentials, divides. For x above 88.7 the exponential overflows in f32, and the row becomes NaN: verified here on each shape.",
  },
  {
    name: "safe",
    formula: "eˣ⁻ᵐ / Σ eˣ⁻ᵐ, m = max x",
    text: "Subtracts the row's max first, so nothing overflows. The max must be known before the first exponential: one more pass over the row.",
  },
  {
    name: "online",
    formula: "l ← l · eᵐ⁻ᵐ′ + Σ eˣ⁻ᵐ′",
    text: "Keeps a running max m and sum l, and corrects the sum when the max moves: max and sum in one pass, then one factor per block normalizes. As safe as safe, and it is the step that makes flash attention possible.",
  },
] as const;

export const LIMITS =
  "Loops that do one thing each, in WebAssembly on one thread and, where there is a GPU, in plain WGSL, measured in the same run. They are the scale for everything else: for rows a copy of the same bytes and the exponential alone, for attention multiply-adds in registers (fused for relaxed SIMD, a product and a sum for baseline), for decoding a read of the same bytes. Native code has wider vectors and may exceed them.";

export const METHOD = [
  "Every configuration was compared with a naive float64 reference before and after it was timed, and on inputs near 100 (for attention: shorter ones, with scores near 100), where the exponential overflows unless the max is subtracted. Of large outputs as many rows are compared as the reference has time for, at least 16 spread over all of them.",
  "Each figure is the median of the medians of a few rounds; in a round, all implementations of a case take turns. ± is half the spread between rounds, and the second figure of a time is its 90th percentile. Each implementation is warmed up until it stops getting faster, so that V8's optimising compiler is done.",
  "GB/s count the bytes that must be read and written once. Outside the engine's suites everything runs on one thread, by intent: the libraries compared could use more.",
  "A plain Float32Array is copied into the module's memory and the result out of it. Ratios are for tensors that lie where each library computes: other libraries got their inputs before the timing too, except that ONNX Runtime copies input and output on each run, as its interface wants.",
  "Other libraries attend on dense shapes only. ONNX Runtime and jax-js want heads behind length, so inputs and outputs are turned outside the timing; decoding is put to them as 8 heads with 4 queries each, which share their keys and values like the 32 heads do.",
  "On a GPU, resident and recorded calls are timed in batches of some 40 ms that are waited for once. ONNX Runtime's WebGPU provider takes its operands from arrays only, so its time without transfers is that of a graph with nine operators in a row, less that of a graph with one.",
];
