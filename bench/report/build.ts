import type { DispatchReport } from "../engine/dispatch.ts";
import type { Engines } from "../engine/engines.ts";
import type { Environment } from "../machine/environment.ts";
import type { MachineFigure } from "../machine/limits.ts";
import type { PeerStatus } from "../peers/peer.ts";
import type { StartUp } from "../start-up/measure.ts";
import { labelOf, leadOf, limitOf, measurementNamed, standingsOf, type SuiteResult } from "./comparison.ts";
import { formatted } from "./format.ts";
import { HOW_SOFTMAX_EVOLVED, INTRO, LIMITS, METHOD, SOFTMAX_STEPS } from "./prose.ts";
import type { Report, Section, Table } from "./report.ts";
import { suiteSections } from "./suite-sections.ts";

/** All that a run found. */
export interface Results {
  readonly environment: Environment;
  readonly figures: readonly MachineFigure[];
  readonly peers: readonly PeerStatus[];
  readonly engines: Engines;
  readonly suites: readonly SuiteResult[];
  readonly dispatch: DispatchReport | undefined;
  readonly startUp: readonly StartUp[];
  readonly seconds: number;
}

/** Makes the report of a run. */
export function buildReport(results: Results): Report {
  const { environment, suites, startUp, dispatch, figures } = results;
  const wrong = suites.flatMap(({ id, cases }) => cases.flatMap(({ name, failures }) => failures.map((f) => `${id}, ${name}: ${labelOf(f)}: ${f.reason}`)));
  const sections: readonly Section[] = [
    ...suites.flatMap(headline),
    ...suites.filter(({ id }) => id === "softmax").map(story),
    ...suites.flatMap((suite) => suiteSections(suite, `f32, ${environment.cpu}, Node ${environment.node}`)),
    ...(dispatch === undefined ? [] : [dispatchSection(dispatch)]),
    { title: "From import to the first result", tables: [startUpTable(startUp)] },
    { title: "What this machine can do", text: [LIMITS], tables: [machineTable(figures)] },
    { title: "How this was measured", text: METHOD },
  ];
  return {
    title: "onepass: how fast are softmax and attention in JavaScript?",
    intro: [INTRO, ...describe(results)],
    environment,
    errors: [...wrong, ...startUp.flatMap(({ name, failure }) => (failure === undefined ? [] : [`start-up: ${name}: ${failure}`]))],
    sections: sections.filter(({ tables }) => tables?.every(({ rows, errors = [] }) => rows.length + errors.length === 0) !== true),
  };
}

/** The machine is busy if other programs want more than this part of its cores. */
const BUSY = 0.75;

/** What the figures were taken on, and what is special about this run. */
function describe({ environment: e, peers, engines: { threads, reasons, gpu }, seconds }: Results): readonly string[] {
  const isSoftware = !("unavailable" in gpu) && gpu.emulated;
  const onGpu =
    "unavailable" in gpu ? `without a GPU (${gpu.unavailable})` : `GPU ${[...new Set([gpu.name, gpu.driver])].join(", ")}, timed by ${gpu.timer.clock}`;
  const others = peers.map(({ name, version, unavailable }) => (version === undefined ? `without ${name} (${unavailable})` : `with ${name} ${version}`));
  return [
    `${e.cpu}, ${e.cores} cores, ${e.memoryGiB} GiB · Node ${e.node} (V8 ${e.v8}), ${e.platform} · ${e.date.slice(0, 16).replace("T", " ")} UTC · took ${Math.round(seconds)} s`,
    [`engine: ${threads} threads`, ...reasons, onGpu, ...others].join(" · "),
    ...(isSoftware ? ["The GPU is software, which dispatch never chooses: its figures say that all works, and no more."] : []),
    ...(e.quick ? ["Quick mode: short rounds, rough figures."] : []),
    ...(e.load > e.cores * BUSY ? [`The machine was busy when the run began (load ${formatted(e.load, "number")}): figures are rough.`] : []),
  ];
}

/** Suites whose figures stand at the top. */
const HEADLINED = ["softmax", "attention", "attention-decode", "engine-softmax", "engine-attention"];

