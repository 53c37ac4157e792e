import { failuresOf, leadOf, noiseOf, standings, wasBusy, type CaseRatio } from "./derive.ts";
import { digits, percent, times, tiny } from "./format.ts";
import type { BenchReport, Measurement, SuiteResult } from "./results.ts";

/** What a reader should know before believing the charts: who wins where, how exact everyone is, what was not measured. Plain text. */
export function notes(report: BenchReport): readonly string[] {
  const softmax = report.suites.find(({ id }) => id === "softmax");
  return [
    ...(softmax === undefined ? [] : [...winners(softmax), ...algorithms(softmax), ...plainArrays(softmax), ...precision(softmax)]),
    ...smallCalls(report),
    ...attention(report),
    ...smallThreads(report),
    ...method(report),
  ];
}

/** A figure must differ by more than this to count as faster or slower. */
const NOISE = 0.03;

function winners(suite: SuiteResult): readonly string[] {
  return standings(suite).map(({ rival, mean, ratios }) => {
    const wins = ratios.filter(({ ratio }) => ratio > 1 + NOISE);
    const losses = ratios.filter(({ ratio }) => ratio < 1 / (1 + NOISE));
    const ties = ratios.filter((ratio) => !wins.includes(ratio) && !losses.includes(ratio));
    const parts =
      wins.length === ratios.length
        ? [`faster on ${ratios.length === 1 ? "the one shape measured" : `all ${ratios.length} shapes`}, ${range(wins)}`]
        : [part("faster on", wins), part("about equal on", ties), part("slower on", losses)];
    return `Against ${rival}: ${parts.filter((text) => text !== "").join("; ")}. Geometric mean ${times(mean)}.`;
  });
}

function part(what: string, ratios: readonly CaseRatio[]): string {
  return ratios.length === 0 ? "" : `${what} ${list(ratios)}`;
}

function list(ratios: readonly CaseRatio[]): string {
  return ratios.map(({ name, ratio }) => `${name} (${times(ratio)})`).join(", ");
}

function range(ratios: readonly CaseRatio[]): string {
  const values = ratios.map(({ ratio }) => ratio);
  return `from ${times(Math.min(...values))} to ${times(Math.max(...values))}`;
}

function algorithms(suite: SuiteResult): readonly string[] {
  const faster = suite.cases.flatMap((result) => {
    const lead = leadOf(result);
    if (lead === undefined) return [];
    const faster = result.measurements.filter(
      (m) => m.group === "onepass" && m.variant === lead.variant && m.rate / lead.rate > 1 + Math.max(NOISE, noiseOf(m) + noiseOf(lead)),
    );
    return faster.map(({ name, rate }) => `${name} on ${result.name} (${times(rate / lead.rate)})`);
  });
  return faster.length === 0
    ? ["No other algorithm of onepass beats auto by more than the noise on any shape."]
    : [`Faster than auto in this run: ${faster.join(", ")}.`];
}

function plainArrays(suite: SuiteResult): readonly string[] {
  const shares = suite.cases.flatMap((result) => {
    const plain = result.measurements.find(({ name }) => name === "auto, plain arrays");
    const lead = leadOf(result);
    return plain === undefined || lead === undefined ? [] : [plain.rate / lead.rate];
  });
  if (shares.length === 0) return [];
  return [
    `A plain Float32Array is copied into the module's memory and the result out of it. With that, onepass has ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))} of the speed it has on tensors made with empty(). All ratios are for tensors that lie where each library computes: other libraries got their inputs before the timing too, except that onnxruntime-web copies input and output on each run, as its interface wants.`,
  ];
}

function precision(suite: SuiteResult): readonly string[] {
  const measured = suite.cases.flatMap(({ measurements }) => measurements);
  const worst = (of: (m: Measurement) => boolean): number => Math.max(0, ...measured.filter(of).map(({ maxError }) => maxError));
  const peers = [...new Set(measured.filter(({ group }) => group === "peer").map(({ name }) => name))];
  const text = peers.map((peer) => `${peer} ${tiny(worst(({ name }) => name === peer))}`);
  return [
    `Largest relative error of a probability, against float64: onepass ${tiny(worst(({ group }) => group === "onepass"))}${text.length === 0 ? "" : `, ${text.join(", ")}`}.`,
  ];
}

