import type { DispatchReport } from "../engine/dispatch-report.ts";
import { failuresOf, gpuText, labelOf, leadOf, limitShown, rightText, standings } from "./derive.ts";
import { escape } from "./escape.ts";
import { costFigures, crossoverFigures, overview, placesOverview, ratioFigures, speedUpFigures, throughputFigures, type Figure } from "./figures.ts";
import { digits, duration, percent, times } from "./format.ts";
import { notes } from "./notes.ts";
import { PAGE_STYLE } from "./page-style.ts";
import type { BenchReport, SuiteResult } from "./results.ts";
import { storyCards } from "./story.ts";
import { machineTable, memoryTable, startUpTable, suiteTables } from "./tables.ts";

/** A picture of all cases together is worth its space from here on; fewer are seen at a glance in their panels. */
const OVERVIEW_CASES = 7;

/** The report as one HTML file that asks nothing of the network. */
export function htmlReport(report: BenchReport): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>onepass benchmark</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
${opening(report)}
${report.suites.map((suite) => suiteSection(suite, report)).join("\n")}
${report.dispatch === undefined ? "" : dispatchSection(report.dispatch)}
${report.startUp.length === 0 ? "" : `<h2>From import to the first result</h2><p>In a fresh process each time, median.</p>${startUpTable(report)}`}
${
  report.machine.length === 0
    ? ""
    : `<h2>What this machine can do</h2>
<p>Loops that do one thing each, in WebAssembly on one thread${"unavailable" in report.engine.gpu ? "" : ", and in WGSL on the GPU"}, measured in the same run. They are the scale for everything above.</p>
${machineTable(report)}`
}
<h2>Notes</h2>
<ul>${notes(report)
    .map((note) => `<li>${escape(note)}</li>`)
    .join("\n")}</ul>
<h2>All figures</h2>
<p class="soft">GB/s count the bytes that must be read and written once. “± rounds” is half the spread between rounds. Raw data: report.json.</p>
${report.suites.map((suite) => `<h3>${escape(suite.title)}</h3>${suiteTables(suite)}`).join("\n")}
</main>
</body>
</html>
`;
}

function opening(report: BenchReport): string {
  const { environment: e, peers } = report;
  const failures = failuresOf(report);
  const versions = peers.map(({ name, version, unavailable }) => (unavailable === undefined ? `${name} ${version}` : `without ${name} (${unavailable})`));
  return `<h1>onepass: how fast are softmax and attention in JavaScript?</h1>
<p class="intro">Softmax turns scores into probabilities: the last step of every classifier and language model, and the heart of attention. This report times
onepass, whose kernels are WebAssembly SIMD, on shapes from real models, and compares it with plain JavaScript loops${peers.length === 0 ? "" : ", with other libraries"} and with what the
machine can do at all. f32${hasEngineOnly(report) ? "" : "; one thread where nothing else is said"}. Every result was checked against float64 first${failures.length === 0 ? "; all were right" : ""}.</p>
${failures.length === 0 ? "" : `<p class="wrong">${failures.map(escape).join("<br>")}</p>`}
<p class="soft">${escape(e.cpu)}, ${e.cores} cores, ${e.memoryGiB} GiB · Node ${e.node} (V8 ${e.v8}), ${e.platform} · ${e.date.slice(0, 16).replace("T", " ")} UTC · took ${duration(report.seconds * 1000)}${e.quick ? " · <b>quick mode, rough figures</b>" : ""}${versions.length === 0 ? "" : `<br>${escape(versions.join(" · "))}`}<br>${escape(engineText(report))}</p>
${report.suites
  .filter(({ id }) => HEADLINED.includes(id))
  .map(headlines)
  .join("\n")}
${hasEngineOnly(report) ? "" : story(report)}`;
}

/** Only a run of the engine alone has no suite of softmax by its algorithms. */
function hasEngineOnly({ suites }: BenchReport): boolean {
  return !suites.some(({ id }) => id === "softmax");
}

function engineText({ engine: { threads, reasons, gpu } }: BenchReport): string {
  const cpu = `engine: ${threads} ${threads === 1 ? "thread" : "threads"}${reasons.length === 0 ? "" : ` (${reasons.join("; ")})`}`;
  if ("unavailable" in gpu) return `${cpu}, without a GPU (${gpu.unavailable})`;
  return `${cpu}, GPU ${gpuText(gpu)}${gpu.emulated ? ", which is software: its figures say that all works, and no more" : ""}, timed by ${gpu.clock}`;
}

/** Where dispatch moves calls to the GPU, and how often it was right. */
function dispatchSection(dispatch: DispatchReport): string {
  const wrong = dispatch.mistakes.map((text) => `<li>${escape(text)}</li>`).join("");
  return `<h2>Where calls move from the CPU to the GPU</h2>