function headline(suite: SuiteResult): readonly Section[] {
  if (!HEADLINED.includes(suite.id)) return [];
  const best = suite.cases.flatMap((result) => {
    const [lead, limit] = [leadOf(result), limitOf(result, suite.peak)];
    return lead && limit ? [{ rate: lead.rate, text: `at best (${result.name}): ${formatted(lead.rate / limit.rate, "%")} of the limit, ${limit.name}` }] : [];
  });
  best.sort((a, b) => b.rate - a.rate);
  const cards = [
    ...best.slice(0, 1).map(({ rate, text }) => ({ big: `${formatted(rate / 1e9, suite.unit)} ${suite.unit}`, text })),
    ...standingsOf(suite).map(({ rival, mean, count }) => ({
      big: formatted(mean, "×"),
      text: `as fast as ${rival}: ${count === 1 ? "one shape" : `geometric mean of ${count} shapes`}`,
    })),
  ];
  return cards.length === 0 ? [] : [{ title: suite.title, isSub: true, cards }];
}

/** Three cards: standard, safe, online, with their rates on a shape where they differ by what they compute, not by what a call costs. */
function story({ cases }: SuiteResult): Section {
  const shown = cases.find(({ name }) => name === "64×32768") ?? cases[0];
  const cards = SOFTMAX_STEPS.map(({ name, formula, text }) => {
    const rate = shown && measurementNamed(shown, name)?.rate;
    return { big: formula, text: `${name}: ${text}${rate === undefined ? "" : ` ${formatted(rate / 1e9, "Gelem/s")} Gelem/s on ${shown?.name}.`}` };
  });
  return { title: "How softmax evolved", text: [HOW_SOFTMAX_EVOLVED], cards };
}

/** Where dispatch moves calls to the GPU, and how often it was right. */
function dispatchSection({ calls, judged, right, mistakes, families, calibration }: DispatchReport): Section {
  const sizeOf = (n: number | undefined): string => (n === undefined ? "never" : `n ≥ ${n}`);
  return {
    title: "Where calls move from the CPU to the GPU",
    text: [
      "From arrays to arrays, so the GPU's time includes both transfers. Dispatch estimates from a calibration of a fifth of a second.",
      `auto: of ${calls.length} calls timed on both sides, ${judged} differ by more than 1.5×; ${right} of these went to the faster side (${formatted(right / judged, "%")}).`,
    ],
    charts: families.map(({ family, predicted, measured, points }) => ({
      ...{ title: `${family}: time, lower is better`, unit: "ms", isLogarithmic: true, categories: points.map(({ n }) => `n = ${n}`) },
      about: `on the GPU by dispatch: ${sizeOf(predicted)}; faster on the GPU: ${sizeOf(measured)}`,
      series: [
        { name: "CPU, all threads", values: points.map(({ wasm }) => 1000 * wasm) },
        { name: "GPU, per call", values: points.map(({ webgpu }) => 1000 * webgpu) },
      ],
    })),
    tables: [
      {
        title: "Sizes from which families of calls are on the GPU",
        columns: { "": "text", "by dispatch": "text", "faster there": "text" },
        rows: families.map(({ family, predicted, measured }) => ({ cells: [family, sizeOf(predicted), sizeOf(measured)] })),
        notes: [...mistakes.map((mistake) => `wrong: ${mistake}`), `calibration ${JSON.stringify(calibration)}`],
      },
    ],
  };
}

function startUpTable(startUp: readonly StartUp[]): Table {
  return {
    title: "Import and first softmax, in fresh processes",
    columns: { "": "text", time: "ms", processes: "number" },
    rows: startUp.map(({ name, ms, p90Ms, samplesMs }) => ({ cells: [name, { median: ms, p90: p90Ms }, samplesMs.length] })),
  };
}

/** What the machine can do. */
export function machineTable(figures: readonly MachineFigure[]): Table {
  return {
    title: "Limits of the machine",
    columns: { "": "text", rate: "number", unit: "text", "what the loop does": "text" },
    rows: figures.map(({ name, value, p90, unit, about }) => ({ cells: [name, { median: value, p90 }, unit, about] })),
  };
}