function smallCalls(report: BenchReport): readonly string[] {
  const result = report.suites.find(({ id }) => id === "small-call")?.cases[0];
  const lead = result === undefined ? undefined : leadOf(result);
  const loop = result?.measurements.find(({ group }) => group === "javascript");
  if (lead === undefined || loop === undefined || loop.timing.ms > lead.timing.ms) return [];
  return [
    `For ten numbers a plain loop is ${times(lead.timing.ms / loop.timing.ms)} as fast as a call of onepass: checking arguments and entering WebAssembly costs more than the arithmetic.`,
  ];
}

/** What having threads costs calls that are too small for them. */
function smallThreads({ suites }: BenchReport): readonly string[] {
  const cases = suites.find(({ id }) => id === "threads-small")?.cases ?? [];
  const extras = cases.flatMap(({ name, measurements }) => {
    const one = measurements.find((m) => m.name === "1 thread");
    const all = measurements.find((m) => /^\d+ threads$/.test(m.name));
    return one === undefined || all === undefined ? [] : [`${name} ${digits(1000 * (all.timing.ms - one.timing.ms))} µs`];
  });
  return extras.length === 0 ? [] : [`A call too small for threads takes this much longer on an engine that has them: ${extras.join(", ")}.`];
}

function attention({ suites }: BenchReport): readonly string[] {
  return suites
    .filter(({ id }) => id === "attention" || id === "attention-decode")
    .flatMap((suite) => {
      const measured = suite.cases.flatMap(({ measurements }) => measurements);
      const worst = (group: Measurement["group"]): number => Math.max(0, ...measured.filter((m) => m.group === group).map(({ maxError }) => maxError));
      const hasPeers = measured.some(({ group }) => group === "peer");
      const error = `Largest error of an output, against float64: onepass ${tiny(worst("onepass"))}${hasPeers ? `, other libraries ${tiny(worst("peer"))}` : ""}.`;
      return [`${suite.title}: ${winners(suite).join(" ")} ${error}`];
    });
}

function method({ environment, engine, loadBefore, suites, startUp }: BenchReport): readonly string[] {
  const failures = failuresOf({ suites, startUp });
  return [
    failures.length === 0
      ? "Every configuration was compared with a naive float64 reference before and after it was timed, and on inputs near 100 (for attention: shorter ones, with scores near 100), where the exponential overflows unless the max is subtracted. Of large attention outputs as many rows as the reference has time for are compared, at least 16 spread over heads and queries. All were right."
      : `${failures.length} configurations gave wrong results and were not timed.`,
    "Each figure is the median of the medians of a few rounds; in a round, all implementations of a case take turns. Each is warmed up until it stops getting faster, so that V8's optimising compiler is done.",
    "Outside of the engine's suites everything runs on one thread, by intent: the libraries compared could use more.",
    ...(suites.some(({ id }) => id.startsWith("engine-")) && !("unavailable" in engine.gpu)
      ? [
          "The GPU's limits are kernels in plain WGSL, on the same device and in the same run: a copy of vec4, a product of f32 matrices in tiles, and multiply-adds in registers. Its resident and recorded calls are timed in batches of some 40 ms that are waited for once; recorded ones, and the limits, by " +
            `${engine.gpu.clock}. ONNX Runtime's WebGPU provider takes its operands from arrays only, so its time without transfers is that of a graph with nine operators in a row, less that of a graph with one.`,
        ]
      : []),
    "“Limit” is the lowest of what loops of the same WebAssembly reach: for rows a copy of the same bytes and the exponential alone, for attention multiply-adds in registers (fused for relaxed SIMD, a product and a sum for baseline) and, when decoding, a read of the same bytes. Native code has wider vectors and may exceed it.",
    ...(suites.some(({ id }) => id === "attention")
      ? [
          "Other libraries attend on dense shapes only. ONNX Runtime and jax-js want heads behind length, so inputs and outputs are turned outside the timing; decoding is put to them as 8 heads with 4 queries each, which share their keys and values like the 32 heads do.",
        ]
      : []),
    ...(environment.quick ? ["Quick mode: short rounds, rough figures."] : []),
    ...(wasBusy({ environment, loadBefore })
      ? [`The machine was busy when the run began (load ${digits(loadBefore)} on ${environment.cores} cores): figures are rough.`]
      : []),
  ];
}