<p>Operands and results in arrays, so that the GPU's time includes both transfers; ${dispatch.threads} ${dispatch.threads === 1 ? "thread" : "threads"} on the CPU. Dashed: the size from which dispatch takes the GPU,
estimated from rates that a calibration of a fifth of a second measured, and the size from which the GPU was faster.</p>
<p>${escape(rightText(dispatch))}.</p>
<div class="panels">${crossoverFigures(dispatch).map(figure).join("\n")}</div>
${wrong === "" ? "" : `<details><summary>Where it was wrong</summary><ul>${wrong}</ul></details>`}
<details><summary>The calibration</summary><p class="scroll"><code>${escape(JSON.stringify(dispatch.calibration))}</code></p></details>`;
}

function story(report: BenchReport): string {
  return `<h2>How softmax evolved</h2>
<p>Three ways to compute the same thing; onepass has a real kernel for each. Its default, <code>auto</code>, is the fastest that cannot overflow. Attention carries
the state of the third, m and l, over tiles of keys and values, so that its matrix of scores is never stored.</p>
<div class="cards">${storyCards(report)}</div>`;
}

/** Suites whose figures stand at the top. */
const HEADLINED = ["softmax", "attention", "attention-decode", "engine-softmax", "engine-attention"];

/** The figures of a suite to take home, if it has any: an engine without a GPU has nothing to compare. */
function headlines(suite: SuiteResult): string {
  const best = suite.cases
    .map((result) => ({ name: result.name, lead: leadOf(result), limit: limitShown(suite, result) }))
    .sort((a, b) => (b.lead?.rate ?? 0) - (a.lead?.rate ?? 0))[0];
  const cards: string[] = [];
  if (best?.lead !== undefined && best.limit !== undefined) {
    cards.push(
      card(
        `${digits(best.lead.rate / 1e9)} ${suite.unit}`,
        `at best (${best.name}): ${percent(best.lead.rate / best.limit.rate)} of the limit, ${best.limit.name}`,
      ),
    );
  }
  for (const { rival, mean, ratios } of standings(suite))
    cards.push(card(times(mean), `as fast as ${rival}: ${ratios.length === 1 ? (ratios[0]?.name ?? "") : `geometric mean of ${ratios.length} shapes`}`));
  return cards.length === 0 ? "" : `<h3 class="group">${escape(suite.title)}</h3><div class="cards headlines">${cards.join("")}</div>`;
}

function card(big: string, text: string): string {
  return `<div class="card"><div class="big">${escape(big)}</div><p>${escape(text)}</p></div>`;
}

function suiteSection(suite: SuiteResult, report: BenchReport): string {
  const head = `<h2>${escape(suite.title)}</h2><p>${escape(suite.about)}</p>`;
  if (suite.compares === "time") return `${head}${suiteTables(suite)}`;
  if (suite.compares === "cost") return `${head}<div class="panels">${costFigures(suite).map(figure).join("\n")}</div>`;
  if (suite.compares === "speed-up") {
    return `${head}<p class="soft">Longer is better; the dashed line is what the machine allows: ${escape(suite.peak ?? "")}.</p><div class="panels">${speedUpFigures(suite).map(figure).join("\n")}</div>`;
  }
  const isEngine = suite.id.startsWith("engine-");
  const wide = isEngine
    ? placesOverview(suite, report)
    : suite.peak !== undefined || suite.cases.length >= OVERVIEW_CASES
      ? overview(suite, report)
      : undefined;
  const ratios = ratioFigures(suite);
  return `${head}
${wide === undefined ? "" : `<div class="overview">${wide}</div>`}
<h3>Throughput, ${suite.unit}</h3>
<p class="soft">All panels have one scale; longer is better. The dashed line is ${suite.peak === undefined ? "the lowest limit of the machine for that shape" : `the machine's limit, ${escape(suite.peak)}`}${hasVariantLimits(suite) ? " of relaxed SIMD" : ""}.</p>
<div class="panels">${throughputFigures(suite).map(figure).join("\n")}</div>
${
  ratios.length === 0
    ? ""
    : `<h3>How many times as fast as others</h3>
<p class="soft">${escape(leadName(suite))}${isEngine ? "" : " on tensors in module memory"}. The scale is logarithmic: green bars beyond the line are faster than the other, orange ones slower.</p>
<div class="panels">${ratios.map(figure).join("\n")}</div>`
}
${memoryTable(suite)}`;
}

function hasVariantLimits({ cases, peak }: SuiteResult): boolean {
  return cases.some(({ limits }) => limits.some(({ name, variant }) => variant === "relaxed" && name === peak));
}

function leadName({ cases }: SuiteResult): string {
  const lead = cases.map(leadOf).find((m) => m !== undefined);
  return lead === undefined ? "onepass" : labelOf(lead);
}

function figure({ heading, note, svg }: Figure): string {
  return `<figure><h3>${escape(heading)}</h3>${note === "" ? "" : `<figcaption>${escape(note)}</figcaption>`}${svg}</figure>`;
}
